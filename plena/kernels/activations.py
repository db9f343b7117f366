"""Activation functions from what the vector unit has: add, multiply, maximum with a number, exp, reciprocal."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import SSAValue

from plena.kernels.choosing import split_at_zero
from plena.kernels.lanes import Lanes
from plena.kernels.logarithms import expm1, mish, softplus

GELU_CUBIC = 0.07177734375
GELU_LINEAR = 1.59375
"""Phi(x) is close to sigmoid(GELU_LINEAR * x + GELU_CUBIC * x^3). Chosen among all pairs of bf16 numbers such that the
computed erf form, over all bf16 arguments, is nowhere further from the exact one than 1e-3 plus one bf16 ulp."""

GELU_TANH_CUBIC = 0.0712890625
GELU_TANH_LINEAR = 1.59375
"""2*sqrt(2/pi) times 0.044715 and 1, in bf16: the tanh form is x * sigmoid(2 * its argument)."""

GELU_QUICK = 1.702


def logistic_of_negative(lanes: Lanes, x: SSAValue) -> SSAValue:
    """1 / (1 + e^x) = sigmoid(-x)."""
    grown = lanes.apply("add", lanes.apply("exp", x), 1.0)
    return lanes.apply("reciprocal", grown)


def sigmoid(lanes: Lanes, x: SSAValue) -> SSAValue:
    return logistic_of_negative(lanes, lanes.apply("reverse_sub", x, 0.0))


def silu(lanes: Lanes, x: SSAValue) -> SSAValue:
    return lanes.apply("mul", sigmoid(lanes, x), x)


def gelu_quick(lanes: Lanes, x: SSAValue) -> SSAValue:
    return lanes.apply("mul", logistic_of_negative(lanes, lanes.apply("mul", x, -GELU_QUICK)), x)


def _negative_cubic(lanes: Lanes, x: SSAValue, cubic: float, linear: float) -> SSAValue:
    """-(linear * x + cubic * x^3)."""
    square = lanes.apply("mul", x, x)
    factor = lanes.apply("add", lanes.apply("mul", square, -cubic), -linear)
    return lanes.apply("mul", factor, x)


def gelu_tanh(lanes: Lanes, x: SSAValue) -> SSAValue:
    exponent = _negative_cubic(lanes, x, GELU_TANH_CUBIC, GELU_TANH_LINEAR)
    return lanes.apply("mul", logistic_of_negative(lanes, exponent), x)


def gelu_erf(lanes: Lanes, x: SSAValue) -> SSAValue:
    """x * s with s = 1 / (1 + e) refined once: s += s * (1 - s - e * s).

    Without the refinement the roundings of 1 + e, its reciprocal and the product add up to 1.5 ulp and more for x
    around 1.
    """
    e = lanes.apply("exp", _negative_cubic(lanes, x, GELU_CUBIC, GELU_LINEAR))
    s = lanes.apply("reciprocal", lanes.apply("add", e, 1.0))
    rest = lanes.apply("sub", lanes.apply("reverse_sub", s, 1.0), lanes.apply("mul", e, s))
    return lanes.apply("mul", lanes.apply("add", s, lanes.apply("mul", rest, s)), x)


TANH_END = 3.65
"""Where the rational form of tanh reaches 1; arguments are limited to it."""


def tanh(lanes: Lanes, x: SSAValue) -> SSAValue:
    """x (1 + x^2/9 + x^4/945) / (1 + 4 x^2/9 + x^4/63), the Pade form, within 0.0015 everywhere.

    Small arguments keep their relative precision; 1 - 2 / (e^2x + 1) would lose it to the rounding of its terms.
    """
    x = lanes.apply("min", lanes.apply("max", x, -TANH_END), TANH_END)
    square = lanes.apply("mul", x, x)

    def polynomial(quadratic: float, quartic: float) -> SSAValue:
        factor = lanes.apply("add", lanes.apply("mul", square, quartic), quadratic)
        return lanes.apply("add", lanes.apply("mul", factor, square), 1.0)

    numerator = lanes.apply("mul", polynomial(1 / 9, 1 / 945), x)
    return lanes.apply("mul", lanes.apply("reciprocal", polynomial(4 / 9, 1 / 63)), numerator)


def relu(lanes: Lanes, x: SSAValue) -> SSAValue:
    return lanes.apply("max", x, 0.0)


def leaky_relu(lanes: Lanes, x: SSAValue, slope: float) -> SSAValue:
    positive, negative = split_at_zero(lanes, x)
    return lanes.apply("add", lanes.apply("mul", negative, slope), positive)


def elu(lanes: Lanes, x: SSAValue, slope: float) -> SSAValue:
    """slope * (e^min(x, 0) - 1) + max(x, 0); small numbers keep their digits, as in `expm1`."""
    positive, negative = split_at_zero(lanes, x)
    curve = expm1(lanes, negative)
    if slope != 1.0:
        curve = lanes.apply("mul", curve, slope)
    return lanes.apply("add", curve, positive)


def absolute(lanes: Lanes, x: SSAValue) -> SSAValue:
    """max(x, 0) - min(x, 0), in an order that makes zero of minus zero."""
    positive = relu(lanes, x)
    if lanes.infinite:
        return lanes.apply("sub", positive, lanes.apply("min", x, 0.0))
    return lanes.apply("add", lanes.apply("sub", positive, x), positive)


def exponential(lanes: Lanes, x: SSAValue) -> SSAValue:
    """The instruction saturates at e^88, where infinity is no more than that."""
    result = lanes.apply("exp", x)
    if lanes.infinite:
        beyond = lanes.apply("sub", relu(lanes, x), lanes.apply("min", relu(lanes, x), LARGEST))
        result = lanes.apply("add", result, beyond)
    return result


LARGEST = 2.0**127
"""Numbers up to here are finite."""


def _weighted(function: Callable[[Lanes, SSAValue], SSAValue]) -> Callable[[Lanes, SSAValue], SSAValue]:
    """x times a weight that is 0 at minus infinity, where the product is NaN: the machine's weight is not quite 0."""

    def weighted(lanes: Lanes, x: SSAValue) -> SSAValue:
        result = function(lanes, x)
        if lanes.infinite:
            undefined = lanes.apply("mul", lanes.apply("min", x, 0.0), 0.0)
            result = lanes.apply("add", result, undefined)
        return result

    return weighted


ACTIVATIONS: dict[str, Callable[[Lanes, SSAValue], SSAValue]] = {
    "silu": _weighted(silu),
    "gelu_erf": _weighted(gelu_erf),
    "gelu_tanh": _weighted(gelu_tanh),
    "gelu_quick": _weighted(gelu_quick),
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "exp": exponential,
    "reciprocal": lambda lanes, x: lanes.apply("reciprocal", x),
    "abs": absolute,
    "expm1": expm1,
    "softplus": softplus,
    "mish": _weighted(mish),
}
"""Activations of one number by kind; square roots are no expressions on lanes (see plena.kernels.roots)."""

SLOPED: dict[str, Callable[[Lanes, SSAValue, float], SSAValue]] = {"leaky_relu": leaky_relu, "elu": elu}
"""Activations with a slope."""
