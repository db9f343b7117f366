"""Choices between rows, lane by lane: the vector unit compares nothing, but a difference can be made 0 or 1."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.kernels.lanes import Lanes
from plena.machine.scalar_codes import BF16_MAX

ENOUGH = 2.0**127
"""Makes at least 1 of the difference of two bf16 numbers above 2^-119."""


def exceeds(lanes: Lanes, a: SSAValue, b: SSAValue) -> SSAValue:
    """1 where a > b, 0 elsewhere; something between where the difference is below 2^-127."""
    return limited(lanes, lanes.apply("mul", lanes.apply("sub", a, b), ENOUGH))


def limited(lanes: Lanes, x: SSAValue) -> SSAValue:
    """min(max(x, 0), 1)."""
    return lanes.apply("min", lanes.apply("max", x, 0.0), 1.0)


def split_at_zero(lanes: Lanes, x: SSAValue) -> tuple[SSAValue, SSAValue]:
    """max(x, 0) and min(x, 0), exactly: one expensive instruction, not two, unless x may be infinite."""
    positive = lanes.apply("max", x, 0.0)
    return positive, lanes.apply("min", x, 0.0) if lanes.infinite else lanes.apply("sub", x, positive)


def chosen(lanes: Lanes, first: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue:
    """a where `first` is 1, b where it is 0, to the bit; both finite."""
    second = lanes.apply("reverse_sub", first, 1.0)
    return lanes.apply("add", lanes.apply("mul", a, first), lanes.apply("mul", b, second))


def largest(lanes: Lanes, a: SSAValue, b: SSAValue, sign: int) -> SSAValue:
    """The larger one of a and b, the smaller one if `sign` is -1, to the bit; NaN where one of them is NaN."""

    def chosen_of(a: SSAValue, b: SSAValue) -> SSAValue:
        return chosen(lanes, exceeds(lanes, *((a, b) if sign > 0 else (b, a))), a, b)

    if not lanes.infinite:
        return chosen_of(a, b)
    # An infinity is the largest finite number and what it has beyond that: infinity again, and 0 of finite numbers.
    finite = [lanes.apply("min", lanes.apply("max", x, -BF16_MAX), BF16_MAX) for x in (a, b)]
    most = chosen_of(*finite)
    grow, shrink = ("max", "min") if sign > 0 else ("min", "max")
    beyond = [
        lanes.apply(grow, lanes.apply("sub", x, bounded), -float(sign))
        for x, bounded in zip((a, b), finite, strict=True)
    ]
    total = lanes.apply("add", *beyond)
    # Each of them has added -sign where it is infinity of the other sign: the result is that where both have.
    both = lanes.apply(shrink, lanes.apply("add", total, float(sign)), 0.0)
    result = lanes.apply("add", most, lanes.apply(grow, total, 0.0))
    return lanes.apply("add", result, lanes.apply("mul", both, BF16_MAX))
