"""`fold-staging`: what happens to parameters only, happens while they are staged."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, ModuleOp
from xdsl.ir import Attribute, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)

from plena.dialects import plena
from plena.dialects.plena.sources import Extremes
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.tensor.emission import Emitter, location_of
from plena.tensor.rewriting import rewrite


def expression_of(value: SSAValue) -> Attribute | None:
    """The staging expression of a value, None if it is computed on the machine."""
    owner = value.owner
    return owner.value if isinstance(owner, plena.ParameterOp) else None


def _replace(rewriter: PatternRewriter, op: plena.PlenaOp, expression: Attribute) -> None:
    emitter = Emitter(rewriter, op)
    result = op.results[0]
    extremes = extremes_of(*op.operands)
    emitter.replace(
        emitter.add(
            plena.ParameterOp(expression, shape_of(result), element_type_of(result), extremes=extremes)
        )
    )


def extremes_of(*values: SSAValue) -> Extremes | None:
    """What is known of numbers close to the ends of float32 in any of some parameters."""
    found = {
        value.owner.extremes.data
        for value in values
        if isinstance(value.owner, plena.ParameterOp) and value.owner.extremes is not None
    }
    if not found:
        return None
    return "infinite" if "infinite" in found else "finite"


class FoldLayout(RewritePattern):
    """A parameter reshaped, rearranged or repeated."""

    @op_type_rewrite_pattern
    def match_and_rewrite(
        self, op: plena.ReshapeOp | plena.RearrangeOp | plena.ExpandOp, rewriter: PatternRewriter
    ) -> None:
        operand = expression_of(op.input)
        if operand is None:
            return
        before, shape = shape_of(op.input), shape_of(op.result)
        match op:
            case plena.ReshapeOp():
                expression = plena.reshaped(operand, shape, before)
            case plena.RearrangeOp():
                factors, order = op.factors.get_values(), op.order.get_values()
                expression = plena.rearranged(operand, factors, order, shape, before)
            case plena.ExpandOp():
                expression = plena.expanded(operand, shape)
        _replace(rewriter, op, expression)


class FoldSlice(RewritePattern):
    """A part of a parameter, of all its rows or all its columns, taken alike in every group."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.SliceOp, rewriter: PatternRewriter) -> None:
        expression = expression_of(op.input)
        if expression is None:
            return
        shape, (row_groups, column_groups) = shape_of(op.input), op.groups.get_values()
        settings = (op.offsets.get_values(), op.sizes.get_values(), op.strides.get_values())
        if (row_groups, column_groups) == (1, 1):
            viewed, axes = shape, (0, 1)
        else:
            viewed = (row_groups, shape[0] // row_groups, column_groups, shape[1] // column_groups)
            expression, axes = plena.reshaped(expression, viewed, shape), (1, 3)
        for axis, (offset, size, stride) in zip(axes, zip(*settings, strict=True), strict=True):
            if (offset, size, stride) != (0, viewed[axis], 1):
                expression = plena.sliced(expression, axis, offset, offset + stride * (size - 1) + 1, stride)
        result = expression if viewed is shape else plena.reshaped(expression, shape_of(op.result))
        _replace(rewriter, op, result)


class FoldConcat(RewritePattern):
    """Parameters joined without groups."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.ConcatOp, rewriter: PatternRewriter) -> None:
        expressions = [expression_of(value) for value in op.inputs]
        known = [expression for expression in expressions if expression is not None]
        if len(known) == len(expressions) and op.groups.value.data == 1:
            _replace(rewriter, op, plena.ConcatAttr(known, 0 if op.axis.data == "rows" else 1))


class FoldArithmetic(RewritePattern):
    """The sum or product of two parameters of one shape, or of a matrix and a row."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.AddOp | plena.MulOp, rewriter: PatternRewriter) -> None:
        lhs, rhs = expression_of(op.lhs), expression_of(op.rhs)
        parts = len(shape_of(op.rhs)) == 2 and shape_of(op.rhs)[1] not in (1, shape_of(op.lhs)[1])
        if lhs is None or rhs is None or parts:
            return
        _replace(
            rewriter, op, (plena.SumAttr if isinstance(op, plena.AddOp) else plena.ProductAttr)(lhs, rhs)
        )


class JoinAddends(RewritePattern):
    """(x + a) + b is x + (a + b) for parameters a and b, as in sums of embeddings."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.AddOp, rewriter: PatternRewriter) -> None:
        inner, second = op.lhs.owner, expression_of(op.rhs)
        if not isinstance(inner, plena.AddOp) or second is None or not op.lhs.has_one_use():
            return
        first = expression_of(inner.rhs)
        if first is None or shape_of(inner.rhs) != shape_of(op.rhs):
            return
        emitter = Emitter(rewriter, op)
        extremes = extremes_of(inner.rhs, op.rhs)
        both = emitter.add(
            plena.ParameterOp(plena.SumAttr(first, second), shape_of(op.rhs), extremes=extremes)
        )
        emitter.replace(emitter.add(plena.AddOp(inner.lhs, both)))


class JoinBias(RewritePattern):
    """linear(x) + b, as in addmm, is a linear with that bias; for one row also where b has an axis for rows."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.AddOp, rewriter: PatternRewriter) -> None:
        linear, bias = op.lhs.owner, expression_of(op.rhs)
        if not isinstance(linear, plena.LinearOp) or bias is None or not op.lhs.has_one_use():
            return
        features = shape_of(op.rhs)[-1:]
        if shape_of(op.rhs) not in (features, (1, *features)) or shape_of(op.lhs)[1:] != features:
            return
        emitter = Emitter(rewriter, op)
        emitter.location = location_of(linear)
        total = op.rhs
        if len(shape_of(total)) == 2:
            if shape_of(op.lhs)[0] != 1:
                return
            bias = plena.reshaped(bias, features)
            total = emitter.add(plena.ParameterOp(bias, features, extremes=extremes_of(op.rhs)))
        if linear.bias is not None:
            own = expression_of(linear.bias)
            if own is None:
                return
            total = emitter.add(plena.ParameterOp(plena.SumAttr(own, bias), features))
        emitter.replace(emitter.add(plena.LinearOp(linear.input, linear.weight, total)))


class JoinScale(RewritePattern):
    """linear(x) * s, as in a batch norm behind it, is a linear whose weight and bias are times s."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.MulOp, rewriter: PatternRewriter) -> None:
        linear, scale = op.lhs.owner, expression_of(op.rhs)
        if not isinstance(linear, plena.LinearOp | plena.PatchEmbeddingOp) or scale is None:
            return
        weight, bias = (
            expression_of(linear.weight),
            None if linear.bias is None else expression_of(linear.bias),
        )
        shape = shape_of(linear.weight)
        if not op.lhs.has_one_use() or shape_of(op.rhs) != shape[:1] or weight is None:
            return
        if linear.bias is not None and bias is None:
            return
        emitter = Emitter(rewriter, op)
        emitter.location = location_of(linear)
        column = plena.reshaped(scale, (shape[0], 1))
        scaled = emitter.add(plena.ParameterOp(plena.ProductAttr(weight, column), shape))
        shifted = (
            None
            if bias is None
            else emitter.add(plena.ParameterOp(plena.ProductAttr(bias, scale), shape[:1]))
        )
        operands = [linear.input, scaled, [] if shifted is None else [shifted]]
        result_type = [op.result.type]
        emitter.replace(
            emitter.add(
                linear.build(operands=operands, result_types=result_type, properties=linear.properties)
            )
        )


class JoinFactors(RewritePattern):
    """(x * a + y * b + ...) * s is x * (a * s) + y * (b * s) + ... for parameters a, b, s, as in depthwise convolutions."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.MulOp, rewriter: PatternRewriter) -> None:
        if expression_of(op.rhs) is None or len(shape_of(op.rhs)) != 1 or not _takes_factor(op.lhs):
            return
        emitter = Emitter(rewriter, op)
        emitter.replace(self._times(emitter, op.lhs, op.rhs))

    def _times(self, emitter: Emitter, value: SSAValue, scale: SSAValue) -> SSAValue:
        owner = value.owner
        if isinstance(owner, plena.AddOp):
            lhs = self._times(emitter, owner.lhs, scale)
            rhs = self._times(emitter, owner.rhs, scale)
            return emitter.add(plena.AddOp(lhs, rhs))
        expression, factor = expression_of(value), expression_of(scale)
        assert factor is not None
        if expression is not None:
            return emitter.add(plena.ParameterOp(plena.ProductAttr(expression, factor), shape_of(value)))
        assert isinstance(owner, plena.MulOp)
        return emitter.add(plena.MulOp(owner.lhs, self._times(emitter, owner.rhs, scale)))


def _takes_factor(value: SSAValue) -> bool:
    """Whether a factor for each column can go into a sum of products with parameters that nothing else reads."""
    owner = value.owner
    row = len(shape_of(value)) == 1
    if expression_of(value) is not None:
        return row
    if not value.has_one_use():
        return False
    if isinstance(owner, plena.MulOp):
        return expression_of(owner.rhs) is not None and len(shape_of(owner.rhs)) == 1
    return isinstance(owner, plena.AddOp) and _takes_factor(owner.lhs) and _takes_factor(owner.rhs)


class FoldScalar(RewritePattern):
    """A parameter times or plus a number."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.AddScalarOp | plena.MulScalarOp, rewriter: PatternRewriter) -> None:
        operand = expression_of(op.input)
        if operand is None:
            return
        number = plena.FullAttr(op.value.value.data, ())
        node = plena.SumAttr if isinstance(op, plena.AddScalarOp) else plena.ProductAttr
        _replace(rewriter, op, node(operand, number))


class FoldCast(RewritePattern):
    """Booleans or integers of a constant as numbers."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.CastOp, rewriter: PatternRewriter) -> None:
        operand = expression_of(op.input)
        if operand is not None and isinstance(element_type_of(op.result), Float32Type):
            _replace(rewriter, op, plena.ProductAttr(operand, plena.FullAttr(1.0, ())))


@dataclass(frozen=True)
class FoldStaging(ModulePass):
    """Folds layout ops and arithmetic on parameters into their staging expressions.

    Before::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>) -> tensor<4x6xf32> {
            %0 = plena.parameter @w : tensor<8x6xf32>
            %1 = plena.rearrange %0 {factors = array<i64: 8, 6>, order = array<i64: 1, 0>} : (tensor<8x6xf32>) -> tensor<6x8xf32>
            %2 = plena.linear %x, %1 : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x6xf32>
            func.return %2 : tensor<4x6xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>) -> tensor<4x6xf32> {
            %0 = plena.parameter #plena.view<@w, [permute [1, 0]]> : tensor<6x8xf32>
            %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x6xf32>
            func.return %1 : tensor<4x6xf32>
          }
        }
    """

    name = "fold-staging"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns = [
            FoldLayout(),
            FoldSlice(),
            FoldConcat(),
            FoldArithmetic(),
            JoinAddends(),
            JoinBias(),
            JoinScale(),
            JoinFactors(),
            FoldScalar(),
            FoldCast(),
        ]
        rewrite(op, patterns)
