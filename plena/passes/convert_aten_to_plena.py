"""`convert-aten-to-plena`: the operators that no fusion took, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, isnan, prod
from typing import Any, NoReturn

from xdsl.context import Context
from xdsl.dialects.builtin import Float32Type, ModuleOp, SymbolRefAttr
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern
from xdsl.transforms.dead_code_elimination import dce

from plena.dialects import aten, plena
from plena.dialects.aten import full_value
from plena.dialects.plena.elementwise import ActivationKind
from plena.dialects.plena.sources import Extremes
from plena.dialects.refusals import ONES_OF_CHOSEN, UNSUPPORTED, refusal
from plena.dialects.tensor_shapes import element_type_of, is_real, shape_of
from plena.tensor.broadcast_operands import emit_binary, emit_expand, right_operand
from plena.tensor.divisors import divides
from plena.tensor.emission import Emitter
from plena.tensor.infinities import (
    exact_number,
    exact_product,
    finite_where_not,
    holds_infinity,
    holds_only,
    may_overflow,
)
from plena.tensor.inverted_exponentials import InvertExponentials
from plena.tensor.layout_conversion import emit_concat, emit_slice
from plena.tensor.layout_maps import LayoutMap
from plena.tensor.remembering import remembering
from plena.tensor.rewriting import rewrite_once
from plena.tensor.shifted_biases import ShiftBiases
from plena.tensor.staged_tests import comparison_of, emit_test, is_argument, is_only_tested
from plena.tensor.states import emit_index_copy, emit_index_select_of_state, emit_state, emit_write_state
from plena.tensor.tracing import is_staged, trace
from plena.tensor.turned_masks import TurnMasks
from plena.tensor.zero_one_masks import emit_number, emit_zero_one

Conversion = Callable[[Emitter, Any], bool | None]
"""Replaces an op; False if there is no kernel for what the op asks."""


# Sources.


def _parameter(e: Emitter, op: aten.ParameterOp | aten.ConstantOp) -> None:
    symbol: SymbolRefAttr = op.symbol
    extremes: Extremes | None = None
    nonnegative = isinstance(op, aten.ConstantOp) and op.nonnegative is not None
    if isinstance(op, aten.ConstantOp):
        extremes = "infinite" if op.infinite is not None else "finite" if op.wide is not None else None
    shape, element = shape_of(op.result), element_type_of(op.result)
    e.replace(e.add(plena.ParameterOp(symbol, shape, element, extremes=extremes, nonnegative=nonnegative)))


def _full(e: Emitter, op: aten.FullOp) -> bool:
    """Numbers stay until their readers have taken them; what remains is staged."""
    if any(isinstance(use.operation, aten.AtenOp) for use in op.result.uses):
        return True
    value = plena.FullAttr(float(op.value.value.data), shape_of(op.result))
    e.replace(e.add(plena.ParameterOp(value, shape_of(op.result), element_type_of(op.result))))
    return True


# Elements.


def _activation(kind: ActivationKind) -> Conversion:
    def convert(e: Emitter, op: aten.UnaryOp) -> None:
        e.replace(e.add(plena.ActivationOp(kind, e.flat(op.input))))

    return convert


def _gelu(e: Emitter, op: aten.GeluOp) -> None:
    kind: ActivationKind = "gelu_tanh" if op.approximate.data == "tanh" else "gelu_erf"
    e.replace(e.add(plena.ActivationOp(kind, e.flat(op.input))))


def _sloped(e: Emitter, op: aten.LeakyReluOp | aten.EluOp) -> None:
    leaky = isinstance(op, aten.LeakyReluOp)
    slope = op.negative_slope.value.data if isinstance(op, aten.LeakyReluOp) else op.alpha.value.data
    e.replace(e.add(plena.ActivationOp("leaky_relu" if leaky else "elu", e.flat(op.input), slope)))


def _negation(e: Emitter, op: aten.NegOp) -> None:
    e.replace(e.add(plena.MulScalarOp(e.flat(op.input), -1.0)))


def _clamp(e: Emitter, op: aten.ClampOp) -> None:
    bounds = [None if bound is None else bound.value.data for bound in (op.min, op.max)]
    e.replace(e.add(plena.ClampOp(e.flat(op.input), *bounds)))


def _binary(e: Emitter, op: aten.BinaryOp) -> bool:
    if not isinstance(element_type_of(op.result), Float32Type):
        return False
    result = emit_binary(e, op)
    if result is not None:
        e.replace(result)
    return result is not None


def _maximum(e: Emitter, op: aten.MaximumOp | aten.MinimumOp) -> bool:
    """A kernel. Where one side may be infinite at run time max(x, y) = x + relu(y - x) keeps it for less."""
    if not isinstance(element_type_of(op.result), Float32Type):
        return False
    largest, shape = isinstance(op, aten.MaximumOp), shape_of(op.result)
    if full_value(op.other) == (-inf if largest else inf):
        e.replace(e.flat(emit_expand(e, op.input, shape)))
        return True
    infinite = [may_overflow(operand) or holds_infinity(operand) for operand in (op.input, op.other)]
    if infinite[0] == infinite[1] or any(map(holds_infinity, (op.input, op.other))):
        kernel = plena.MaximumOp if largest else plena.MinimumOp
        x, y = (op.input, op.other) if shape_of(op.input) == shape else (op.other, op.input)
        e.replace(e.add(kernel(e.flat(emit_expand(e, x, shape)), right_operand(e, y, shape))))
        return True
    x, y = (e.flat(emit_expand(e, operand, shape)) for operand in (op.input, op.other))
    if infinite[0]:
        x, y = y, x
    difference = e.add(plena.SubOp(y, x) if largest else plena.SubOp(x, y))
    step = e.add(plena.ActivationOp("relu", difference))
    e.replace(e.add(plena.AddOp(x, step) if largest else plena.SubOp(x, step)))
    return True


def _boolean(e: Emitter, op: aten.AtenOp) -> bool:
    """Booleans stay until their readers have made numbers or attention masks of them; results are the host's."""
    comparison = comparison_of(op) if isinstance(op, aten.CompareOp | aten.ToOp) else None
    if comparison is not None and is_argument(comparison[0]) and is_only_tested(comparison[0]):
        value, test = comparison
        if shape_of(value) == shape_of(op.results[0]):
            e.replace(emit_test(e, value, test))
            return True
    return any(isinstance(use.operation, aten.AtenOp | plena.PlenaOp) for use in op.results[0].uses)


def _cast(e: Emitter, op: aten.ToOp) -> bool:
    if not isinstance(element_type_of(op.result), Float32Type):
        if not _boolean(e, op):
            raise refusal(
                op,
                "truths of what the machine computes are needed where only numbers have a kernel",
                "Multiply by them as 0 and 1, or add (mask - 1) * 1e4 to scores instead of hiding keys by them.",
            )
        return True
    number = emit_number(e, op.input)
    if number is not None:
        e.replace(number)
    return number is not None


def _where(e: Emitter, op: aten.WhereOp) -> bool:
    """A choice by a mask m: x * m + y * (1 - m) with m as 0 and 1, of which neither x nor y is infinite where it is not
    chosen. Infinity as a number is filled in. Of what is a divisor somewhere zeros keep their sign.
    """
    mask, rejecting = emit_zero_one(e, op.condition), emit_zero_one(e, op.condition, negated=True)
    if mask is None or rejecting is None:
        _refuse_jumps(op)
        return False
    shape = shape_of(op.result)
    sides = ((op.input, mask), (op.other, rejecting))
    for (kept, keeping), (filled, _) in (sides, sides[::-1]):
        number = full_value(filled)
        if number is not None and not isfinite(number):
            return _filled(e, kept, keeping, number, shape)
    exact = divides(op.result)
    terms: list[SSAValue] = []
    for (value, selected), (other, rejected) in (sides, sides[::-1]):
        number = full_value(value)
        if number == 0 and not exact:
            continue
        weight = right_operand(e, selected, shape)
        if number is not None and full_value(other) is None:
            if exact:
                terms.append(exact_number(e, number, weight, right_operand(e, rejected, shape)))
            else:
                terms.append(e.reshape(e.add(plena.MulScalarOp(e.flat(weight), number)), shape_of(weight)))
            continue
        finite = finite_where_not(e, e.flat(emit_expand(e, value, shape)), weight)
        if finite is None:
            _refuse_infinities(op)
        terms.insert(0, exact_product(e, finite, weight) if exact else e.add(plena.MulOp(finite, weight)))
    if not terms:
        return False
    e.replace(terms[0] if len(terms) == 1 else e.add(plena.AddOp(*terms)))
    return True


def _filled(e: Emitter, value: SSAValue, kept: SSAValue, number: float, shape: tuple[int, ...]) -> bool:
    """`value` with plus or minus infinity where `kept` is 0; NaN has no kernel."""
    if isnan(number) or (full_value(value) is not None and not isfinite(full_value(value) or 0.0)):
        return False
    keeping = right_operand(e, kept, shape)
    whole = e.flat(emit_expand(e, value, shape))
    sign = 1 if number > 0 else -1
    finite = whole if holds_only(whole, sign) else finite_where_not(e, whole, keeping)
    if finite is None:
        _refuse_infinities(e.anchor)
    e.replace(e.add(plena.FillInfinityOp(finite, keeping, sign)))
    return True


def _refuse_jumps(op: aten.WhereOp) -> None:
    decides = op.condition.owner
    while isinstance(decides, aten.LogicalNotOp):
        decides = decides.input.owner
    if isinstance(decides, aten.CompareOp) and decides.continuous is None and is_real(decides.input.type):
        raise refusal(
            op,
            "a computed number decides between sides that differ where it changes the choice, or that are no functions "
            "of it alone, so that rounding could choose the other one",
            "Choose by inputs that are integers or booleans, or between sides that agree there, as torch.where(x > c, "
            "f(x), g(x)) with f(c) = g(c): clamp, relu and torch.maximum are such.",
        )


def _refuse_infinities(op: Operation) -> NoReturn:
    raise refusal(
        op,
        "it leaves out elements that may be infinite or NaN",
        "Choose the operands of what overflows before, as in y / torch.where(mask, x, 1.0); queries of attention that see "
        "no key are NaN after a softmax: take F.scaled_dot_product_attention, which gives 0 there, or hide keys by a "
        "finite number such as -1e9.",
    )


# Products.


def _linear(e: Emitter, op: aten.LinearOp) -> None:
    x = e.flat(op.input)
    if is_staged(op.weight):
        bias = op.bias if op.bias is None or is_staged(op.bias) else None
        result = e.add(plena.LinearOp(x, op.weight, bias))
        left = op.bias if bias is None else None
    else:
        result, left = e.add(plena.MatmulOp(x, op.weight, transpose_rhs=True)), op.bias
    e.replace(result if left is None else e.add(plena.AddOp(result, left)))


def _matmul(e: Emitter, op: aten.MatmulOp) -> bool:
    """A linear if the right side is staged and one matrix for all, else a product per sample."""
    rhs = shape_of(op.other)
    if is_staged(op.other) and prod(rhs[:-2]) == 1:
        inner, columns = rhs[-2:]
        weight = e.view(op.other, LayoutMap.of((inner, columns)).permuted((1, 0)), (columns, inner))
        e.replace(e.add(plena.LinearOp(e.flat(op.input), weight)))
        return True
    leading = shape_of(op.result)[:-2]
    lhs = emit_expand(e, op.input, (*leading, *shape_of(op.input)[-2:]))
    traced = trace(op.other)
    swap = (*range(len(rhs) - 2), len(rhs) - 1, len(rhs) - 2)
    turned = traced.layout.permuted(swap)
    transpose = len(turned.simplified().atoms) < len(traced.layout.simplified().atoms)
    if transpose and not traced.layout.repeats:
        other = e.view(traced.base, turned, turned.shape)
    else:
        other, transpose = op.other, False
    other = emit_expand(e, other, (*leading, *shape_of(other)[-2:]))
    if prod(leading) != prod(rhs[:-2]) and prod(rhs[:-2]) == 1:
        other, leading = op.other, ()
    product = plena.MatmulOp(e.flat(lhs), e.flat(other), prod(leading), transpose)
    e.replace(e.add(product))
    return True


def _conv2d(e: Emitter, op: aten.Conv2dOp) -> bool:
    """Only patches: stride = kernel, no padding, no dilation, no groups."""
    weight = shape_of(op.weight)
    kernel = (weight[2], weight[3])
    patches = op.stride.get_values() == kernel and op.padding.get_values() == (0, 0)
    if not patches or op.dilation.get_values() != (1, 1) or op.groups.value.data != 1:
        return False
    batch, features, height, width = shape_of(op.result)
    flat_weight = e.reshape(op.weight, (features, prod(weight[1:])))
    result = e.add(plena.PatchEmbeddingOp(op.input, flat_weight, op.bias, kernel))
    layout = LayoutMap.of((batch, height, width, features)).permuted((0, 3, 1, 2))
    e.replace(e.view(result, layout, shape_of(op.result)))
    return True


# Rows.


def _softmax(e: Emitter, op: aten.SoftmaxOp) -> None:
    """Rows of minus infinity alone are NaN; a safe softmax has to have none, for want of a kernel."""
    axis = op.dim.value.data
    if op.safe is not None and may_overflow(op.input):
        raise refusal(
            op,
            "rows of minus infinity alone become 0 in attention only",
            "Fill in a finite number such as -1e9, or write torch.softmax where no row is minus infinity alone.",
        )
    e.replace(_along(e, op.input, axis, lambda x: e.add(plena.SoftmaxOp(x))))


def _along(e: Emitter, value: SSAValue, axis: int, kernel: Callable[[SSAValue], SSAValue]) -> SSAValue:
    """A kernel along the features, applied along another axis."""
    shape = shape_of(value)
    dims = [i for i in range(len(shape)) if i != axis] + [axis]
    moved_shape = tuple(shape[i] for i in dims)
    moved = e.view(value, LayoutMap.of(shape).permuted(dims), moved_shape)
    result = e.reshape(kernel(e.flat(moved)), moved_shape)
    back = [dims.index(i) for i in range(len(shape))]
    return e.view(result, LayoutMap.of(moved_shape).permuted(back), shape)


def _reduce(kind: plena.ReductionKind) -> Conversion:
    """Features where the last axes go, rows where the axes before the last one go, else axes are moved
    first."""

    def convert(e: Emitter, op: aten.ReductionOp) -> None:
        shape, dims = shape_of(op.input), sorted(op.dim.get_values())
        long = [d for d in dims if shape[d] > 1]
        rank, value = len(shape), op.input
        if not long:
            e.replace(value)
            return
        last = rank - 1
        if long == list(range(long[0], last)):
            groups = prod(shape[: long[0]])
            e.replace(e.add(plena.ReduceOp(kind, "rows", e.flat(value), groups)))
            return
        kept = [d for d in range(rank) if d not in long]
        order = kept + long
        moved = tuple(shape[d] for d in order)
        rows = prod(shape[d] for d in kept)
        value = e.view(value, LayoutMap.of(shape).permuted(order), (rows, prod(moved) // rows))
        e.replace(e.add(plena.ReduceOp(kind, "features", value)))

    return convert


def _layer_norm(e: Emitter, op: aten.LayerNormOp) -> None:
    width = prod(op.normalized_shape.get_values())
    x = e.reshape(op.input, (prod(shape_of(op.input)) // width, width))
    gain, bias = (None if v is None else e.reshape(v, (width,)) for v in (op.weight, op.bias))
    e.replace(e.add(plena.LayerNormOp(x, gain, bias, op.eps.value.data)))


def _rms_norm(e: Emitter, op: aten.RmsNormOp) -> None:
    width = prod(op.normalized_shape.get_values())
    x = e.reshape(op.input, (prod(shape_of(op.input)) // width, width))
    gain = None if op.weight is None else e.reshape(op.weight, (width,))
    eps = 2.0**-23 if op.eps is None else op.eps.value.data
    e.replace(e.add(plena.RmsNormOp(x, gain, eps)))


# Layout.


def _view(e: Emitter, op: aten.ViewOp) -> None:
    e.replace(e.reshape(op.input, shape_of(op.result)))


def _permute(e: Emitter, op: aten.PermuteOp) -> None:
    layout = LayoutMap.of(shape_of(op.input)).permuted(op.dims.get_values())
    e.replace(e.view(op.input, layout, shape_of(op.result)))


def _expand(e: Emitter, op: aten.ExpandOp) -> None:
    e.replace(emit_expand(e, op.input, shape_of(op.result)))


def _of_numbers(conversion: Conversion) -> Conversion:
    """A kernel that moves what the machine computes: real numbers. Integers beyond 256 are no bf16 numbers."""

    def convert(e: Emitter, op: aten.SliceOp | aten.CatOp) -> bool | None:
        return conversion(e, op) if isinstance(element_type_of(op.result), Float32Type) else False

    return convert


def _embedding(e: Emitter, op: aten.EmbeddingOp) -> None:
    e.replace(e.add(plena.EmbeddingOp(op.weight, op.indices)))


def _index_select(e: Emitter, op: aten.IndexSelectOp) -> bool:
    """Rows of a staged table by run-time numbers are an embedding; a sample of a state is read where it lies."""
    if emit_index_select_of_state(e, op):
        return True
    if op.dim.value.data != 0 or not is_staged(op.input):
        return False
    rows, *rest = shape_of(op.input)
    e.replace(e.add(plena.EmbeddingOp(e.reshape(op.input, (rows, prod(rest))), op.index)))
    return True


CONVERSIONS: dict[type[Operation], Conversion] = {
    aten.ParameterOp: _parameter,
    aten.ConstantOp: _parameter,
    aten.FullOp: _full,
    aten.ExpOp: _activation("exp"),
    aten.SqrtOp: _activation("sqrt"),
    aten.RsqrtOp: _activation("rsqrt"),
    aten.ReciprocalOp: _activation("reciprocal"),
    aten.TanhOp: _activation("tanh"),
    aten.SigmoidOp: _activation("sigmoid"),
    aten.SiluOp: _activation("silu"),
    aten.ReluOp: _activation("relu"),
    aten.AbsOp: _activation("abs"),
    aten.LogOp: _activation("log"),
    aten.Log1pOp: _activation("log1p"),
    aten.Expm1Op: _activation("expm1"),
    aten.SoftplusOp: _activation("softplus"),
    aten.MishOp: _activation("mish"),
    aten.GeluOp: _gelu,
    aten.LeakyReluOp: _sloped,
    aten.EluOp: _sloped,
    aten.NegOp: _negation,
    aten.ClampOp: _clamp,
    aten.AddOp: _binary,
    aten.SubOp: _binary,
    aten.MulOp: _binary,
    aten.DivOp: _binary,
    aten.MaximumOp: _maximum,
    aten.MinimumOp: _maximum,
    aten.ToOp: _cast,
    aten.CompareOp: _boolean,
    aten.LogicalAndOp: _boolean,
    aten.LogicalNotOp: _boolean,
    aten.WhereOp: _where,
    aten.LinearOp: _linear,
    aten.MatmulOp: _matmul,
    aten.Conv2dOp: _conv2d,
    aten.SoftmaxOp: _softmax,
    aten.SumOp: _reduce("sum"),
    aten.MeanOp: _reduce("mean"),
    aten.AmaxOp: _reduce("max"),
    aten.LayerNormOp: _layer_norm,
    aten.RmsNormOp: _rms_norm,
    aten.ViewOp: _view,
    aten.PermuteOp: _permute,
    aten.ExpandOp: _expand,
    aten.SliceOp: _of_numbers(emit_slice),
    aten.CatOp: _of_numbers(emit_concat),
    aten.EmbeddingOp: _embedding,
    aten.IndexSelectOp: _index_select,
    aten.StateOp: emit_state,
    aten.IndexCopyOp: emit_index_copy,
    aten.WriteStateOp: emit_write_state,
}
"""What each operator becomes; operators that are not here have no kernel."""


class ConvertOperators(RewritePattern):
    """Applies the table."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, aten.AtenOp):
            return
        conversion = CONVERSIONS.get(type(op))
        if conversion is None or conversion(Emitter(rewriter, op), op) is False:
            if isinstance(op, aten.ToOp) and isinstance(op.input.owner, aten.CompareOp):
                why = "it makes numbers of a comparison of computed ones, which jump where the machine rounds"
                raise refusal(op, why, ONES_OF_CHOSEN)
            raise refusal(op, None, UNSUPPORTED)


@dataclass(frozen=True)
class ConvertAtenToPlena(ModulePass):
    """Replaces every `aten` op by `plena` ops on rows and features.

    Parameters and constants become `plena.parameter`; leading axes are joined to rows around each kernel.

    Raises:
        CompileError: an operator, or a form of it, for which there is no kernel.

    Before::

        builtin.module {
          func.func @main(%x: tensor<2x4x8xf32>) -> tensor<2x4x6xf32> {
            %0 = aten.parameter @w : tensor<6x8xf32>
            %1 = aten.linear %x, %0 : (tensor<2x4x8xf32>, tensor<6x8xf32>) -> tensor<2x4x6xf32>
            %2 = aten.full 2.000000e+00 : f64 : tensor<f32>
            %3 = aten.mul %1, %2 : (tensor<2x4x6xf32>, tensor<f32>) -> tensor<2x4x6xf32>
            func.return %3 : tensor<2x4x6xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<2x4x8xf32>) -> tensor<2x4x6xf32> {
            %0 = plena.parameter @w : tensor<6x8xf32>
            %1 = plena.reshape %x : (tensor<2x4x8xf32>) -> tensor<8x8xf32>
            %2 = plena.linear %1, %0 : (tensor<8x8xf32>, tensor<6x8xf32>) -> tensor<8x6xf32>
            %3 = plena.reshape %2 : (tensor<8x6xf32>) -> tensor<2x4x6xf32>
            %4 = plena.reshape %3 : (tensor<2x4x6xf32>) -> tensor<8x6xf32>
            %5 = plena.mul_scalar %4, 2.000000e+00 : f64 : (tensor<8x6xf32>) -> tensor<8x6xf32>
            %6 = plena.reshape %5 : (tensor<8x6xf32>) -> tensor<2x4x6xf32>
            func.return %6 : tensor<2x4x6xf32>
          }
        }
    """

    name = "convert-aten-to-plena"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        dce(op)
        rewrite_once(op, TurnMasks())
        rewrite_once(op, ShiftBiases())
        rewrite_once(op, InvertExponentials())
        dce(op)
        for _ in range(2):
            with remembering():
                rewrite_once(op, ConvertOperators())
            dce(op)
