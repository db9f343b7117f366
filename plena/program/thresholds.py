"""How far arrays are from a reference, and what counts as far: by tensor and by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from plena.errors import PlenaError

Float64: TypeAlias = npt.NDArray[np.float64]

STACK = 0.045
"""Largest relative RMS error of models of any depth; more only where roundings to bf16 alone are magnified."""

TRACE = 2.0**-80
"""Less than this beside an exact 0 is no error."""


@dataclass(frozen=True)
class Thresholds:
    """What a result must reach; None prints a figure without judging it.

    Args:
        machine: largest relative RMS error of a tensor against the machine reference.
        quantized: largest relative RMS error of a tensor against the quantised reference.
        rows: how many times as large the relative RMS error of one row may be, of many elements.
        share: largest part of the formats' cost that a program may add to it.
        ulps: bf16 steps that it may add besides.
        atol, rtol: what counts as close in the table, which is not judged.
    """

    machine: float | None = 0.002
    quantized: float | None = 0.015
    rows: float = 2.0
    share: float | None = 0.5
    ulps: float = 2.0
    atol: float = 0.2
    rtol: float = 0.2

    @staticmethod
    def for_attention(keys: int) -> Thresholds:
        """For attention over ``keys`` keys: the quantised bound grows above 1,024 of them."""
        return Thresholds(quantized=0.015 if keys <= 1024 else 0.025)

    @staticmethod
    def for_layers(layers: int) -> Thresholds:
        """For a model of ``layers`` transformer layers: errors add up."""
        per_stack = 0.03 if layers <= 1 else min(0.03 * layers, STACK)
        return Thresholds(machine=0.002 * max(1, layers), quantized=per_stack)

    def for_rows(self, bound: float, columns: int) -> float:
        """The bound of one row: a mean of few elements scatters more."""
        return bound * self.rows * (1 + 2 / columns**0.5)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @staticmethod
    def from_json(document: object, where: str) -> Thresholds:
        """Inverse of ``to_json``.

        Raises:
            PlenaError: unknown names or values that are not numbers.
        """
        known = {field.name for field in fields(Thresholds)}
        if isinstance(document, dict) and set(document) <= known:
            values: dict[str, Any] = document
            if all(v is None or isinstance(v, int | float) for v in values.values()):
                return Thresholds(**values)
        raise PlenaError(f"thresholds must be numbers named {', '.join(sorted(known))}", where)


@dataclass(frozen=True)
class Comparison:
    """How far a result is from a reference.

    Args:
        relative_rms: RMS of the difference over RMS of the reference, of the worst output.
        worst_row: the same for the worst row of the worst output (along the last axis), over the RMS of the reference's
            row or of the whole output, whichever is larger, and divided by what `Thresholds.for_rows` gives for 1.
        cosine: cosine similarity of the worst output.
        allclose_share: share of all elements within ``atol + rtol * |reference|``.
        max_error: largest absolute difference.
        top1: share of rows along the last axis whose largest element is at the same place.
        finite: no NaN or infinity where the reference has none.
    """

    relative_rms: float
    cosine: float
    allclose_share: float
    max_error: float
    top1: float
    finite: bool
    worst_row: float = 0.0

    @staticmethod
    def from_json(document: object, where: str) -> Comparison:
        """Inverse of ``asdict``.

        Raises:
            PlenaError: not such a document.
        """
        names = {f.name for f in fields(Comparison)}
        if isinstance(document, dict) and set(document) == names:
            values: dict[str, Any] = document
            numbers = (v for name, v in values.items() if name != "finite")
            if isinstance(values["finite"], bool) and all(isinstance(v, int | float) for v in numbers):
                return Comparison(**values)
        raise PlenaError(f"a comparison needs numbers named {', '.join(sorted(names))}", where)

    @staticmethod
    def of(results: Sequence[Any], references: Sequence[Any], thresholds: Thresholds) -> Comparison:
        """Compare outputs pairwise; arrays or tensors of any floating or integer type.

        Raises:
            PlenaError: different numbers of outputs or different shapes.
        """
        found = [array_of(x) for x in results]
        wanted = [array_of(x) for x in references]
        if [x.shape for x in found] != [x.shape for x in wanted]:
            raise PlenaError(
                f"the outputs have shapes {[x.shape for x in found]}, those of the reference "
                f"{[x.shape for x in wanted]}",
                "check",
            )
        each = [_compare(x, y, thresholds) for x, y in zip(found, wanted, strict=True) if x.size]
        if not each:
            raise PlenaError("the outputs are empty: nothing to compare", "check")
        total = sum(x.size for x in found)
        share = sum(
            c.allclose_share * x.size for c, x in zip(each, (x for x in found if x.size), strict=True)
        )
        return Comparison(
            relative_rms=max(c.relative_rms for c in each),
            cosine=min(c.cosine for c in each),
            allclose_share=share / total,
            max_error=max(c.max_error for c in each),
            top1=min(c.top1 for c in each),
            finite=all(c.finite for c in each),
            worst_row=max(c.worst_row for c in each),
        )


def array_of(value: Any) -> Float64:
    """A numpy float64 array of an array or a tensor of any type."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, np.float64)


def columns_of(x: Float64) -> int:
    """Elements of a row along the last axis; a vector is one row."""
    return x.shape[-1] if x.ndim > 1 else x.size


def rms_of(x: Float64) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(x))))


def row_rms(x: Float64) -> Float64:
    """RMS of every row along the last axis; a vector is one row."""
    return np.sqrt(np.mean(np.square(x.reshape(-1, columns_of(x))), axis=1))


def over(found: float, allowed: float) -> float:
    """How many times a bound an error is; infinity for any error where none is allowed."""
    if not allowed:
        return 0.0 if not found else float("inf")
    return found / allowed


def bf16_step(values: Float64) -> Float64:
    """The distance of neighbouring bf16 numbers at these sizes."""
    _, exponent = np.frexp(values)
    return np.where(values > 0, np.ldexp(1.0, exponent - 8), 0.0)


def without_traces(found: Float64, wanted: Float64) -> Float64:
    """What was found, with 0 where 0 is wanted and only a trace is left: excluded keys weigh 2^-100, not nothing."""
    return np.where((wanted == 0) & (np.abs(found) < TRACE), wanted, found)


def _compare(found: Float64, wanted: Float64, thresholds: Thresholds) -> Comparison:
    found = without_traces(found, wanted)
    with np.errstate(invalid="ignore"):
        difference = found - wanted
    both = np.isfinite(found) & np.isfinite(wanted)
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    finite = bool((both | same).all())
    kept = both & np.isfinite(difference)
    error = np.where(kept, difference, 0.0)
    norm, rms = rms_of(np.where(kept, wanted, 0.0)), rms_of(error)
    scale = np.maximum(row_rms(np.where(kept, wanted, 0.0)), norm)
    rows = float((row_rms(error) / np.where(scale > 0, scale, 1.0)).max())
    a, b = np.where(kept, found, 0.0).ravel(), np.where(kept, wanted, 0.0).ravel()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    with np.errstate(invalid="ignore"):
        close = np.abs(difference) <= thresholds.atol + thresholds.rtol * np.abs(wanted)
    ratio = rms / norm if norm else (0.0 if rms == 0 else float("inf"))
    rows = rows if norm or rms == 0 else float("inf")
    return Comparison(
        relative_rms=ratio if finite else float("inf"),
        cosine=float(a @ b) / lengths if lengths else float(rms == 0),
        allclose_share=float(np.mean(close | same)),
        max_error=float(np.abs(error).max()) if finite else float("inf"),
        top1=float(np.mean(found.argmax(-1) == wanted.argmax(-1))) if found.ndim else 1.0,
        finite=finite,
        worst_row=rows / thresholds.for_rows(1.0, columns_of(found)) if finite else float("inf"),
    )
