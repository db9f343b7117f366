"""A study as one self-contained HTML page."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plena.exploring.found import Found
from plena.exploring.pictures import sections
from plena.exploring.points import Result
from plena.exploring.storage import told
from plena.report.page import rendered

MOST_ROWS = 500
"""Points in the table; each brings a settings file of 3 KB."""


@dataclass(frozen=True)
class Cell:
    """A value in the table: how it is shown, what sorts."""

    text: str
    value: str
    kind: str


@dataclass(frozen=True)
class Bound:
    """A constraint, how many points with figures keep it, the least or largest that there is of the figure."""

    text: str
    keep: int
    best: str


@dataclass(frozen=True)
class Row:
    """A point in the table; `settings` is its settings file in base 64, `link` leads to the report of its program."""

    number: int
    cells: tuple[Cell, ...]
    seconds: float
    settings: str
    best: bool
    link: str | None


def page_of(study: Found, traffic: float, links: Mapping[int, str]) -> str:
    """The page as HTML text; it loads nothing.

    Args:
        traffic: bytes that the chosen formats may move, over those of the shipped ones.
        links: to the reports of programs, by the number of the point.
    """
    from plotly.offline import get_plotlyjs

    results = study.results()
    good = {n: r for n, r in results.items() if r.problem is None}
    best = frozenset(int(n) for n in study.front.index)
    names = list(study.objectives.names)
    keep = {n: r.meets(study.objectives) for n, r in good.items()}
    ranked = sorted(good, key=lambda n: (n not in best, not keep[n], good[n].values(study.objectives)))
    ranked = ranked[:MOST_ROWS]
    columns = list(dict.fromkeys([*study.space.values, *study.objectives.figures]))
    rows = [_row(study, n, good[n], columns, n in best, links.get(n)) for n in ranked]
    pictures = list(sections(study, good, best, traffic))
    skipped, pruned = sum(r.skipped for r in results.values()), sum(r.pruned for r in results.values())
    return rendered(
        "study.html",
        study=study,
        storage=told(study.storage),
        objectives=names,
        options=study.options,
        counts={
            "evaluated": len(good),
            "size": len(study.space),
            "front": len(best),
            "skipped": skipped,
            "failed": len(results) - len(good) - skipped - pruned,
            "pruned": pruned,
            "seconds": sum(r.seconds for r in results.values()),
        },
        pictures=pictures,
        plotly=get_plotlyjs() if pictures else "",
        columns=columns,
        kinds={name: rows[0].cells[place].kind if rows else "text" for place, name in enumerate(columns)},
        rows=rows,
        shown=len(rows),
        linked=bool(links),
        problems=Counter(r.problem for r in results.values() if r.problem is not None).most_common(),
        bounds=_bounds(study, good),
        space=[(key, _values(values)) for key, values in study.space.values.items()],
    )


def _bounds(study: Found, results: Mapping[int, Result]) -> list[Bound]:
    found: list[Bound] = []
    for constraint in study.objectives.constraints:
        keep, best = constraint.standing([float(str(r.figures[constraint.figure])) for r in results.values()])
        found.append(Bound(str(constraint), keep, _cell(best).text))
    return found


def _row(study: Found, number: int, result: Result, columns: list[str], best: bool, link: str | None) -> Row:
    found: Mapping[str, Any] = {**result.figures, **result.point}
    settings = b64encode(study.settings_of(number, result.point).encode()).decode()
    return Row(number, tuple(_cell(found[name]) for name in columns), result.seconds, settings, best, link)


def _cell(value: Any) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return Cell(str(value), str(value), "text")
    if value is None:
        return Cell("none", "", "number")
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return Cell(text, repr(value), "number")


def _values(values: Any) -> str:
    if isinstance(values, range):
        return f"{values[0]} to {values[-1]} by {values.step}"
    return ", ".join("none" if value is None else str(value) for value in values)
