"""Plots of what exploring found, as SVG or PNG; needs matplotlib, the extra `plots`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from plena.api.exploration import Row, pareto
from plena.errors import PlenaError
from plena.optimizing.size_curve import CurvePoint, SizeCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

SIZE = (7.5, 4.5)
"""Inches."""

MARKS = {"rolled": "s", "chosen": "*", "expanded": "D"}
"""Names of a curve's points -> markers."""


LINE_MARKS = "osD^v"
"""Markers of lines: the ten colours come again with the next one."""


def require_matplotlib() -> None:
    """Fails early, before anything was computed.

    Raises:
        PlenaError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise PlenaError("plots need matplotlib, which is not installed", hint="pip install 'plena[plots]'")


def curve_figure(curve: SizeCurve, title: str = "") -> Figure:
    """Cycles against static instructions, with the chosen point and both ends; hollow points are estimates."""
    figure, axes = _figure(title, "static instructions", f"cycles ({curve.timing})")
    _logarithmic(axes.xaxis)
    predicted = sorted(curve.predicted, key=lambda p: p.static)
    if predicted:
        x, y = [p.static for p in predicted], [p.cycles for p in predicted]
        axes.step(x, y, where="post", color="0.7", linewidth=1, label="best of every size, predicted")
    if curve.measured:
        x, y = [p.static for p in curve.measured], [p.cycles for p in curve.measured]
        axes.plot(x, y, "o", color="C0", markersize=5, label="counted")
    for point in (curve.rolled, curve.expanded, curve.chosen):
        _mark(axes, point)
    axes.legend(frameon=False)
    return figure


def sweep_figure(rows: Sequence[Row], timing: str, title: str = "") -> Figure:
    """Cycles against static instructions, one line of budgets for every machine."""
    figure, axes = _figure(title, "static instructions", f"cycles ({timing})")
    _logarithmic(axes.xaxis, axes.yaxis)
    compiled = [r for r in rows if r.problem is None]
    for machine, group in groupby(compiled, key=lambda r: r.machine):
        points = sorted((r.static, r.cycles[timing]) for r in group)
        style = f"{LINE_MARKS[len(axes.lines) // 10 % len(LINE_MARKS)]}-"
        axes.plot([x for x, _ in points], [y for _, y in points], style, markersize=5, label=machine)
    if compiled:
        axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def pareto_figure(rows: Sequence[Row], timing: str, title: str = "") -> Figure:
    """Cycles against area; the front is drawn through the rows that no other one beats in both."""
    figure, axes = _figure(title, "area (mm², model B)", f"cycles ({timing})")
    _logarithmic(axes.xaxis, axes.yaxis)
    front = pareto(rows, timing)
    others = [r for r in rows if r.problem is None and r not in front]
    axes.plot([r.area for r in others], [r.cycles[timing] for r in others], "o", color="0.7", label="others")
    axes.step(
        [r.area for r in front],
        [r.cycles[timing] for r in front],
        "o-",
        where="post",
        color="C3",
        label="Pareto front",
    )
    for row in front:
        text = row.machine if row.budget is None else f"{row.machine}, budget {row.budget}"
        axes.annotate(
            text, (row.area, row.cycles[timing]), (4, 4), textcoords="offset points", fontsize="x-small"
        )
    axes.legend(frameon=False)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as .svg or .png, the same bytes every time; the file appears whole or not at all.

    Raises:
        PlenaError: it cannot be written.
    """
    import matplotlib

    part = path.with_name(f".{path.name}.part")
    kind = path.suffix.removeprefix(".")
    try:
        with matplotlib.rc_context({"svg.hashsalt": "plena", "svg.fonttype": "none"}):
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            figure.savefig(part, format=kind, dpi=150, metadata=metadata)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise PlenaError(f"cannot be written: {error.strerror}", str(path)) from None


def _figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    return figure, axes


def _logarithmic(*scales: XAxis | YAxis) -> None:
    """Logarithmic scales with plain numbers at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for scale in scales:
        scale.axes.set(**{f"{scale.axis_name}scale": "log"})
        scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        scale.set_minor_formatter(NullFormatter())


def _mark(axes: Axes, point: CurvePoint) -> None:
    label = f"{point.name}: {'' if point.exact else 'about '}{point.static:,} / {point.cycles:,}"
    axes.plot(
        [point.static],
        [point.cycles],
        MARKS[point.name],
        markersize=13 if point.name == "chosen" else 8,
        color="C3" if point.name == "chosen" else "C2",
        markerfacecolor=None if point.exact else "none",
        linestyle="none",
        label=label,
    )
