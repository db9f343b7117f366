"""Which tensors may hold infinities or NaN, and how a selection keeps those of the side that is not selected out.

The machine selects by products with 0 and 1, and 0 times infinity is NaN. So what is not selected is made finite where
it would become infinite: divisors, arguments of roots and fills with infinity become 1 there (`finite_where_not`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import copysign, isfinite, isinf, prod

from xdsl.ir import BlockArgument, Operation, SSAValue

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import Emitter
from plena.tensor.ranges import MARGIN, range_of
from plena.tensor.remembering import remembered
from plena.tensor.same_values import same_value
from plena.tensor.shares import hangs_on_readers, is_share_of_sigmoids

BOUNDED = ("relu", "sigmoid", "exp", "tanh", "elu", "expm1", "softplus")
"""Activations that make a finite number of minus infinity, as their kernels compute them."""


LARGEST = (2.0 - 2.0**-7) * 2.0**127
"""Of the machine's finite numbers."""

NEAR_MINUS_ONE = -0.99
"""1 plus a number above this is positive, however it is rounded."""


def holds_infinity(value: SSAValue) -> bool:
    """Whether the model itself puts infinities into a tensor."""
    return any(_puts_infinity(op) for op in _behind(value, _keeps_infinity))


def _puts_infinity(op: Operation) -> bool:
    match op:
        case plena.FillInfinityOp():
            return True
        case plena.ParameterOp(value=plena.FullAttr() as full):
            return isinf(full.value.value.data)
        case _:
            return False


def _keeps_infinity(op: Operation) -> bool:
    match op:
        case plena.ActivationOp():
            return op.kind.data not in BOUNDED
        case plena.ClampOp():
            return op.min is None
        case plena.SoftmaxOp() | plena.RouteOp():
            return False
        case _:
            return True


def _behind(value: SSAValue, passes: Callable[[Operation], bool] = lambda _: True) -> Iterator[Operation]:
    """The operations that a value is made of, each once; not beyond those that let nothing pass."""
    seen: set[SSAValue] = set()
    waiting = [value]
    while waiting:
        value = waiting.pop()
        op = value.owner
        if value in seen or not isinstance(op, plena.PlenaOp):
            continue
        seen.add(value)
        yield op
        if passes(op):
            waiting.extend(op.operands)


def makes_infinity(op: Operation) -> bool:
    """Whether an operation may make infinities or NaN of finite numbers of moderate size."""
    match op:
        case plena.FillInfinityOp():
            return True
        case plena.ParameterOp(value=plena.FullAttr() as full):
            return isinf(full.value.value.data)
        case plena.ParameterOp():
            return op.extremes is not None and op.extremes.data == "infinite"
        case plena.ActivationOp() if op.kind.data == "reciprocal":
            return not range_of(op.input).is_away_from_zero
        case plena.ActivationOp() if op.kind.data == "rsqrt":
            return range_of(op.input).low < MARGIN
        case plena.ActivationOp() if op.kind.data == "sqrt":
            return not range_of(op.input).is_nonnegative
        case plena.ActivationOp() if op.kind.data == "log":
            return range_of(op.input).low < MARGIN
        case plena.ActivationOp() if op.kind.data == "log1p":
            return range_of(op.input).low < NEAR_MINUS_ONE
        case plena.DivOp():
            nonzero = op.nonzero is not None or range_of(op.rhs).is_away_from_zero
            return not nonzero and not is_share_of_sigmoids(op)
        case plena.AddScalarOp() | plena.MulScalarOp():
            return not isfinite(op.value.value.data)
        case plena.AttentionOp():
            return makes_undefined_rows(op)
        case _:
            return False


def makes_undefined_rows(op: Operation) -> bool:
    """Whether a query without any key gets NaN."""
    return isinstance(op, plena.AttentionOp) and op.empty is not None and op.empty.data == "nan"


def vanishes(op: Operation) -> bool:
    """Whether an operation makes finite numbers of what it is given, infinity filled in or computed included."""
    makes_finite = isinstance(op, plena.ActivationOp | plena.ClampOp | plena.RouteOp | plena.RelativeOp)
    return makes_finite and _makes_finite(op, _extent_of(op.input))


def _makes_finite(op: Operation, extent: _Extent) -> bool:
    either = extent.holds_only(-1) or extent.holds_only(1)
    match op:
        case plena.ActivationOp() if op.kind.data in ("sigmoid", "tanh"):
            return either
        case plena.ActivationOp():
            return op.kind.data in BOUNDED and extent.holds_only(-1)
        case plena.ClampOp() if op.min is not None and op.max is not None:
            return either
        case plena.ClampOp():
            return extent.holds_only(1 if op.min is None else -1)
        case plena.RouteOp():
            return True
        case plena.RelativeOp():
            return op.part is not None and op.part.data == "near"
        case _:
            return False


HUGE = 2.0**100
"""Finite numbers beyond this must not be multiplied on the way, as packing for broadcast products does by 16."""


def makes_huge(op: Operation) -> bool:
    """Whether an operation brings in numbers close to the ends of float32."""
    match op:
        case plena.ParameterOp(value=plena.FullAttr() as full):
            return abs(full.value.value.data) > HUGE
        case plena.ParameterOp():
            return op.extremes is not None
        case plena.AddScalarOp() | plena.MulScalarOp():
            return abs(op.value.value.data) > HUGE
        case _:
            return False


def keeps_huge(op: Operation) -> bool:
    """Whether results may be close to the ends of float32 if operands are."""
    match op:
        case plena.ActivationOp():
            return op.kind.data not in ("sigmoid", "tanh")
        case plena.ClampOp():
            return op.min is None or op.max is None
        case plena.SoftmaxOp() | plena.RmsNormOp() | plena.LayerNormOp() | plena.AttentionOp():
            return False
        case plena.RouteOp():
            return False
        case _:
            return True


def may_overflow(value: SSAValue) -> bool:
    """Whether a tensor may hold infinities or NaN though all its sources are finite numbers of moderate size."""
    return _extent_of(value).overflows


def is_finite(value: SSAValue) -> bool:
    """Whether a tensor holds numbers alone, whatever infinities the inputs of the program may hold."""
    moved = [op for op in _behind(value, _moves) if _moves(op)]
    return not may_overflow(value) and not any(
        isinstance(x, BlockArgument) for op in moved for x in op.operands
    )


def _moves(op: Operation) -> bool:
    """Whether an element of the result may be an element of an operand, infinite if that is: no other operation
    computes with infinite inputs (`plena.tensor.infinite_inputs`)."""
    return not isinstance(op, plena.MatmulOp | plena.LinearOp | plena.ProjectionsOp | plena.EmbeddingOp)


def holds_only(value: SSAValue, sign: int) -> bool:
    """Whether all that a tensor holds beside finite numbers is infinity of one sign, filled in and moved."""
    return _extent_of(value).holds_only(sign)


@dataclass(frozen=True)
class _Extent:
    """What a tensor may hold beside finite numbers: anything, or infinities of the signs alone."""

    overflows: bool = False
    signs: frozenset[int] = frozenset({-1, 1})

    def holds_only(self, sign: int) -> bool:
        return not self.overflows or sign in self.signs


_FINITE = _Extent()


def _extent_of(value: SSAValue) -> _Extent:
    """Operands first, each operation once: chains are longer than calls nest."""
    kept = remembered(_Extent)
    known: dict[SSAValue, _Extent] = {}
    passing = set[SSAValue]()
    waiting = [value]
    while waiting:
        current = waiting[-1]
        op = current.owner
        if current in kept or current in known or not isinstance(op, plena.PlenaOp):
            waiting.pop()
            continue
        missing = [operand for operand in op.operands if operand not in kept and operand not in known]
        missing = [operand for operand in missing if isinstance(operand.owner, plena.PlenaOp)]
        if missing:
            waiting.extend(missing)
            continue
        operands = [kept.get(operand) or known.get(operand, _FINITE) for operand in op.operands]
        known.update(dict.fromkeys(op.results, _extent(op, operands)))
        if hangs_on_readers(op) or not passing.isdisjoint(op.operands):
            passing.update(op.results)
    found = kept.get(value) or known.get(value, _FINITE)
    kept.update((each, extent) for each, extent in known.items() if each not in passing)
    return found


def _extent(op: Operation, operands: list[_Extent]) -> _Extent:
    if operands and _makes_finite(op, operands[0]):
        return _FINITE
    if not makes_infinity(op) and not any(operand.overflows for operand in operands):
        return _FINITE
    signs: frozenset[int] = frozenset()
    match op:
        case plena.FillInfinityOp():
            signs = frozenset({op.sign.value.data} if operands[0].holds_only(op.sign.value.data) else ())
        case (
            plena.ReshapeOp() | plena.RearrangeOp() | plena.ExpandOp() | plena.RelativeOp() | plena.ConcatOp()
            | plena.SliceOp()
        ):  # fmt: skip
            signs = frozenset(sign for sign in (-1, 1) if all(x.holds_only(sign) for x in operands))
        case _:
            pass
    return _Extent(True, signs)


def finite_where_not(e: Emitter, value: SSAValue, selected: SSAValue) -> SSAValue | None:
    """A tensor as `value` [M, N] where `selected` ([M, N], [N] or [M, 1] of 0 and 1) is 1, finite where it is 0.

    None if what overflows is no elementwise operation before the value.
    """
    if not may_overflow(value):
        return value
    op = value.owner
    match op:
        case plena.ReshapeOp() if len(shape_of(op.input)) > 2 or shape_of(op.input) == shape_of(value):
            return _reshaped(e, op, value, selected)
        case plena.ActivationOp():
            x = finite_where_not(e, op.input, selected)
            if x is None:
                return None
            if op.kind.data in ("reciprocal", "rsqrt", "sqrt", "log", "log1p"):
                x = _one_where_not(e, x, selected)
            slope = None if op.slope is None else op.slope.value.data
            return e.add(plena.ActivationOp(op.kind.data, x, slope))  # type: ignore[arg-type]
        case plena.DivOp() | plena.FillInfinityOp():
            return _with_safe_divisor(e, op, selected)
        case plena.AddOp() | plena.SubOp() | plena.MulOp():
            sides = [_whole(e, side, value) if may_overflow(side) else side for side in op.operands]
            lhs, rhs = (finite_where_not(e, side, selected) for side in sides)
            return None if lhs is None or rhs is None else e.add(type(op)(lhs, rhs))
        case plena.AddScalarOp() | plena.MulScalarOp():
            number = op.value.value.data
            x = finite_where_not(e, op.input, selected) if isfinite(number) else None
            return None if x is None else e.add(type(op)(x, number))
        case plena.SoftmaxOp():
            return _softmax_without_empty_rows(e, op, selected)
        case plena.ClampOp():
            x = finite_where_not(e, op.input, selected)
            bounds = [None if b is None else b.value.data for b in (op.min, op.max)]
            return None if x is None else e.add(plena.ClampOp(x, *bounds))
        case _:
            return None


def _reshaped(e: Emitter, op: plena.ReshapeOp, value: SSAValue, selected: SSAValue) -> SSAValue | None:
    """Through a matrix under another number of axes, back to the matrix."""
    inner = op.input.owner
    if not isinstance(inner, plena.ReshapeOp) or shape_of(inner.input) != shape_of(value):
        return None
    return finite_where_not(e, inner.input, selected)


_VANISHING = -(2.0**100)
"""Its exponential is that of minus infinity beside any score."""


def _softmax_without_empty_rows(e: Emitter, op: plena.SoftmaxOp, selected: SSAValue) -> SSAValue | None:
    """A softmax is NaN in rows of nothing but minus infinity.

    If just what is not selected is minus infinity, a very low number does in its place: rows with a selected element
    have the same softmax.
    """
    fill = _matrix_of(op.input).owner
    if not isinstance(fill, plena.FillInfinityOp) or fill.sign.value.data > 0:
        return None
    if may_overflow(fill.lhs) or not same_value(fill.rhs, selected) or op.groups.value.data != 1:
        return None
    inverse = e.add(plena.MulScalarOp(e.flat(selected), -1.0))
    low = e.add(plena.MulScalarOp(e.add(plena.AddScalarOp(inverse, 1.0)), _VANISHING))
    kept = e.add(plena.MulOp(fill.lhs, selected))
    total = e.add(plena.AddOp(kept, e.reshape(low, shape_of(selected))))
    return e.add(plena.SoftmaxOp(e.reshape(total, shape_of(op.input))))


def _matrix_of(value: SSAValue) -> SSAValue:
    """The value before reshapes that cancel each other."""
    source = value
    while isinstance(source.owner, plena.ReshapeOp):
        source = source.owner.input
        if shape_of(source) == shape_of(value):
            value = source
    return value


def _with_safe_divisor(
    e: Emitter, op: plena.DivOp | plena.FillInfinityOp, selected: SSAValue
) -> SSAValue | None:
    lhs = finite_where_not(e, op.lhs, selected)
    divisor = op.rhs
    if shape_of(divisor) != shape_of(selected) or may_overflow(divisor):
        divisor = _whole(e, divisor, op.lhs)
    finite = finite_where_not(e, divisor, selected)
    if lhs is None or finite is None:
        return None
    safe = _one_where_not(e, finite, selected)
    if isinstance(op, plena.DivOp):
        return e.add(plena.DivOp(lhs, safe))
    return e.add(plena.FillInfinityOp(lhs, safe, op.sign.value.data))


def _whole(e: Emitter, value: SSAValue, like: SSAValue) -> SSAValue:
    """A right operand of a binary kernel in the shape of the left one."""
    (rows, columns), own = shape_of(like), shape_of(value)
    if own == (rows, columns):
        return value
    if len(own) == 1 or own[1] == 1:
        return e.add(plena.ExpandOp(value, (rows, columns)))
    parts = (rows, own[1], columns // own[1])
    return e.reshape(e.add(plena.ExpandOp(e.reshape(value, (*own, 1)), parts)), (rows, columns))


def _one_where_not(e: Emitter, value: SSAValue, selected: SSAValue) -> SSAValue:
    """value * selected + (1 - selected); rows and columns meet their like.

    Where it is selected minus zero is added, which leaves both zeros as they are: their reciprocals differ.
    """
    return _filled_where_not(e, value, selected, 1)


def exact_product(e: Emitter, value: SSAValue, selected: SSAValue) -> SSAValue:
    """`value` [M, N] where `selected` is 1, both zeros as they are, and minus zero where it is 0: what is added to it
    keeps its sign."""
    return e.add(plena.MulOp(_filled_where_not(e, value, selected, -1), selected))


def exact_number(e: Emitter, number: float, selected: SSAValue, rejected: SSAValue) -> SSAValue:
    """`number` where `selected` is 1, minus zero where it is 0, in the shape of `selected`; the other one is its
    inverse."""
    if copysign(1.0, number) < 0:
        product = e.add(plena.MulScalarOp(e.flat(selected), number))
    else:
        product = e.add(plena.MulScalarOp(e.add(plena.AddScalarOp(e.flat(rejected), -1.0)), -number))
    return e.reshape(product, shape_of(selected))


def _filled_where_not(e: Emitter, value: SSAValue, selected: SSAValue, fill: int) -> SSAValue:
    """`value` where it is selected, its zeros as they are; `fill`, 1 or -1, where it is not."""
    shape = shape_of(value)
    matrix = shape if len(shape) == 2 else (1, prod(shape))
    if len(shape_of(selected)) == 1 and len(shape) == 1:
        selected = e.reshape(selected, matrix)
    flat = e.flat(selected)
    if fill > 0:
        inverse = e.add(plena.AddScalarOp(flat, -1.0))
    else:
        inverse = e.add(plena.AddScalarOp(e.add(plena.MulScalarOp(flat, -1.0)), 1.0))
    rest = e.reshape(e.add(plena.MulScalarOp(inverse, -1.0)), shape_of(selected))
    product = e.add(plena.MulOp(e.reshape(value, matrix), selected))
    return e.reshape(e.add(plena.AddOp(product, rest)), shape)
