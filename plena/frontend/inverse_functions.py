"""Inverses of circular and hyperbolic functions, in operators that the importer knows.

Each is made so that the machine's roundings stay roundings of the result: differences of numbers that are close to each
other are taken of operands, where they are exact, and both sides of a corner are the same number of bf16 there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_ARC_COSINE = (math.pi / 2, -0.21267225, 0.07538452, -0.01937224)
"""acos(x) / sqrt(1 - x) for x in 0..1, within 6e-5 of it."""

_ARC_SINE = (1.0, 0.16855077, 0.05464707, 0.10181371)
"""asin(x) / x by x^2 for x^2 in 0..1/2."""

_ARC_TANGENT = (1.0, -0.33213072, 0.18681416, -0.09409792, 0.02484027)
"""atan(x) / x by x^2 for x in 0..1."""

_LARGE = 2.0**16
"""The root of its square and 1 more or less is that number to float32."""

_MOST = torch.finfo(torch.bfloat16).max


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """The sum of coefficients times powers of x, the constant one first."""
    *rest, total = coefficients
    found = x * total
    for coefficient in rest[:0:-1]:
        found = (found + coefficient) * x
    return found + rest[0]


def _acos(self: Tensor) -> Tensor:
    """Of what is positive, plus what a negative number has beyond pi/2; one of both is exactly pi/2 or 0."""
    above, below = ((1 - x).sqrt() * _polynomial(x, _ARC_COSINE) for x in (self.relu(), (-self).relu()))
    return above + (math.pi / 2 - below)


def _asin(self: Tensor) -> Tensor:
    """Twice that of the sine of half the angle, which is at most the root of 1/2."""
    cosine = ((1 - self) * (1 + self)).sqrt()
    half = self * (2 * cosine + 2).rsqrt()
    return 2 * half * _polynomial(half * half, _ARC_SINE)


def _atan(self: Tensor) -> Tensor:
    """Twice that of the number cut at 1, minus that of the cut one over the rest: atan(1/x) is pi/2 - atan(x)."""
    cut = self.clamp(-1.0, 1.0)
    whole, part = (x * _polynomial(x * x, _ARC_TANGENT) for x in (cut, cut * (1 / self.abs().clamp(min=1.0))))
    return 2 * whole - part


def _log_of_twice(x: Tensor, twice: Tensor) -> Tensor:
    """log(1 + twice), also where twice x is no number any more, which is its logarithm to 0.8 %."""
    return torch.log1p(twice.clamp(max=_MOST)) + (x - x.clamp(max=_MOST))


def _asinh(self: Tensor) -> Tensor:
    """log(x + sqrt(x^2 + 1)) of both signs."""

    def of_positive(x: Tensor) -> Tensor:
        cut = x.clamp(max=_LARGE)
        return _log_of_twice(x, x + x * (cut / (1 + (1 + cut * cut).sqrt())))

    return of_positive(self.relu()) - of_positive((-self).relu())


def _acosh(self: Tensor) -> Tensor:
    """log(x + sqrt(x^2 - 1)), whose root is x where that is large; that of a number below 1 is NaN, all of it."""
    cut = self.clamp(0.0, _LARGE)
    return _log_of_twice(self, self - 1 + (((cut - 1) * (cut + 1)).sqrt() + (self - cut)))


def _atanh(self: Tensor) -> Tensor:
    """Half the logarithm of (1 + x) / (1 - x)."""
    return (torch.log1p(self) - torch.log1p(-self)) * 0.5


def _logit(self: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), x between eps and 1 - eps if that is given: bf16 has 1 for it, so the logarithm is bounded."""
    if eps is None:
        return self.log() - torch.log1p(-self)
    x, least = self.clamp(eps, 1.0), math.log(eps) if eps > 0 else -math.inf
    return x.log().clamp(max=math.log1p(-eps)) - torch.log1p(-x).clamp(min=least)


INVERSE_FUNCTIONS: dict[Any, Callable[..., Tensor]] = {
    torch.ops.aten.acos.default: _acos,
    torch.ops.aten.asin.default: _asin,
    torch.ops.aten.atan.default: _atan,
    torch.ops.aten.asinh.default: _asinh,
    torch.ops.aten.acosh.default: _acosh,
    torch.ops.aten.atanh.default: _atanh,
    torch.ops.aten.logit.default: _logit,
}
"""Functions by overload."""
