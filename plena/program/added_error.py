"""What a program adds to the error that the number formats make anyway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Added:
    """What a program adds to what the number formats cost, of the output and of the row that are closest to the bound.

    All figures are relative to the RMS of the output in float32, those of a row to its RMS or to that of the output,
    whichever is larger.

    Args:
        formats: RMS of the quantised reference minus float32.
        found: RMS of the result minus the quantised reference.
        allowed: `Thresholds.share` of `formats`, and `Thresholds.ulps` bf16 steps at the size of the output.
        row_formats, row_found, row_allowed: the same of a row; the formats' cost is the row's or the output's,
            whichever is larger, and a row may add `Thresholds.for_rows` as much.
    """

    formats: float
    found: float
    allowed: float
    row_formats: float
    row_found: float
    row_allowed: float

    @staticmethod
    def of(
        results: Sequence[Any], quantized: Sequence[Any], float32: Sequence[Any], thresholds: Thresholds
    ) -> Added:
        """Compare outputs; arrays or tensors of any floating or integer type, all of the same shapes."""
        triples = zip(results, quantized, float32, strict=True)
        each = [_added(array_of(x), array_of(y), array_of(z), thresholds) for x, y, z in triples]
        whole = max(each, key=lambda a: over(a.found, a.allowed))
        row = max(each, key=lambda a: over(a.row_found, a.row_allowed))
        return Added(
            whole.formats, whole.found, whole.allowed, row.row_formats, row.row_found, row.row_allowed
        )

    @staticmethod
    def from_json(document: object, where: str) -> Added:
        """Inverse of ``asdict``.

        Raises:
            PlenaError: not such a document.
        """
        return numbers_from_json(Added, document, "added", where)

    @property
    def failures(self) -> Iterator[str]:
        """One sentence for every bound that is not met."""
        if not self.found <= self.allowed:
            yield (
                f"float32: the program adds {self.found:.4%} to the formats' {self.formats:.4%}, "
                f"{self.allowed:.4%} is allowed"
            )
        elif not self.row_found <= self.row_allowed:
            yield (
                f"float32: in one row the program adds {self.row_found:.4%} to the formats' "
                f"{self.row_formats:.4%}, {self.row_allowed:.4%} is allowed"
            )

    def __str__(self) -> str:
        return (
            f"against float32 the formats cost {self.formats:.4%}, the program adds {self.found:.4%} "
            f"(bound {self.allowed:.4%}); the worst row {self.row_found:.4%} (bound {self.row_allowed:.4%})"
        )


def _added(found: Float64, quantized: Float64, float32: Float64, thresholds: Thresholds) -> Added:
    if not found.size:
        return Added(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    found = without_traces(found, quantized)
    with np.errstate(invalid="ignore"):
        kept = np.isfinite(found) & np.isfinite(quantized) & np.isfinite(float32)
        error = np.where(kept, found - quantized, 0.0)
        cost = np.where(kept, quantized - float32, 0.0)
    size, cost_rows = row_rms(np.where(kept, float32, 0.0)), row_rms(cost)
    whole, formats, own = (rms_of(x) for x in (np.where(kept, float32, 0.0), cost, error))
    share = thresholds.share or 0.0
    scale = np.maximum(size, whole)
    allowed_rows = share * np.maximum(cost_rows, formats) + thresholds.ulps * bf16_step(scale)
    allowed_rows = thresholds.for_rows(1.0, columns_of(found)) * allowed_rows
    found_rows = row_rms(error)
    worst = int(np.argmax(found_rows / np.maximum(allowed_rows, np.finfo(np.float64).tiny)))
    unit, row_unit = (value or 1.0 for value in (whole, float(scale[worst])))
    allowed = share * formats + thresholds.ulps * float(bf16_step(np.array(whole)))
    return Added(
        formats / unit,
        own / unit,
        allowed / unit,
        float(np.maximum(cost_rows, formats)[worst]) / row_unit,
        float(found_rows[worst]) / row_unit,
        float(allowed_rows[worst]) / row_unit,
    )
