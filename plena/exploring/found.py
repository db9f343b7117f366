"""What a search found: the table of points, the ones that nothing beats, their machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from plena.errors import PlenaError, SettingsError
from plena.exploring.figures import untimed
from plena.exploring.objectives import Objectives
from plena.exploring.points import Result, result_of
from plena.exploring.settings_file import settings_text
from plena.exploring.space import Space, options_of, scaled, settings_of
from plena.exploring.worker import Source, Task, program_of
from plena.machine.formats import Formats
from plena.machine.target import Target

if TYPE_CHECKING:
    import pandas as pd
    from optuna.study import Study as OptunaStudy

    from plena.api.program import Program


TEXTS = ("area_note", "problem")
"""Columns of the table that are text, though they may be empty."""


@dataclass(frozen=True)
class Found:
    """A search and its points, finished or not.

    Attributes:
        model: its name.
        base: the machine that settings of a point change; programs were chosen for its latencies.
        options: of `plena.compile`, the same everywhere.
        storage: URL of the database that holds the points.
        trials: the study as Optuna has it.
        source: where the model comes from.
        cache: folder of what workers know already.
    """

    model: str
    space: Space
    objectives: Objectives
    base: Target
    options: dict[str, Any]
    storage: str
    trials: OptunaStudy = field(repr=False)
    source: Source = field(repr=False)
    cache: str = field(repr=False)

    def results(self) -> dict[int, Result]:
        """The points by their numbers, in the order in which they were tried."""
        found = {t.number: result_of(t) for t in self.trials.get_trials(deepcopy=False)}
        return {number: result for number, result in found.items() if result is not None}

    @property
    def table(self) -> pd.DataFrame:
        """A row for each point by its number: the space's keys, figures, seconds, and `problem` where there are none.

        `skipped` are machines that cannot be, `meets` says whether the constraints are kept, if there are any.
        """
        import pandas as pd

        results = self.results()
        rows = [
            {
                **r.point,
                **r.figures,
                "meets": _meets(r, self.objectives),
                "seconds": r.seconds,
                "problem": r.problem,
                "skipped": r.skipped,
            }
            for r in results.values()
        ]
        figures = [name for r in results.values() for name in r.figures]
        columns = dict.fromkeys(
            [
                *self.space.values,
                *self.objectives.figures,
                *figures,
                *(("meets",) if self.objectives.constraints else ()),
                "seconds",
                "problem",
                "skipped",
            ]
        )
        index = pd.Index(list(results), name="number")
        return pd.DataFrame(
            {name: pd.array(*_column(name, [row.get(name) for row in rows])) for name in columns}, index=index
        )

    @property
    def front(self) -> pd.DataFrame:
        """The rows of the table that no other one beats, by the first objective.

        One beats another that is nowhere worse and somewhere better: equal points are all there. Those that break a
        constraint are not.
        """
        names = list(self.objectives.names)
        good = [number for number, result in self.results().items() if result.meets(self.objectives)]
        found: pd.DataFrame = self.table.loc[good].sort_values(by=names, kind="stable")
        kept: list[int] = []
        values = found[names].to_numpy(dtype=float)
        best: list[Any] = []
        for place, row in enumerate(values):
            if not any((other <= row).all() and (other < row).any() for other in best):
                best.append(row)
                kept.append(place)
        return found.iloc[kept]

    def chosen(self, traffic: float = 1.0) -> int:
        """The point with the least error among those that move at most `traffic` times the shipped formats' bytes.

        Of equal ones the one that moves least, and none that breaks a constraint. Those bytes are the least that a
        point with the shipped formats moves.

        Raises:
            PlenaError: `traffic` is no number above 0, no point has the shipped formats, or an error, or none moves so
                little.
        """
        require_number(traffic)
        good = {n: r for n, r in self.results().items() if r.problem is None}
        shipped = Formats()
        bytes_of = {n: float(str(r.figures["bytes"])) for n, r in good.items()}
        base = [bytes_of[n] for n, r in good.items() if self.formats_of(r.point) == shipped]
        errors = {n: r.figures.get("error") for n, r in good.items()}
        if None in errors.values():
            raise no_errors()
        if not base:
            raise no_shipped_formats(f"the {len(good)} points with figures")
        kept = [n for n, r in good.items() if r.meets(self.objectives)]
        within = [n for n in kept if bytes_of[n] <= traffic * min(base) * (1 + 1e-9)]
        if not within:
            least = f"The least is {min(bytes_of[n] for n in kept) / min(base):.3f}." if kept else None
            raise PlenaError(
                f"no point {'that keeps the constraints ' if self.objectives.constraints else ''}moves {traffic:g} "
                "times the bytes of the shipped formats",
                "study",
                least or "No point keeps the constraints.",
            )
        return min(within, key=lambda n: (errors[n], bytes_of[n]))

    def formats_of(self, point: Mapping[str, Any]) -> Formats | None:
        """The number formats of a point; None where keys and values have two."""
        try:
            return self.machine_of(point).formats
        except SettingsError:
            return None

    def target(self, number: int) -> Target:
        """The machine of a point.

        Raises:
            PlenaError: there is no such point, or there can be no such machine.
        """
        return self.machine_of(self._point(number))

    def program(self, number: int) -> Program:
        """The program whose figures a point has, on the point's machine: for a report, a check, a folder.

        Raises:
            PlenaError: there is no such point, or it has no program.
        """
        point = self._point(number)
        target = self.machine_of(point)
        task = self.task_of(point, (target,))
        task.program_target.validate()
        return replace(program_of(self.source, task), target=target)

    def settings(self, number: int) -> str:
        """A settings file of a point's machine (`Target.from_toml`), with its options as a comment.

        Raises:
            PlenaError: as of `target`.
        """
        return self.settings_of(number, self._point(number))

    def settings_of(self, number: int, point: Mapping[str, Any]) -> str:
        """The same of a point that is known."""
        return settings_text(
            self.machine_of(point), f"point {number} of {self.model}", self._options_of(point)
        )

    def machine_of(self, point: Mapping[str, Any]) -> Target:
        """The machine that the settings of a point make; it is not validated."""
        return scaled(self.base, settings_of(point))

    def task_of(
        self, point: Mapping[str, Any], targets: tuple[Target, ...], samples: int | None = None
    ) -> Task:
        """What a worker does for machines that differ in timing alone, under the options of a point of one of them.

        Args:
            samples: that errors are of, the first ones; by default all.
        """
        options = self._options_of(point)
        return Task(untimed(targets[0], self.base), options, targets, self.objectives, self.cache, samples)

    def _options_of(self, point: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.options, **options_of(point)}

    def _point(self, number: int) -> dict[str, Any]:
        results = self.results()
        if number not in results:
            raise PlenaError(f"there is no point {number}", "study", "See the index of `table`.")
        return results[number].point

    def __str__(self) -> str:
        results = self.results().values()
        skipped, pruned = sum(r.skipped for r in results), sum(r.pruned for r in results)
        failed = sum(r.problem is not None for r in results) - skipped - pruned
        breaking = sum(r.problem is None and not r.meets(self.objectives) for r in results)
        more = f", {breaking} break a constraint" if self.objectives.constraints else ""
        more += f", {pruned} pruned" if pruned else ""
        return (
            f"{len(results)} points of {len(self.space)}: {len(self.front)} on the front, {failed} without a program, "
            f"{skipped} skipped{more}"
        )


def require_number(traffic: Any) -> None:
    """Raises PlenaError for a budget of bytes that is none."""
    if isinstance(traffic, bool) or not isinstance(traffic, int | float) or not traffic > 0:
        raise PlenaError(f"traffic must be a number above 0, not {traffic!r}", "study", "For example 1.1.")


def no_errors() -> PlenaError:
    """Of a choice among points whose error is not measured."""
    return PlenaError(
        "formats are chosen among points with an error, which is not measured",
        "study",
        'Make "error" an objective.',
    )


def no_shipped_formats(points: str) -> PlenaError:
    """Of a choice among points of which none has the formats that bytes are compared with."""
    return PlenaError(
        f"formats are chosen by their bytes over those of the shipped ones, which none of {points} has",
        "study",
        'Put "shipped" among the FORMATS of the space, or try more points.',
    )


def _meets(result: Result, objectives: Objectives) -> bool | None:
    """Whether a point keeps the constraints, as far as it is known: of a pruned one some figures are not."""
    if result.problem is None:
        return result.meets(objectives)
    known = [c for c in objectives.broken(result.figures) if c.figure in result.figures]
    return False if known else None


def _column(name: str, values: list[Any]) -> tuple[list[Any], Any]:
    """Values of one kind, whole numbers whole beside None, with the type that pandas has for them."""
    kinds = {type(value) for value in values if value is not None}
    if name in TEXTS:
        return values, "string"
    if kinds == {int}:
        return values, "Int64"
    if kinds <= {int, float}:
        return values, "Float64"
    if kinds <= {bool}:
        return values, "boolean"
    return [None if value is None else str(value) for value in values], "string"
