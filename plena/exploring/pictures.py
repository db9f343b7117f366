"""Pictures of a study: fronts, parallel coordinates, importances. Plotly draws them in the page."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import TYPE_CHECKING, Any

from plena.exploring.format_picture import formats_picture, formats_vary
from plena.exploring.found import Found
from plena.exploring.points import Result
from plena.exploring.stairs import STRONG, kept_places, stair

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

QUIET, TEXT = "#9aa2ab", "#7a828a"
"""Colours that can be read on light and on dark ground."""

PAIRS = 6
"""Pairs of objectives that are drawn."""

FRONTS = """Every point; the line joins those that no other one beats in these two. Coloured: on the front of all
objectives."""
HISTORY = "Every point in the order in which it was tried; the line is the best so far."
COORDINATES = """A line is a point, its colour the first objective. Drag along an axis to keep what crosses it there;
drag names to order them."""
IMPORTANCE = """How much of the variation of an objective a key accounts for, by Optuna (PED-ANOVA): which keys tell
good points from others."""

MOST_HOVERED = 12
"""Values of a point that are shown where the pointer is."""


@dataclass(frozen=True)
class Section:
    """Figures as HTML under a title."""

    id: str
    title: str
    text: str
    figures: tuple[str, ...]


def sections(
    study: Found, results: Mapping[int, Result], best: frozenset[int], traffic: float = 1.0
) -> Iterator[Section]:
    """What can be drawn of points with figures.

    Args:
        best: the numbers of the front.
        traffic: bytes that the chosen formats may move, over those of the shipped ones.
    """
    names = study.objectives.names
    if not results:
        return
    if formats_vary(study, results):
        text, figure = formats_picture(study, results, traffic)
        yield Section("formats", "Number formats", text, (html_of(figure),))
    if len(names) > 1:
        pairs = [
            _pair(study, results, best, x, y) for x, y in list(combinations(range(len(names)), 2))[:PAIRS]
        ]
        yield Section("fronts", "Fronts", FRONTS, tuple(map(html_of, pairs)))
    else:
        yield Section("history", "History", HISTORY, (html_of(_history(study, results)),))
    if len(results) > 1:
        yield Section(
            "coordinates", "Parallel coordinates", COORDINATES, (html_of(_parallel(study, results)),)
        )
    shares = list(_importances(study))
    if shares:
        yield Section("importances", "Importance", IMPORTANCE, (html_of(_bars(shares)),))


def html_of(figure: Figure) -> str:
    """A figure as a part of a page that has plotly's script."""
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": TEXT, "size": 13},
        margin={"l": 70, "r": 30, "t": 50, "b": 50},
        hoverlabel={"align": "left"},
    )
    config = {"displaylogo": False, "responsive": True}
    return figure.to_html(full_html=False, include_plotlyjs=False, config=config)


def _pair(study: Found, results: Mapping[int, Result], best: frozenset[int], x: int, y: int) -> Figure:
    from plotly.graph_objects import Figure, Scatter

    names = study.objectives.names
    numbers = list(results)
    xs, ys = (_values(study, results, place) for place in (x, y))
    kept = kept_places(study.objectives, results)
    figure = Figure()
    figure.add_trace(stair(xs, ys, kept))
    others = set(kept) - {i for i, n in enumerate(numbers) if n in best}
    groups = [("other points", QUIET, "circle", sorted(others))]
    groups += [("on the front", STRONG, "circle", [i for i, n in enumerate(numbers) if n in best])]
    if len(kept) < len(numbers):
        breaking = sorted(set(range(len(numbers))) - set(kept))
        groups.insert(0, ("break a constraint", QUIET, "x-thin-open", breaking))
    for name, color, symbol, places in groups:
        figure.add_trace(
            Scatter(
                x=[xs[i] for i in places],
                y=[ys[i] for i in places],
                mode="markers",
                marker={"color": color, "size": 8 if color == STRONG else 6, "symbol": symbol},
                text=[_said(numbers[i], results[numbers[i]]) for i in places],
                hovertemplate="%{text}<br>%{x:,} / %{y:,}<extra></extra>",
                name=name,
            )
        )
    figure.update_layout(xaxis_title=names[x], yaxis_title=names[y], height=440, legend={"orientation": "h"})
    figure.update_xaxes(gridcolor="rgba(128,128,128,.25)", zeroline=False)
    figure.update_yaxes(gridcolor="rgba(128,128,128,.25)", zeroline=False)
    return figure


def _history(study: Found, results: Mapping[int, Result]) -> Figure:
    from plotly.graph_objects import Figure, Scatter

    values = _values(study, results, 0)
    kept = [v if r.meets(study.objectives) else None for v, r in zip(values, results.values(), strict=True)]
    least = list(accumulate(kept, _least))
    text = [_said(n, r) for n, r in results.items()]
    numbers = list(results)
    points = Scatter(
        x=numbers,
        y=values,
        mode="markers",
        marker={"color": QUIET},
        text=text,
        name="points",
        hovertemplate="%{text}<br>%{y:,}<extra></extra>",
    )
    line = Scatter(
        x=numbers,
        y=least,
        mode="lines",
        line={"color": STRONG, "shape": "hv"},
        name="best so far",
    )
    figure = Figure([points, line])
    figure.update_layout(
        xaxis_title="point", yaxis_title=study.objectives.names[0], height=440, legend={"orientation": "h"}
    )
    return figure


def _least(a: float | None, b: float | None) -> float | None:
    return min((v for v in (a, b) if v is not None), default=None)


def _parallel(study: Found, results: Mapping[int, Result]) -> Figure:
    from plotly.graph_objects import Figure, Parcoords

    dimensions = [_axis(key, [r.point[key] for r in results.values()]) for key in study.space.values]
    columns = [_values(study, results, place) for place in range(len(study.objectives.names))]
    for name, values in zip(study.objectives.names, columns, strict=True):
        dimensions.append({"label": name, "values": values})
    scale = {"color": columns[0], "colorscale": "Viridis", "showscale": False}
    figure = Figure(Parcoords(line=scale, dimensions=dimensions, labelangle=-12))
    figure.update_layout(height=480)
    return figure


def _values(study: Found, results: Mapping[int, Result], place: int) -> list[float]:
    """An objective of points with figures."""
    return [values[place] for r in results.values() if (values := r.values(study.objectives)) is not None]


def _axis(key: str, values: list[Any]) -> dict[str, Any]:
    """Numbers as they are, all else at places of its own."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return {"label": key, "values": values}
    texts = list(dict.fromkeys(values))
    return {
        "label": key,
        "values": [texts.index(v) for v in values],
        "tickvals": list(range(len(texts))),
        "ticktext": ["none" if v is None else str(v) for v in texts],
    }


def _importances(study: Found) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Of every objective the shares of the keys; none where its values do not vary or are too few."""
    from optuna.importance import get_param_importances

    for place, name in enumerate(study.objectives.names):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that small is good, which it is here
                found = get_param_importances(study.trials, target=lambda t, i=place: t.values[i])
        except (ValueError, RuntimeError, ZeroDivisionError):
            continue
        yield name, found


def _bars(shares: list[tuple[str, Mapping[str, float]]]) -> Figure:
    from plotly.graph_objects import Bar, Figure

    keys = list(dict.fromkeys(key for _, found in shares for key in found))[::-1]
    figure = Figure(
        [
            Bar(y=keys, x=[found.get(key, 0.0) for key in keys], orientation="h", name=name)
            for name, found in shares
        ]
    )
    figure.update_layout(barmode="group", xaxis_title="share", height=140 + 26 * len(keys) * len(shares))
    figure.update_yaxes(automargin=True)
    return figure


def _said(number: int, result: Result) -> str:
    values = [f"{key} {'none' if value is None else value}" for key, value in result.point.items()]
    more = ["..."] if len(values) > MOST_HOVERED else []
    return "<br>".join([f"point {number}", *values[:MOST_HOVERED], *more])
