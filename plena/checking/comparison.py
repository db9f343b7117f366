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
        per_stack = 0.03 if layers <= 1 else min(0.03 * layers, 0.06)
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
        whole = max(each, key=lambda a: _ratio(a.found, a.allowed))
        row = max(each, key=lambda a: _ratio(a.row_found, a.row_allowed))
        return Added(
            whole.formats, whole.found, whole.allowed, row.row_formats, row.row_found, row.row_allowed
        )

    @staticmethod
    def from_json(document: object, where: str) -> Added:
        """Inverse of ``asdict``.

        Raises:
            PlenaError: not such a document.
        """
        names = {f.name for f in fields(Added)}
        if isinstance(document, dict) and set(document) == names:
            values: dict[str, Any] = document
            if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values.values()):
                return Added(**values)
        raise PlenaError(f"`added` needs numbers named {', '.join(sorted(names))}", where)

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


def _ratio(found: float, allowed: float) -> float:
    if not allowed:
        return 0.0 if not found else float("inf")
    return found / allowed


def _added(found: Float64, quantized: Float64, float32: Float64, thresholds: Thresholds) -> Added:
    if not found.size:
        return Added(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    with np.errstate(invalid="ignore"):
        kept = np.isfinite(found) & np.isfinite(quantized) & np.isfinite(float32)
        error = np.where(kept, found - quantized, 0.0)
        cost = np.where(kept, quantized - float32, 0.0)
    size, cost_rows = _row_rms(np.where(kept, float32, 0.0)), _row_rms(cost)
    whole, formats, own = (_rms(x) for x in (np.where(kept, float32, 0.0), cost, error))
    share = thresholds.share or 0.0
    scale = np.maximum(size, whole)
    allowed_rows = share * np.maximum(cost_rows, formats) + thresholds.ulps * _bf16_step(scale)
    allowed_rows = thresholds.for_rows(1.0, _columns(found)) * allowed_rows
    found_rows = _row_rms(error)
    worst = int(np.argmax(found_rows / np.maximum(allowed_rows, np.finfo(np.float64).tiny)))
    unit, row_unit = (value or 1.0 for value in (whole, float(scale[worst])))
    allowed = share * formats + thresholds.ulps * float(_bf16_step(np.array(whole)))
    return Added(
        formats / unit,
        own / unit,
        allowed / unit,
        float(np.maximum(cost_rows, formats)[worst]) / row_unit,
        float(found_rows[worst]) / row_unit,
        float(allowed_rows[worst]) / row_unit,
    )


def _bf16_step(values: Float64) -> Float64:
    """The distance of neighbouring bf16 numbers at these sizes."""
    _, exponent = np.frexp(values)
    return np.where(values > 0, np.ldexp(1.0, exponent - 8), 0.0)


def _columns(x: Float64) -> int:
    return x.shape[-1] if x.ndim > 1 else x.size


def _rms(x: Float64) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def _row_rms(x: Float64) -> Float64:
    """RMS of every row along the last axis; a vector is one row."""
    return np.sqrt(np.mean(np.square(x.reshape(-1, _columns(x))), axis=1))


@dataclass(frozen=True)
class CheckReport:
    """Outcome of ``Program.check``; a reference that was not available is None.

    ``formats`` compares the quantised reference with plain float32: what the number formats alone cost, which no
    program for this machine can avoid. It is not judged. ``added`` is what the program adds to it, which is.
    ``changed`` names tensors of the module that are not what the program was made of any more.
    """

    machine: Comparison | None
    quantized: Comparison | None
    float32: Comparison | None
    thresholds: Thresholds
    formats: Comparison | None = None
    added: Added | None = None
    changed: tuple[str, ...] = ()

    @staticmethod
    def of(
        results: Sequence[Any],
        machine: Sequence[Any] | None,
        quantized: Sequence[Any] | None,
        float32: Sequence[Any] | None,
        thresholds: Thresholds,
        changed: tuple[str, ...] = (),
    ) -> CheckReport:
        """Compare results with the references that there are.

        Raises:
            PlenaError: different numbers of outputs or different shapes.
        """
        formats = added = None
        if quantized is not None and float32 is not None:
            formats = Comparison.of(quantized, float32, thresholds)
            added = Added.of(results, quantized, float32, thresholds)
        return CheckReport(
            *(
                None if reference is None else Comparison.of(results, reference, thresholds)
                for reference in (machine, quantized, float32)
            ),
            thresholds=thresholds,
            formats=formats,
            added=added,
            changed=changed,
        )

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
        if not isinstance(document, dict) or set(document) != {*names, "thresholds", "added", "changed"}:
            raise PlenaError(f"`check` needs thresholds, added, changed, {', '.join(names)}", where)
        changed = document["changed"]
        if not isinstance(changed, list | tuple) or not all(isinstance(name, str) for name in changed):
            raise PlenaError("`changed` must be a list of names", where)
        found = {
            name: None if document[name] is None else Comparison.from_json(document[name], where)
            for name in names
        }
        return CheckReport(
            **found,
            thresholds=Thresholds.from_json(document["thresholds"], where),
            added=None if document["added"] is None else Added.from_json(document["added"], where),
            changed=tuple(changed),
        )

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
        if self.changed:
            names = ", ".join(self.changed[:3]) + (" and others" if len(self.changed) > 3 else "")
            yield f"{names} changed after the program was compiled: compile it again"
        for name, comparison, bound in (
            ("machine", self.machine, bounds.machine),
            ("quantized", self.quantized, bounds.quantized),
        ):
            if comparison is None:
                continue
            if not comparison.finite:
                yield f"{name}: the result has NaN or infinity where the reference has none, or none where it has"
            elif bound is not None and not comparison.relative_rms <= bound:
                yield f"{name}: relative RMS error {comparison.relative_rms:.4%} is above {bound:.4%}"
            elif bound is not None and not comparison.worst_row <= bound:
                yield (
                    f"{name}: one row is {comparison.worst_row / bound:.2f} times as wrong as a row may be with "
                    f"{bound:.4%} for the whole"
                )
        if self.machine is None and self.quantized is None:
            yield "nothing was judged: there is neither a machine reference nor a quantized one"
        if self.float32 is not None and not self.float32.finite:
            yield "float32: the result has NaN or infinity where the reference has none, or none where it has"
        elif self.added is not None and bounds.share is not None:
            yield from self.added.failures

    def __str__(self) -> str:
        rows = [("reference", "relative RMS", "cosine", "close", "largest error", "top-1", "bound")]
        bounds = self.thresholds
        limits = {
            "machine": "" if bounds.machine is None else f"RMS <= {bounds.machine:.2%}",
            "quantized": "" if bounds.quantized is None else f"RMS <= {bounds.quantized:.2%}",
            "float32": "(not judged by itself)",
            "formats": "(the quantized reference against float32: what the number formats alone cost)",
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
        if self.added is not None:
            lines.append(str(self.added))
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
    norm, rms = _rms(np.where(kept, wanted, 0.0)), _rms(error)
    scale = np.maximum(_row_rms(np.where(kept, wanted, 0.0)), norm)
    rows = float((_row_rms(error) / np.where(scale > 0, scale, 1.0)).max())
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
        worst_row=rows / thresholds.for_rows(1.0, _columns(found)) if finite else float("inf"),
    )
