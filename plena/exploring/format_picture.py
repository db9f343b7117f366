"""What number formats lose against what they move: every point, and the one that is chosen under a budget of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from plena.errors import PlenaError
from plena.exploring.found import Found
from plena.exploring.points import Result
from plena.exploring.stairs import kept_places, stair
from plena.machine.formats import format_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLORS = ("#9aa2ab", "#0b76c8", "#c8760b", "#2a9d5c", "#a04ec8", "#c84e5c")
"""Of the formats of weights."""

CHOSEN = "#c83a0b"

TEXT = """What the formats of a point lose on the example inputs against what they move between HBM and the SRAMs for a
row of the output, which is a token of a language model. The line joins points that no other one beats in both; colours
are the formats of weights."""


def formats_vary(study: Found, results: Mapping[int, Result]) -> bool:
    """Whether points have an error and different formats."""
    if any(r.figures.get("error") is None or not r.figures.get("bytes_per_row") for r in results.values()):
        return False
    return len({str(study.formats_of(r.point)) for r in results.values()}) > 1


def formats_picture(study: Found, results: Mapping[int, Result], traffic: float) -> tuple[str, Figure]:
    """Error against bytes, and what to say of it."""
    from plotly.graph_objects import Figure, Scatter

    numbers = list(results)
    xs, ys = ([float(str(results[n].figures[name])) for n in numbers] for name in ("bytes_per_row", "error"))
    figure = Figure()
    figure.add_trace(stair(xs, ys, kept_places(study.objectives, results)))
    weights = {n: _weights(study, results[n]) for n in numbers}
    for place, kind in enumerate(dict.fromkeys(weights.values())):
        own = [i for i, n in enumerate(numbers) if weights[n] == kind]
        figure.add_trace(
            Scatter(
                x=[xs[i] for i in own],
                y=[ys[i] for i in own],
                mode="markers",
                marker={"color": COLORS[place % len(COLORS)], "size": 7},
                text=[_said(study, numbers[i], results[numbers[i]]) for i in own],
                hovertemplate="%{text}<br>%{x:,.0f} bytes / %{y:.3g}<extra></extra>",
                name=f"weights {kind}",
            )
        )
    text = TEXT
    try:
        chosen = study.chosen(traffic)
    except PlenaError as error:
        text += f" None is chosen: {error.what}."
    else:
        place = numbers.index(chosen)
        said = f"{study.formats_of(results[chosen].point)}"
        text += (
            f" Chosen at {traffic:g} times the bytes of the shipped formats: point {chosen}, {said}, error "
            f"{ys[place]:.3g}."
        )
        figure.add_trace(
            Scatter(
                x=[xs[place]],
                y=[ys[place]],
                mode="markers",
                marker={"color": CHOSEN, "size": 15, "symbol": "star"},
                text=[_said(study, chosen, results[chosen])],
                hovertemplate="%{text}<br>%{x:,.0f} bytes / %{y:.3g}<extra></extra>",
                name="chosen",
            )
        )
    figure.update_layout(
        xaxis_title="bytes a row", yaxis_title="error", height=460, legend={"orientation": "h"}
    )
    figure.update_xaxes(gridcolor="rgba(128,128,128,.25)", zeroline=False)
    figure.update_yaxes(gridcolor="rgba(128,128,128,.25)", zeroline=False, type="log")
    return text, figure


def _weights(study: Found, result: Result) -> str:
    formats = study.formats_of(result.point)
    return "of two types" if formats is None else format_text(formats.weights)


def _said(study: Found, number: int, result: Result) -> str:
    formats = study.formats_of(result.point)
    classes = [] if formats is None else [f"{name} {format_text(f)}" for name, f in formats.items()]
    return "<br>".join([f"point {number}", *(name.replace("_", " ") for name in classes)])
