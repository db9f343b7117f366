"""The plot of a size curve, as SVG or PNG; needs matplotlib, the extra `plots`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from plena.errors import PlenaError
from plena.optimizing.size_curve import CurvePoint, SizeCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis
    from matplotlib.figure import Figure

SIZE = (7.5, 4.5)
"""Inches."""

MARKS = {"rolled": "s", "chosen": "*", "expanded": "D"}
"""Names of a curve's points -> markers."""


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


def _logarithmic(scale: XAxis) -> None:
    """A logarithmic scale with plain numbers at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    scale.axes.set_xscale("log")
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
