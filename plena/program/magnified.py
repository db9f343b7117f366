"""What a module makes of roundings to bf16, and whether that explains how far a result is from its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from plena.program.numbers import numbers_from_json
from plena.program.thresholds import (
    Float64,
    Thresholds,
    array_of,
    bf16_step,
    columns_of,
    over,
    rms_of,
    row_rms,
    without_traces,
)

MARGIN = 2.0
"""How many times as far a program may be off as one rounding after each operator: it may take more steps."""


@dataclass(frozen=True)
class Magnified:
    """The cost of bf16 between operators, of the output and of the row that are farthest beyond what is usual; of those
    that are beyond the bound, if any is.

    All figures are relative to the RMS of the quantised reference, those of a row to its RMS or to that of the output,
    whichever is larger.

    Args:
        cost: RMS of the quantised reference with every operator's result rounded minus itself, the largest of some
            roundings.
        found: RMS of the result minus the quantised reference.
        allowed: `MARGIN` times the cost, more for few elements, or what `Thresholds` allow, whichever is larger.
        output: the number of the output.
        row_cost, row_found, row_allowed: the same of a row; a row may be `Thresholds.for_rows` as far off.
    """

    cost: float
    found: float
    allowed: float
    output: int
    row_cost: float
    row_found: float
    row_allowed: float

    @staticmethod
    def of(
        results: Sequence[Any],
        quantized: Sequence[Any],
        float32: Sequence[Any] | None,
        rounded: Sequence[Sequence[Any]],
        thresholds: Thresholds,
    ) -> Magnified:
        """Compare outputs; arrays or tensors of any floating or integer type, all of the same shapes.

        Args:
            rounded: the outputs of one run after the other.
        """
        each: list[_Judged] = []
        for index, (result, reference) in enumerate(zip(results, quantized, strict=True)):
            runs = [array_of(run[index]) for run in rounded]
            if runs and runs[0].size:
                exact = None if float32 is None else array_of(float32[index])
                each.append(_judged(array_of(result), array_of(reference), exact, runs, index, thresholds))
        whole = max(each, key=lambda m: m.whole).figures
        row = max(each, key=lambda m: m.row).figures
        return replace(whole, row_cost=row.row_cost, row_found=row.row_found, row_allowed=row.row_allowed)

    @staticmethod
    def from_json(document: object, where: str) -> Magnified:
        """Inverse of ``asdict``.

        Raises:
            PlenaError: not such a document.
        """
        if isinstance(document, dict):
            # Reports did not always say which output.
            document = {"output": 0, **document}
        return numbers_from_json(Magnified, document, "magnified", where)

    @property
    def explains(self) -> bool:
        """Whether the result is no farther off than roundings to bf16 take it."""
        return self.found <= self.allowed and self.row_found <= self.row_allowed

    @property
    def void(self) -> bool:
        """Whether roundings may change everything, so that no result could be told from another."""
        return self.allowed >= 1

    def __str__(self) -> str:
        return (
            f"the module magnifies roundings: those to bf16 alone cost {self.cost:.4%} of output "
            f"{self.output}, the program is off by {self.found:.4%} (bound {self.allowed:.4%}); the worst row "
            f"{self.row_found:.4%} (bound {self.row_allowed:.4%})"
        )


@dataclass(frozen=True)
class _Judged:
    """The figures of an output, and how it ranks among the outputs.

    Attributes:
        whole: whether it is beyond the bound, whether only roundings that may change everything excuse it, and how many
            times it is what is usual.
        row: how many times its worst row is the bound.
    """

    figures: Magnified
    whole: tuple[bool, bool, float]
    row: float


def _judged(
    found: Float64,
    quantized: Float64,
    float32: Float64 | None,
    rounded: Sequence[Float64],
    index: int,
    thresholds: Thresholds,
) -> _Judged:
    found = without_traces(found, quantized)
    with np.errstate(invalid="ignore"):
        kept = np.isfinite(found) & np.isfinite(quantized)
        error = np.where(kept, found - quantized, 0.0)
        costs = [np.where(kept & np.isfinite(run), run - quantized, 0.0) for run in rounded]
        formats = None
        if float32 is not None:
            formats = np.where(kept & np.isfinite(float32), quantized - float32, 0.0)
    own, whole = rms_of(error), rms_of(np.where(kept, quantized, 0.0))
    rows, sizes = row_rms(error), np.maximum(row_rms(np.where(kept, quantized, 0.0)), whole)
    usual, usual_rows = _usual(whole, sizes, formats, thresholds)
    cost = max(rms_of(run) for run in costs)
    row_costs = np.max([row_rms(run) for run in costs], axis=0)
    # Of a few elements some roundings say little: as for rows.
    allowed = max(usual, MARGIN * cost * (1 + 2 / found.size**0.5))
    factor = thresholds.for_rows(1.0, columns_of(found))
    allowed_rows = factor * np.maximum(usual_rows, MARGIN * row_costs)
    worst = int(np.argmax(rows / np.maximum(allowed_rows, np.finfo(np.float64).tiny)))
    unit, row_unit = (value or 1.0 for value in (whole, float(sizes[worst])))
    figures = Magnified(
        cost / unit,
        own / unit,
        allowed / unit,
        index,
        float(row_costs[worst]) / row_unit,
        float(rows[worst]) / row_unit,
        float(allowed_rows[worst]) / row_unit,
    )
    rank = (own > allowed, own > usual and figures.void, over(own, usual))
    return _Judged(figures, rank, over(float(rows[worst]), float(allowed_rows[worst])))


def _usual(
    whole: float, sizes: Float64, formats: Float64 | None, thresholds: Thresholds
) -> tuple[float, Float64]:
    """What `Thresholds` allow of a module that magnifies nothing: an output, and its rows."""
    bound = np.inf if thresholds.quantized is None else thresholds.quantized
    allowed, rows = bound * whole, bound * sizes
    if thresholds.share is not None and formats is not None:
        cost, cost_rows = rms_of(formats), row_rms(formats)
        step, steps = (thresholds.ulps * bf16_step(x) for x in (np.array(whole), sizes))
        allowed = min(allowed, thresholds.share * cost + float(step))
        rows = np.minimum(rows, thresholds.share * np.maximum(cost_rows, cost) + steps)
    return allowed, rows
