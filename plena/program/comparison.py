"""What `check` says: figures against every reference, thresholds, verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from plena.errors import PlenaError
from plena.program.added_error import Added
from plena.program.growth import Growth
from plena.program.magnified import Magnified
from plena.program.near_ties import NearTie
from plena.program.thresholds import Comparison, Thresholds

MOST_NAMED = 8
"""Near ties that a report names."""


@dataclass(frozen=True)
class CheckReport:
    """Outcome of ``Program.check``; a reference that was not available is None.

    ``formats`` compares the quantised reference with plain float32: what the number formats alone cost, which no
    program for this machine can avoid. It is not judged. ``added`` is what the program adds to it, which is.
    ``magnified`` is what the module makes of roundings to bf16, known if the program is farther off than is usual: if
    they take it as far, it is right; ``growth`` is where they grow most. ``classes`` compares references of which one
    class of tensors alone is rounded with plain float32, if it was asked for. ``choices`` are near ties at which the
    quantised reference follows the program in the choice of experts. ``changed`` names tensors of the module that are
    not what the program was made of any more.
    """

    machine: Comparison | None
    quantized: Comparison | None
    float32: Comparison | None
    thresholds: Thresholds
    formats: Comparison | None = None
    added: Added | None = None
    changed: tuple[str, ...] = ()
    magnified: Magnified | None = None
    classes: Mapping[str, Comparison] = field(default_factory=dict[str, Comparison])
    choices: tuple[NearTie, ...] = ()
    growth: Growth | None = None

    @staticmethod
    def of(
        results: Sequence[Any],
        machine: Sequence[Any] | None,
        quantized: Sequence[Any] | None,
        float32: Sequence[Any] | None,
        thresholds: Thresholds,
        changed: tuple[str, ...] = (),
        rounded: Iterable[Callable[[], Sequence[Sequence[Any]]]] = (),
    ) -> CheckReport:
        """Compare results with the references that there are.

        Args:
            rounded: runs of the quantised reference with the results of operators rounded to bf16: some, and more of
                them where those do not explain the results.

        Raises:
            PlenaError: different numbers of outputs or different shapes.
        """
        formats = added = None
        if quantized is not None and float32 is not None:
            formats = Comparison.of(quantized, float32, thresholds)
            added = Added.of(results, quantized, float32, thresholds)
        report = CheckReport(
            *(
                None if reference is None else Comparison.of(results, reference, thresholds)
                for reference in (machine, quantized, float32)
            ),
            thresholds=thresholds,
            formats=formats,
            added=added,
            changed=changed,
        )
        if quantized is None or not report.is_unusual:
            return report
        runs: list[Sequence[Any]] = []
        for more in rounded:
            runs += more()
            magnified = Magnified.of(results, quantized, float32, runs, thresholds)
            report = replace(report, magnified=magnified)
            if magnified.explains:
                break
        return report

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
        others = ("thresholds", "added", "changed")
        if not isinstance(document, dict) or set(document) - {
            "magnified",
            "growth",
            "classes",
            "choices",
        } != {
            *names,
            *others,
        }:
            raise PlenaError(f"`check` needs {', '.join([*others, *names])}", where)
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
            magnified=None
            if document.get("magnified") is None
            else Magnified.from_json(document["magnified"], where),
            growth=None if document.get("growth") is None else Growth.from_json(document["growth"], where),
            choices=tuple(NearTie.from_json(tie, where) for tie in document.get("choices", ())),
            classes={n: Comparison.from_json(c, where) for n, c in document.get("classes", {}).items()},
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
        if self.machine is not None:
            yield from _exceeded("machine", self.machine, bounds.machine)
        if self.quantized is not None and not self.quantized.finite:
            yield from _exceeded("quantized", self.quantized, bounds.quantized)
        elif self.magnified is None or not self.magnified.explains:
            yield from self._unusual()
        if self.machine is None and self.quantized is None:
            yield "nothing was judged: there is neither a machine reference nor a quantized one"
        elif self.machine is None and self._void:
            yield "nothing was judged: roundings may change everything, and there is no machine reference"
        if self.float32 is not None and not self.float32.finite and not self._made_by_formats:
            yield "float32: the result has NaN or infinity where the reference has none, or none where it has"

    @property
    def _made_by_formats(self) -> bool:
        """Whether NaN and infinity are where the number formats alone make them, though not where float32 has them."""
        differs = self.formats is not None and not self.formats.finite
        return differs and self.quantized is not None and self.quantized.finite

    @property
    def is_unusual(self) -> bool:
        """Whether the program is farther off than is usual."""
        return any(self._unusual())

    @property
    def why_farther(self) -> str | None:
        """What takes a program farther off than is usual; that the usual bound does not apply, if it excuses it."""
        if self.magnified is None:
            return None
        bound, excused = self.thresholds.quantized, self.magnified.explains
        usual = f"the bound of {bound:.2%} does not apply: " if excused and bound is not None else ""
        return usual + str(self.magnified) + ("" if self.growth is None else f"; {self.growth}")

    @property
    def _void(self) -> bool:
        """Whether the quantised reference cannot judge."""
        return self.magnified is not None and self.magnified.void

    def _unusual(self) -> Iterator[str]:
        """One sentence for every threshold that a program of a module that magnifies roundings may miss."""
        if self.quantized is not None:
            yield from _exceeded("quantized", self.quantized, self.thresholds.quantized)
        if self.float32 is not None and not self.float32.finite and not self._made_by_formats:
            return
        if self.added is not None and self.thresholds.share is not None:
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
        compared: dict[str, Comparison | None] = {name: getattr(self, name) for name in limits}
        for name, comparison in self.classes.items():
            label = f"  {name.replace('_', ' and ')}"
            compared[label], limits[label] = comparison, "(of these alone)"
        for name, limit in limits.items():
            comparison = compared[name]
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
        if self.choices:
            lines.append("at near ties the quantized reference chooses the experts that the program chooses:")
            lines.extend(f"  {tie}" for tie in self.choices[:MOST_NAMED])
        if len(self.choices) > MOST_NAMED:
            lines.append(f"  and {len(self.choices) - MOST_NAMED} more")
        if self.added is not None:
            lines.append(str(self.added))
        if self.why_farther is not None:
            lines.append(self.why_farther)
        if self._made_by_formats:
            lines.append(
                "the number formats alone make NaN or infinity of numbers, as where 0 is what remains of a "
                "divisor: such elements are not compared with float32"
            )
        if self._void:
            lines.append("so only the machine reference can judge: roundings may change everything")
        lines.append("passed" if self.passed else "FAILED: " + "; ".join(self.failures))
        return "\n".join(lines)


def _exceeded(name: str, comparison: Comparison, bound: float | None) -> Iterator[str]:
    """A sentence if a result does not meet the bound of a reference."""
    if not comparison.finite:
        yield f"{name}: the result has NaN or infinity where the reference has none, or none where it has"
    elif bound is not None and not comparison.relative_rms <= bound:
        yield f"{name}: relative RMS error {comparison.relative_rms:.4%} is above {bound:.4%}"
    elif bound is not None and not comparison.worst_row <= bound:
        yield (
            f"{name}: one row is {comparison.worst_row / bound:.2f} times as wrong as a row may be with "
            f"{bound:.4%} for the whole"
        )
