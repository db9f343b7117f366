"""Between which numbers the elements of a tensor lie, whatever the inputs are, and whether they are whole: interval
arithmetic in bf16. Numbers that are known to be 0 or 1 are masks.

Every elementwise instruction of the machine rounds to bf16 and keeps the order of numbers, so the bounds of a result
are the rounded results of the bounds. Where a kernel approximates a function there is room beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, inf, isnan, log, prod, sqrt

from xdsl.dialects.builtin import FloatAttr
from xdsl.ir import Block, Operation, SSAValue

from plena.dialects import aten, plena
from plena.dialects.tensor_shapes import is_boolean, shape_of
from plena.host.values.attributes import value_of
from plena.host.values.bounds import bounds_of
from plena.machine.scalar_codes import bf16_round
from plena.tensor.remembering import remembered
from plena.tensor.same_values import same_value

MARGIN = 2.0**-100
"""What lies above this has a reciprocal that finite numbers of moderate size can be multiplied by."""

_ROOM = 0.03
"""Relative error that an approximated function is allowed."""

_ULP = 2.0**-8
"""Twice what a rounding to bf16 changes of a number, relative to it."""

_OF_OPERANDS = (
    plena.ActivationOp,
    plena.AddOp,
    plena.SubOp,
    plena.MulOp,
    plena.DivOp,
    plena.MaximumOp,
    plena.MinimumOp,
    plena.GateOp,
    plena.AddScalarOp,
    plena.MulScalarOp,
    plena.ClampOp,
    plena.ReduceOp,
    plena.ReshapeOp,
    plena.RearrangeOp,
    plena.ExpandOp,
    plena.SliceOp,
    plena.ConcatOp,
)
"""Operations whose range hangs on those of their operands."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; infinite bounds mean that there is none, not that a number may be infinite.

    `whole` ones are integers that bf16 holds, and no NaN.
    """

    low: float = -inf
    high: float = inf
    whole: bool = False

    @staticmethod
    def of(*bounds: float) -> Range:
        """The range of bf16 numbers between the least and the largest bound; unknown if one is no number."""
        if any(map(isnan, bounds)):
            return Range()
        return Range(_rounded(min(bounds)), _rounded(max(bounds)))

    def widened(self, other: Range) -> Range:
        """A range that has both; bounds that move go to 0 or as far as there are numbers, so that repetitions end."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Range(
            self.low if low == self.low else 0.0 if low >= 0 else -inf,
            self.high if high == self.high else 0.0 if high <= 0 else inf,
        )

    def wider(self) -> Range:
        """With room for the error of an approximation."""
        slack = [_ROOM * abs(bound) if abs(bound) < inf else 0.0 for bound in (self.low, self.high)]
        return Range(self.low - slack[0], self.high + slack[1])

    @property
    def is_nonnegative(self) -> bool:
        return self.low >= 0

    @property
    def is_bits(self) -> bool:
        """Whether each of the numbers is 0 or 1."""
        return self.whole and self.low >= 0 and self.high <= 1

    @property
    def is_away_from_zero(self) -> bool:
        """Whether dividing by each of the numbers gives a number."""
        return self.low >= MARGIN or self.high <= -MARGIN


BITS = Range(0.0, 1.0, True)
"""Zeros and ones."""

_LARGEST_WHOLE = 256.0
"""bf16 holds all integers up to here."""

_LAYOUT = (
    plena.ReshapeOp, plena.RearrangeOp, plena.ExpandOp, plena.SliceOp, plena.ConcatOp, aten.ViewOp, aten.PermuteOp,
    aten.ExpandOp, aten.SliceOp, aten.CatOp,
)  # fmt: skip

_EXACT = (
    plena.AddOp, plena.SubOp, plena.MulOp, plena.MaximumOp, plena.MinimumOp, plena.AddScalarOp, plena.MulScalarOp,
    plena.ClampOp, plena.ReduceOp, aten.AddOp, aten.SubOp, aten.MulOp, aten.MaximumOp, aten.MinimumOp, aten.NegOp,
    aten.AbsOp, aten.ClampOp, aten.SumOp, aten.AmaxOp, *_LAYOUT,
)  # fmt: skip
"""What makes integers of integers, where the numbers beside them are some."""


def _rounded(bound: float) -> float:
    return float(bf16_round(bound)) if abs(bound) < inf else bound


def range_of(value: SSAValue) -> Range:
    """The range of a tensor's elements."""
    return _Ranges(remembered(Range)).of(value)


@dataclass
class _Ranges:
    """What is known of values; `found` is added to."""

    found: dict[SSAValue, Range]

    def of(self, value: SSAValue) -> Range:
        """Operands first, each operation once: chains are longer than calls nest."""
        if is_boolean(value):
            return BITS
        waiting = [value]
        while waiting:
            current = waiting[-1]
            if not self._is_open(current):
                waiting.pop()
                continue
            op = current.owner
            repeat = _repeat_around(op)
            if repeat is not None:
                self._repeated(repeat)
                continue
            assert isinstance(op, plena.PlenaOp | aten.AtenOp)
            looks = isinstance(op, (*_OF_OPERANDS, *_EXACT, aten.ToOp))
            missing = [operand for operand in op.operands if looks and self._is_open(operand)]
            waiting.extend(missing)
            if not missing:
                self.found[current] = self._with_wholeness(op, self._result(op))
        return self.found.get(value, Range())

    def _is_open(self, value: SSAValue) -> bool:
        op = value.owner
        known = value in self.found or is_boolean(value)
        return not known and (isinstance(op, plena.PlenaOp | aten.AtenOp) or _repeat_around(op) is not None)

    def _repeated(self, op: plena.RepeatOp) -> None:
        """What a repetition carries: what it begins with, and what an iteration makes of what it may carry."""
        carried = [self.of(value) for value in op.initial]
        while True:
            given = dict(zip(op.body.block.args, carried, strict=False))
            iteration = _Ranges({**self.found, **dict.fromkeys(op.body.block.args, Range()), **given})
            made = [iteration.of(value) for value in op.yielded]
            wider = [old.widened(new) for old, new in zip(carried, made, strict=True)]
            if wider == carried:
                self.found.update(iteration.found)
                self.found.update(zip(op.outputs, made, strict=True))
                return
            carried = wider

    def _with_wholeness(self, op: Operation, found: Range) -> Range:
        """Integers, if all that they are computed of are some and bf16 holds them."""
        if not isinstance(op, _EXACT) or max(-found.low, found.high) > _LARGEST_WHOLE:
            return found
        numbers = [a.value.data for a in op.properties.values() if isinstance(a, FloatAttr)]
        kind = op.kind.data if isinstance(op, plena.ReduceOp) else ""
        whole = (
            kind != "mean"
            and all(n.is_integer() for n in numbers)
            and all(self.of(x).whole for x in op.operands)
        )
        return replace(found, whole=whole)

    def _result(self, op: Operation) -> Range:
        match op:
            case plena.ActivationOp():
                return _activated(op, self.of(op.input))
            case plena.AddOp() | aten.AddOp():
                a, b = map(self.of, op.operands)
                back = self._put_back(op) if isinstance(op, plena.AddOp) else None
                return back or Range(_sum(a.low, b.low), _sum(a.high, b.high))
            case plena.SubOp() | aten.SubOp():
                a, b = map(self.of, op.operands)
                return Range(_sum(a.low, -b.high), _sum(a.high, -b.low))
            case plena.MulOp() | aten.MulOp():
                first, second = op.operands
                a = self.of(first)
                return _square(a) if same_value(first, second) else _product(a, self.of(second))
            case plena.DivOp():
                return _product(_reciprocal(self.of(op.rhs)), self.of(op.lhs))
            case plena.MaximumOp() | plena.MinimumOp() | aten.MaximumOp() | aten.MinimumOp():
                a, b = map(self.of, op.operands)
                limit = max if isinstance(op, plena.MaximumOp | aten.MaximumOp) else min
                return Range(limit(a.low, b.low), limit(a.high, b.high))
            case plena.GateOp():
                return _product(_kind(op.kind.data, self.of(op.gate), None), self.of(op.up))
            case plena.AddScalarOp():
                a, number = self.of(op.input), op.value.value.data
                return Range(_sum(a.low, _rounded(number)), _sum(a.high, _rounded(number)))
            case plena.MulScalarOp():
                number = _rounded(op.value.value.data)
                return _product(self.of(op.input), Range(number, number))
            case plena.ClampOp() | aten.ClampOp():
                return _limited(self.of(op.input), op)
            case plena.ReduceOp():
                return _reduced(op, self.of(op.input))
            case plena.SoftmaxOp():
                return Range(0.0, 1.0 + _ROOM)
            case plena.RouteOp():
                return BITS
            case plena.CastOp() | aten.ToOp() if is_boolean(op.input):
                return BITS
            case plena.HostOp() if value_of(op.value).is_zero_one:
                return BITS
            case aten.ToOp():
                found = self.of(op.input)
                return found if found.whole else Range()
            case _ if isinstance(op, _LAYOUT):
                ranges = [self.of(operand) for operand in op.operands]
                return Range(min(r.low for r in ranges), max(r.high for r in ranges))
            case plena.HostOp() if bounds_of(value_of(op.value))[0] >= 0:
                # The sign alone: where it is staged it may be rounded to few bits.
                return Range(0.0)
            case plena.ParameterOp(value=plena.FullAttr() as full):
                return _number(float(full.value.value.data))
            case aten.FullOp():
                return _number(float(op.value.value.data))
            case aten.NegOp():
                a = self.of(op.input)
                return Range(-a.high, -a.low)
            case aten.AbsOp():
                return _kind("abs", self.of(op.input), None)
            case aten.SumOp() | aten.AmaxOp():
                return _of_whole(op, self.of(op.input))
            case plena.ParameterOp() if op.nonnegative is not None:
                return Range(0.0)
            case _:
                return Range()

    def _put_back(self, op: plena.AddOp) -> Range | None:
        """(a - b) + b is a but for two roundings, as where a choice has the gradient of a softmax; None of others."""
        first = op.lhs.owner
        if not isinstance(first, plena.SubOp) or not same_value(first.rhs, op.rhs):
            return None
        a, difference = self.of(first.lhs), self.of(op.lhs)
        off = _ULP * (max(abs(difference.low), abs(difference.high)) + max(abs(a.low), abs(a.high)))
        return Range(a.low - off, a.high + off) if off < inf else None


def _repeat_around(owner: Operation | Block) -> plena.RepeatOp | None:
    """The repetition whose result or whose body's argument a value is, by its owner."""
    op = owner.parent_op() if isinstance(owner, Block) else owner
    return op if isinstance(op, plena.RepeatOp) else None


def _number(number: float) -> Range:
    found = Range.of(number)
    return replace(found, whole=number.is_integer() and abs(number) <= _LARGEST_WHOLE)


def _of_whole(op: aten.SumOp | aten.AmaxOp, a: Range) -> Range:
    """Of integers: their sums are exact as long as they are small."""
    count = 1 if isinstance(op, aten.AmaxOp) else prod(shape_of(op.input)) // prod(shape_of(op.result))
    return Range(min(a.low * count, a.low), max(a.high * count, a.high)) if a.whole else Range()


def _sum(a: float, b: float) -> float:
    """The rounded sum of two lower or two upper bounds."""
    return _rounded(a + b)


def _product(a: Range, b: Range) -> Range:
    bounds = [x * y if x and y else 0.0 for x in (a.low, a.high) for y in (b.low, b.high)]
    return Range.of(*bounds)


def _square(a: Range) -> Range:
    """Of a number that may be anything the square is not negative."""
    ends = [abs(a.low), abs(a.high)]
    least = 0.0 if a.low <= 0 <= a.high else min(ends)
    return Range.of(least * least, max(ends) * max(ends))


def _reciprocal(a: Range) -> Range:
    if not a.is_away_from_zero:
        return Range()
    return Range.of(1.0 / a.low, 1.0 / a.high).wider()


def _limited(a: Range, op: plena.ClampOp | aten.ClampOp) -> Range:
    low, high = a.low, a.high
    if op.min is not None:
        low, high = (max(bound, _rounded(op.min.value.data)) for bound in (low, high))
    if op.max is not None:
        low, high = (min(bound, _rounded(op.max.value.data)) for bound in (low, high))
    return Range(low, high)


def _reduced(op: plena.ReduceOp, a: Range) -> Range:
    """A sum of numbers that are not negative is at least as large as each of them, however it is rounded."""
    count = prod(shape_of(op.input)) // prod(shape_of(op.result))
    kind = op.kind.data
    if kind == "max":
        return a
    if kind == "sum" and _holds_one(op):
        return Range(1.0 - _ROOM, max(1.0, a.high) * count * (1 + _ROOM))
    share = 1.0 if kind == "sum" else 1.0 / count
    if kind == "sum" and _holds_largest_share(op):
        return Range((1.0 - _ROOM) / count, max(1.0, a.high) * count * (1 + _ROOM))
    if a.is_nonnegative:
        return Range(a.low * share * (1 - _ROOM), a.high * share * count * (1 + _ROOM))
    if a.high <= 0:
        return Range(a.low * share * count * (1 + _ROOM), a.high * share * (1 - _ROOM))
    largest = share * count * (1 + _ROOM)
    return Range(a.low * largest, a.high * largest)


def _holds_one(op: plena.ReduceOp) -> bool:
    """Whether a sum is over e^(x - max x), one of whose elements is 1, or over a softmax."""
    over = op.axis.data, op.groups.value.data
    terms = op.input.owner
    match terms:
        case plena.SoftmaxOp():
            return over == ("features", terms.groups.value.data)
        case plena.ActivationOp() if terms.kind.data == "exp" and isinstance(terms.input.owner, plena.SubOp):
            difference = terms.input.owner
            highest = difference.rhs.owner
            return (
                isinstance(highest, plena.ReduceOp)
                and highest.kind.data == "max"
                and (highest.axis.data, highest.groups.value.data) == over
                and same_value(highest.input, difference.lhs)
            )
        case _:
            return False


def _holds_largest_share(op: plena.ReduceOp) -> bool:
    """Whether a sum is over the largest numbers of a softmax, which are at least 1 over how many there are."""
    terms = op.input.owner
    if not isinstance(terms, plena.MulOp) or (op.axis.data, op.groups.value.data) != ("features", 1):
        return False
    pairs = ((terms.lhs, terms.rhs), (terms.rhs, terms.lhs))
    return any(
        isinstance(route := mask.owner, plena.RouteOp)
        and isinstance(softmax := shares.owner, plena.SoftmaxOp)
        and softmax.groups.value.data == 1
        and same_value(route.input, shares)
        for shares, mask in pairs
    )


def _activated(op: plena.ActivationOp, a: Range) -> Range:
    return _kind(op.kind.data, a, None if op.slope is None else op.slope.value.data)


_LEAST = {"silu": -0.2785, "gelu_erf": -0.17, "gelu_tanh": -0.1701, "gelu_quick": -0.1637}
"""The least value of activations that go with the identity above and vanish below."""


def _kind(kind: str, a: Range, slope: float | None) -> Range:
    """The range of an activation of numbers in a range."""
    low, high = max(a.low, 0.0), max(a.high, 0.0)
    match kind:
        case "relu":
            return Range(low, high)
        case "abs":
            return Range(max(low, -a.high), max(abs(a.low), abs(a.high)))
        case "sigmoid":
            return Range(_logistic(a.low) * (1 - _ROOM), min(1.0, _logistic(a.high) * (1 + _ROOM)))
        case "tanh":
            return Range(-1.0, 1.0).wider()
        case "exp":
            bounds = Range(_exponential(min(a.low, _FAR)), _exponential(a.high)).wider()
            # One instruction that keeps the order, and e^0 is 1.
            return Range(bounds.low, min(1.0, bounds.high)) if a.high <= 0 else bounds
        case "silu" | "gelu_erf" | "gelu_tanh" | "gelu_quick":
            return Range(_LEAST[kind] if a.low < 0 else 0.0, high).wider()
        case "leaky_relu" if slope is not None and slope >= 0:
            bounds = [_rounded(bound if bound > 0 else slope * bound) for bound in (a.low, a.high)]
            return Range(bounds[0], bounds[1])
        case "elu" if slope is not None and slope >= 0:
            return Range(-slope, high).wider()
        case "reciprocal":
            return _reciprocal(a)
        case "softplus":
            return Range(0.0, high + 0.7).wider()
        case "mish":
            return Range(-0.309 if a.low < 0 else 0.0, high).wider()
        case "expm1":
            return Range(-1.0 if a.low < 0 else 0.0, _exponential(a.high)).wider()
        case "log" if a.low >= MARGIN:
            return _logarithms(a.low, a.high)
        case "log1p" if a.low > -1:
            return _logarithms(1 + a.low, 1 + a.high)
        case "sqrt" if a.is_nonnegative:
            return Range(sqrt(a.low), sqrt(a.high)).wider()
        case "rsqrt" if a.low >= MARGIN:
            return Range(0.0 if a.high == inf else 1.0 / sqrt(a.high), 1.0 / sqrt(a.low)).wider()
        case _:
            return Range()


def _logarithms(low: float, high: float) -> Range:
    """With room beside 0 too."""
    bounds = Range(log(low), inf if high == inf else log(high)).wider()
    return Range(bounds.low - _ROOM, bounds.high + _ROOM)


_FAR = 60.0
"""Beyond this exponentials are taken for 0 or without bound; the machine's saturate a little farther."""


def _exponential(bound: float) -> float:
    if bound < -_FAR:
        return 0.0
    return inf if bound > _FAR else exp(bound)


def _logistic(bound: float) -> float:
    if bound < -_FAR:
        return 0.0
    return 1.0 if bound > _FAR else 1.0 / (1.0 + exp(-bound))
