"""The front of two figures as a stair in a picture, of points that keep the constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from plena.exploring.objectives import Objectives
from plena.exploring.points import Result
from plena.loops.selection.pareto import undominated

if TYPE_CHECKING:
    from plotly.graph_objects import Scatter

STRONG = "#0b76c8"


def kept_places(objectives: Objectives, results: Mapping[int, Result]) -> list[int]:
    """The places of those among the results that keep the constraints."""
    return [place for place, result in enumerate(results.values()) if result.meets(objectives)]


def stair(xs: Sequence[float], ys: Sequence[float], kept: Sequence[int]) -> Scatter:
    """A line through what no other one of the `kept` places beats in both figures."""
    from plotly.graph_objects import Scatter

    front = [kept[i] for i in undominated(([xs[i] for i in kept], [ys[i] for i in kept])).tolist()]
    return Scatter(
        x=[xs[i] for i in front],
        y=[ys[i] for i in front],
        mode="lines",
        line={"shape": "hv", "color": STRONG, "width": 1.5},
        hoverinfo="skip",
        name="front of these two",
    )
