"""Logarithms and what is made of them, out of sums, products, limits, e to the x and reciprocals.

The machine has no logarithm and no way to read an exponent. `_reduced` finds the exponent by comparisons with powers of
two; all its products are exact. A polynomial does the rest. Results are within two bf16 ulps of the exact ones,
those of `log1p` within two and a half because 1 + x is rounded; near the zeros of the functions too.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import SSAValue

from plena.kernels.choosing import chosen, limited, split_at_zero
from plena.kernels.lanes import Lanes
from plena.machine.scalar_codes import BF16_MAX

_SMALLEST_EXPONENT = 126
"""2 to the -126 is the smallest normal number."""

_POWERS = (64, 32, 16, 8, 4, 2, 1)
"""Exponents that are taken out of numbers from 1 on, one after the other."""

_CENTRE = 1.4140625
"""The bf16 number below the square root of 2; larger mantissas are halved."""

_LN2_HIGH, _LN2_LOW = 0.69140625, 0.00173950195
"""ln 2 as the sum of two bf16 numbers."""

_SERIES = (0.33203125, -0.25, 0.2294921875, -0.1787109375)
"""log(1 + d) is close to d - d^2/2 + d^3 times a polynomial with these coefficients for d from -0.29 to 0.415."""

_LARGEST = BF16_MAX


def _reduced(lanes: Lanes, x: SSAValue) -> tuple[SSAValue, SSAValue]:
    """The exponent e and the mantissa z from 0.711 to 1.414 of x = z * 2^e for x > 0, both exact."""
    below = limited(lanes, lanes.apply("mul", lanes.apply("reverse_sub", x, 1.0), 256.0))
    above = lanes.apply("reverse_sub", below, 1.0)
    grown = lanes.apply("mul", lanes.apply("mul", x, below), 2.0**_SMALLEST_EXPONENT)
    z = lanes.apply("add", grown, lanes.apply("mul", x, above))
    e = lanes.apply("mul", below, -float(_SMALLEST_EXPONENT))
    for power in _POWERS:
        # 1 where z / 2^power is above 1; the next bf16 number is 1 + 1/128.
        excess = lanes.apply("add", lanes.apply("mul", z, 2.0 ** (7 - power)), -128.0)
        taken = limited(lanes, excess)
        z = chosen(lanes, taken, lanes.apply("mul", z, 2.0**-power), z)
        e = lanes.apply("add", e, taken if power == 1 else lanes.apply("mul", taken, float(power)))
    halved = limited(lanes, lanes.apply("mul", lanes.apply("add", z, -_CENTRE), 128.0))
    z = lanes.apply("mul", z, lanes.apply("add", lanes.apply("mul", halved, -0.5), 1.0))
    return lanes.apply("add", e, halved), z


def _log_near_one(lanes: Lanes, d: SSAValue) -> SSAValue:
    """log(1 + d) for d from -0.29 to 0.415."""
    factor: SSAValue | None = None
    for coefficient in _SERIES[::-1]:
        if factor is None:
            factor = lanes.apply("mul", d, coefficient)
        else:
            factor = lanes.apply("mul", lanes.apply("add", factor, coefficient), d)
    assert factor is not None
    factor = lanes.apply("mul", lanes.apply("add", factor, -0.5), d)
    return lanes.apply("mul", lanes.apply("add", factor, 1.0), d)


def _of_parts(lanes: Lanes, e: SSAValue, d: SSAValue) -> SSAValue:
    """e * ln 2 + log(1 + d)."""
    small = lanes.apply("add", _log_near_one(lanes, d), lanes.apply("mul", e, _LN2_LOW))
    return lanes.apply("add", small, lanes.apply("mul", e, _LN2_HIGH))


def _edges(lanes: Lanes, y: SSAValue, x: SSAValue) -> SSAValue:
    """y where x > 0, minus infinity where x is 0, NaN where it is negative."""
    one = lanes.apply("min", lanes.apply("mul", lanes.apply("mul", x, _LARGEST), 256.0), 1.0)
    one = lanes.apply("add", one, 0.0)  # minus zero is zero
    y = lanes.apply("add", y, lanes.apply("reverse_sub", lanes.apply("reciprocal", one), 1.0))
    negative = lanes.apply("mul", lanes.apply("mul", lanes.apply("min", one, 0.0), _LARGEST), _LARGEST)
    return lanes.apply("add", y, lanes.apply("mul", negative, 0.0))


def _bounded(lanes: Lanes, x: SSAValue) -> tuple[SSAValue, SSAValue | None]:
    """x without plus infinity, and what is infinite there and 0 elsewhere."""
    if not lanes.infinite:
        return x, None
    positive = lanes.apply("max", x, 0.0)
    bounded = lanes.apply("min", positive, _LARGEST)
    return lanes.apply("min", x, _LARGEST), lanes.apply("sub", positive, bounded)


def log(lanes: Lanes, x: SSAValue, edges: bool) -> SSAValue:
    """With `edges` also of numbers that are not positive."""
    bounded, beyond = _bounded(lanes, x)
    e, z = _reduced(lanes, bounded)
    y = _of_parts(lanes, e, lanes.apply("add", z, -1.0))
    if edges:
        y = _edges(lanes, y, bounded)
    return y if beyond is None else lanes.apply("add", y, beyond)


def log1p(lanes: Lanes, x: SSAValue, edges: bool) -> SSAValue:
    """log(1 + x). Near 0, where 1 + x has the exponent 0, the digits of x count, which 1 + x has lost."""
    bounded, beyond = _bounded(lanes, x)
    whole = lanes.apply("add", bounded, 1.0)
    e, z = _reduced(lanes, whole)
    size = lanes.apply("sub", lanes.apply("mul", lanes.apply("max", e, 0.0), 2.0), e)
    near = lanes.apply("max", lanes.apply("reverse_sub", size, 1.0), 0.0)
    y = _of_parts(lanes, e, chosen(lanes, near, bounded, lanes.apply("add", z, -1.0)))
    if edges:
        y = _edges(lanes, y, whole)
    return y if beyond is None else lanes.apply("add", y, beyond)


def expm1(lanes: Lanes, x: SSAValue) -> SSAValue:
    """e^x - 1; by its series where x is at most 1/2 in size, whose digits the difference would lose."""
    u = lanes.apply("min", lanes.apply("max", x, -0.5), 0.5)
    factor = lanes.apply("add", lanes.apply("mul", u, 1 / 24), 1 / 6)
    for coefficient in (0.5, 1.0):
        factor = lanes.apply("add", lanes.apply("mul", factor, u), coefficient)
    # The bf16 numbers next to 1/2 are 1/256 and 1/512 away.
    rest = lanes.apply("mul", lanes.apply("sub", x, u), 512.0)
    beyond = limited(lanes, lanes.apply("mul", rest, rest))
    difference = lanes.apply("add", lanes.apply("exp", x), -1.0)
    return chosen(lanes, beyond, difference, lanes.apply("mul", factor, u))


_SOFT = (-0.484375, 0.24609375, -0.06884765625)
"""log(1 + u) is close to u + u^2 times a polynomial with these coefficients for u from 0 to 1."""


def softplus(lanes: Lanes, x: SSAValue) -> SSAValue:
    """max(x, 0) + log(1 + u) with u = e^-|x|."""
    positive, negative = split_at_zero(lanes, x)
    u = lanes.apply("exp", lanes.apply("sub", negative, positive))
    factor = lanes.apply("mul", u, _SOFT[-1])
    for coefficient in _SOFT[-2::-1]:
        factor = lanes.apply("mul", lanes.apply("add", factor, coefficient), u)
    factor = lanes.apply("add", factor, 1.0)
    return lanes.apply("add", lanes.apply("mul", factor, u), positive)


def mish(lanes: Lanes, x: SSAValue) -> SSAValue:
    """x * tanh(log(1 + e^x)) = x * n / (n + 2) with n = e^x (e^x + 2); from 20 on the quotient is 1."""
    e = lanes.apply("exp", lanes.apply("min", x, 20.0))
    n = lanes.apply("mul", lanes.apply("add", e, 2.0), e)
    quotient = lanes.apply("mul", lanes.apply("reciprocal", lanes.apply("add", n, 2.0)), n)
    return lanes.apply("mul", quotient, x)


LOGARITHMS: dict[str, Callable[[Lanes, SSAValue, bool], SSAValue]] = {"log": log, "log1p": log1p}
"""Functions that are not finite everywhere; the last argument says whether that may happen."""
