"""What points must keep: bounds of figures, as `area <= 2.0`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plena.errors import PlenaError

EXAMPLE = 'Write "area <= 2.0" or "utilization >= 0.5".'

_FORM = re.compile(r"\s*([A-Za-z_][\w:.-]*)\s*(<=|>=)\s*([-+]?[\w.+-]+)\s*")


@dataclass(frozen=True)
class Constraint:
    """A bound of a figure, kept by points that may be on the front.

    Attributes:
        figure: its name, as of an objective.
        is_upper: whether the figure may be at most `bound`; else at least.
    """

    figure: str
    is_upper: bool
    bound: float

    @staticmethod
    def of(text: Any) -> Constraint:
        """Reads a text; whether there is such a figure the caller knows.

        Raises:
            PlenaError: it is of another form.
        """
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise PlenaError(
                f"a constraint is a figure, <= or >=, and a number, not {text!r}", "constraints", EXAMPLE
            )
        figure, sign, number = found.groups()
        try:
            bound = float(number)
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound):
            raise PlenaError(f"{number!r} in the constraint {text!r} is no number", "constraints", EXAMPLE)
        return Constraint(figure, sign == "<=", bound)

    def excess(self, figures: Mapping[str, Any]) -> float:
        """By how much figures break it, over the bound where that is not 0; not above 0 if they keep it.

        Infinite if they do not have it.
        """
        value = figures.get(self.figure)
        if value is None:
            return math.inf
        over = float(value) - self.bound if self.is_upper else self.bound - float(value)
        return over / abs(self.bound) if self.bound else over

    def standing(self, values: Sequence[float]) -> tuple[int, float | None]:
        """How many values of the figure keep it, and the one that does so best; None if there are none."""
        keep = sum(self.excess({self.figure: value}) <= 0 for value in values)
        return keep, (min if self.is_upper else max)(values, default=None)

    def __str__(self) -> str:
        return f"{self.figure} {'<=' if self.is_upper else '>='} {self.bound:.15g}"
