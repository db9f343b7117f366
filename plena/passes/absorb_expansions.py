"""`absorb-expansions`: repetition moves behind what can be computed once, into kernels that broadcast
anyway."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import FloatAttr, ModuleOp, TensorType, f64
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from plena.dialects import aten
from plena.dialects.tensor_shapes import broadcast_shapes, element_type_of, shape_of
from plena.tensor.emission import location_of
from plena.tensor.rewriting import rewrite


def _expanded(value: SSAValue) -> aten.ExpandOp | None:
    return value.owner if isinstance(value.owner, aten.ExpandOp) else None


def _insert(rewriter: PatternRewriter, anchor: Operation, op: aten.AtenOp) -> SSAValue:
    op.attributes.update(location_of(anchor))
    rewriter.insert(op)
    return op.results[0]


def _expand(
    rewriter: PatternRewriter, anchor: Operation, value: SSAValue, shape: tuple[int, ...]
) -> SSAValue:
    if shape_of(value) == shape:
        return value
    result_type = TensorType(element_type_of(value), shape)
    return _insert(rewriter, anchor, aten.ExpandOp.build(operands=[value], result_types=[result_type]))


class BehindElementwise(RewritePattern):
    """f(expand(x)) is expand(f(x))."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        expansion = _expanded(op.input) if isinstance(op, aten.UnaryOp) else None
        if expansion is None or not isinstance(op, aten.UnaryOp):
            return
        result_type = TensorType(element_type_of(op.result), shape_of(expansion.input))
        small = type(op).build(
            operands=[expansion.input], result_types=[result_type], properties=op.properties
        )
        value = _insert(rewriter, op, small)
        rewriter.replace(op, [], [_expand(rewriter, op, value, shape_of(op.result))])


class IntoBroadcast(RewritePattern):
    """A binary operator repeats its smaller operand itself; of two it repeats the result."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, aten.BinaryOp):
            return
        expansions = [_expanded(op.input), _expanded(op.other)]
        if expansions == [None, None]:
            return
        operands = [
            value if expansion is None else expansion.input
            for value, expansion in zip((op.input, op.other), expansions, strict=True)
        ]
        shape = broadcast_shapes([shape_of(value) for value in operands])
        if shape is None:
            return
        result_type = TensorType(element_type_of(op.result), shape)
        small = type(op).build(operands=operands, result_types=[result_type], properties=op.properties)
        value = _insert(rewriter, op, small)
        rewriter.replace(op, [], [_expand(rewriter, op, value, shape_of(op.result))])


class BehindReduction(RewritePattern):
    """A reduction of expand(x): once for each different element; a sum counts the copies."""

    @op_type_rewrite_pattern
    def match_and_rewrite(
        self, op: aten.SumOp | aten.MeanOp | aten.AmaxOp, rewriter: PatternRewriter
    ) -> None:
        expansion = _expanded(op.input)
        if expansion is None:
            return
        whole, own = shape_of(op.input), shape_of(expansion.input)
        if len(own) != len(whole):
            return
        dims = op.dim.get_values()
        copies = prod(whole[d] for d in dims if own[d] != whole[d])
        keep = bool(op.keepdim.value.data)
        shape = tuple(1 if i in dims else n for i, n in enumerate(own) if keep or i not in dims)
        element = element_type_of(op.result)
        value = _insert(
            rewriter,
            op,
            type(op).build(
                operands=[expansion.input],
                result_types=[TensorType(element, shape)],
                properties=op.properties,
            ),
        )
        if copies != 1 and isinstance(op, aten.SumOp):
            number = aten.FullOp.build(
                properties={"value": FloatAttr(float(copies), f64)}, result_types=[TensorType(element, ())]
            )
            factor = _insert(rewriter, op, number)
            product = aten.MulOp.build(operands=[value, factor], result_types=[TensorType(element, shape)])
            value = _insert(rewriter, op, product)
        rewriter.replace(op, [], [_expand(rewriter, op, value, shape_of(op.result))])


@dataclass(frozen=True)
class AbsorbExpansions(ModulePass):
    """Moves `aten.expand` towards its readers, until a kernel repeats the operand anyway or nothing does.

    Before::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>, %c: tensor<4x1xf32>) -> tensor<4x8xf32> {
            %0 = aten.expand %c : (tensor<4x1xf32>) -> tensor<4x8xf32>
            %1 = aten.sqrt %0 : (tensor<4x8xf32>) -> tensor<4x8xf32>
            %2 = aten.div %x, %1 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
            func.return %2 : tensor<4x8xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>, %c: tensor<4x1xf32>) -> tensor<4x8xf32> {
            %0 = aten.sqrt %c : (tensor<4x1xf32>) -> tensor<4x1xf32>
            %1 = aten.div %x, %0 : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
            func.return %1 : tensor<4x8xf32>
          }
        }
    """

    name = "absorb-expansions"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite(op, [BehindElementwise(), IntoBroadcast(), BehindReduction()])
