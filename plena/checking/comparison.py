"""Comparing what the machine computed with references: figures, thresholds, verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from plena.errors import PlenaError

Float64: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Thresholds:
    """What a result must reach; None prints a figure without judging it.

    Args:
        machine: largest relative RMS error against the machine reference.
        quantized: largest relative RMS error against the quantised reference.
        allclose_share: smallest share of elements within ``atol + rtol * |float32|``.
        cosine: smallest cosine similarity with plain float32.
    """

    machine: float | None = 0.002
    quantized: float | None = 0.015
    allclose_share: float | None = 1.0
    cosine: float | None = 0.999
    atol: float = 0.2
    rtol: float = 0.2

    @staticmethod
    def for_attention(keys: int) -> Thresholds:
        """For attention over ``keys`` keys: the quantised bound grows above 1,024 of them."""
        return Thresholds(quantized=0.015 if keys <= 1024 else 0.025)

    @staticmethod
    def for_layers(layers: int) -> Thresholds:
        """For a model of ``layers`` transformer layers: errors add up, plain float32 is only reported."""
        per_stack = 0.03 if layers <= 1 else min(0.03 * layers, 0.06)
        return Thresholds(
            machine=0.002 * max(1, layers), quantized=per_stack, allclose_share=None, cosine=None
        )

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
        )


@dataclass(frozen=True)
class CheckReport:
    """Outcome of ``Program.check``; a reference that was not available is None.

    ``formats`` compares the quantised reference with plain float32: what the number formats alone cost, which no
    program for this machine can avoid. It is not judged.
    """

    machine: Comparison | None
    quantized: Comparison | None
    float32: Comparison | None
    thresholds: Thresholds
    formats: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @staticmethod
    def from_json(document: object, where: str) -> CheckReport:
        """Inverse of ``to_json``.

        Raises:
            PlenaError: not such a document.
        """
        names = ("machine", "quantized", "float32", "formats")
        if not isinstance(document, dict) or set(document) != {*names, "thresholds"}:
            raise PlenaError(f"`check` needs thresholds, {', '.join(names)}", where)
        found = {
            name: None if document[name] is None else Comparison.from_json(document[name], where)
            for name in names
        }
        return CheckReport(**found, thresholds=Thresholds.from_json(document["thresholds"], where))

    @property
    def failures(self) -> list[str]:
        """One sentence for every threshold that is not met."""
        return list(self._failures())

    @property
    def passed(self) -> bool:
        """Whether every threshold of an available reference is met."""
        return not self.failures

    def _failures(self) -> Iterator[str]:
        bounds = self.thresholds
        for name, comparison, bound in (
            ("machine", self.machine, bounds.machine),
            ("quantized", self.quantized, bounds.quantized),
        ):
            if comparison is None:
                continue
            if not comparison.finite:
                yield f"{name}: the result has NaN or infinity where the reference has none"
            if bound is not None and not comparison.relative_rms <= bound:
                yield f"{name}: relative RMS error {comparison.relative_rms:.4%} is above {bound:.4%}"
        if self.float32 is None:
            return
        if not self.float32.finite:
            yield "float32: the result has NaN or infinity where the reference has none"
        share, cosine = bounds.allclose_share, bounds.cosine
        if share is not None and not self.float32.allclose_share >= share:
            yield f"float32: {self.float32.allclose_share:.4%} of the elements are close, not {share:.4%}"
        if cosine is not None and not self.float32.cosine >= cosine:
            yield f"float32: cosine similarity {self.float32.cosine:.6f} is below {cosine}"

    def __str__(self) -> str:
        rows = [("reference", "relative RMS", "cosine", "close", "largest error", "top-1", "bound")]
        bounds = self.thresholds
        limits = {
            "machine": "" if bounds.machine is None else f"RMS <= {bounds.machine:.2%}",
            "quantized": "" if bounds.quantized is None else f"RMS <= {bounds.quantized:.2%}",
            "float32": ", ".join(
                text
                for text, bound in (
                    (f"close >= {bounds.allclose_share or 0:.0%}", bounds.allclose_share),
                    (f"cosine >= {bounds.cosine}", bounds.cosine),
                )
                if bound is not None
            ),
            "formats": "(the quantized reference against float32, not judged)",
        }
        for name, limit in limits.items():
            comparison: Comparison | None = getattr(self, name)
            if comparison is None and name == "formats":
                continue
            if comparison is None:
                rows.append((name, "not available", "", "", "", "", limit))
                continue
            rows.append(
                (
                    name,
                    f"{comparison.relative_rms:.4%}",
                    f"{comparison.cosine:.6f}",
                    f"{comparison.allclose_share:.2%}",
                    f"{comparison.max_error:.3g}",
                    f"{comparison.top1:.2%}",
                    limit,
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        lines.append("passed" if self.passed else "FAILED: " + "; ".join(self.failures))
        return "\n".join(lines)


def array_of(value: Any) -> Float64:
    """A numpy float64 array of an array or a tensor of any type."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, np.float64)


def _compare(found: Float64, wanted: Float64, thresholds: Thresholds) -> Comparison:
    with np.errstate(invalid="ignore"):
        difference = found - wanted
    both = np.isfinite(found) & np.isfinite(wanted)
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    finite = bool((both | same).all())
    kept = both & np.isfinite(difference)
    error = np.where(kept, difference, 0.0)
    norm = float(np.sqrt(np.mean(np.square(np.where(kept, wanted, 0.0)))))
    rms = float(np.sqrt(np.mean(np.square(error))))
    a, b = np.where(kept, found, 0.0).ravel(), np.where(kept, wanted, 0.0).ravel()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    with np.errstate(invalid="ignore"):
        close = np.abs(difference) <= thresholds.atol + thresholds.rtol * np.abs(wanted)
    ratio = rms / norm if norm else (0.0 if rms == 0 else float("inf"))
    return Comparison(
        relative_rms=ratio if finite else float("inf"),
        cosine=float(a @ b) / lengths if lengths else float(rms == 0),
        allclose_share=float(np.mean(close | same)),
        max_error=float(np.abs(error).max()) if finite else float("inf"),
        top1=float(np.mean(found.argmax(-1) == wanted.argmax(-1))) if found.ndim else 1.0,
        finite=finite,
    )
