"""From numbers modulo 2^32 to integers: the one linear function that stays inside [0, 2^32)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from plena.dialects.loop import Linear
from plena.lifting.tree import Number, number_of
from plena.lifting.values import Value
from plena.machine.constants import INT_LIMIT

_MOST_CHOICES = 64


def exact(value: Value, bounds: Sequence[tuple[int, int]]) -> Number | None:
    """The integer function equal to a value for all index values; None when no linear function is.

    Args:
        value: over numbered indices.
        bounds: inclusive bounds of every index. An integer function is linear only if no term alone spans 2^32,
            which leaves one or two candidates for every coefficient.
    """
    if isinstance(value, int):
        return value
    constant = value.constant
    indices: list[int] = []
    choices: list[list[int]] = []
    for index, coefficient in value.terms:
        low, high = bounds[index]
        span = high - low
        if not span:
            constant += coefficient * low
            continue
        fitting = [c for c in (coefficient, coefficient - INT_LIMIT) if abs(c) * span < INT_LIMIT]
        if not fitting:
            return None
        indices.append(index)
        choices.append(fitting)
    count = 1
    for fitting in choices:
        count *= len(fitting)
    if count > _MOST_CHOICES:
        return None
    for signs in product(*choices):
        number = _fitted(Linear(constant, tuple(zip(indices, signs, strict=True))), bounds)
        if number is not None:
            return number
    return None


def _fitted(expression: Linear[int], bounds: Sequence[tuple[int, int]]) -> Number | None:
    """The function with these coefficients whose smallest value is in [0, 2^32), if its largest is too."""
    low, high = expression.range(bounds)
    turns = low // INT_LIMIT
    if high - turns * INT_LIMIT >= INT_LIMIT:
        return None
    return number_of(expression - turns * INT_LIMIT)
