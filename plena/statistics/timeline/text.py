"""A timeline as text: a row of blocks for each engine and cause of waits, modules under it, a table of modules."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from plena.statistics.table import plain_text
from plena.statistics.timeline.data import I64, TimelineData
from plena.timing.recorder import ENGINES

BESIDE = 62
"""Columns that names and figures take beside the rows of blocks."""

BLOCKS = " ▁▂▃▄▅▆▇█"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def render(timeline: TimelineData) -> str:
    """The tables of `timeline_tables` as plain text."""
    return plain_text(timeline_tables(timeline), BESIDE + max(len(timeline.lengths), 60))


def timeline_tables(timeline: TimelineData) -> Iterator[Table]:
    """Engines and waits over time, then what modules keep busy and wait for."""
    total = max(timeline.cycles, 1)
    table = Table(title=timeline.headline, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for name in ("", "over time", "cycles", "share"):
        table.add_column(name, justify="right" if name in ("cycles", "share") else "left", no_wrap=True)
    for name, cells in timeline.busy.items():
        table.add_row(name, _blocks(cells, timeline), f"{cells.sum():,}", f"{cells.sum() / total:.1%}")
    for name, cells in timeline.waiting.items():
        table.add_row(
            f"waits: {name}", _blocks(cells, timeline), f"{cells.sum():,}", f"{cells.sum() / total:.1%}"
        )
    letters = _letters(timeline)
    if len(timeline.passed) > 1:
        table.add_row("module", Text("".join(letters[name] for name in timeline.leading)), "", "")
    yield table
    if len(timeline.passed) > 1:
        yield _modules(timeline, letters)


def _blocks(cells: I64, timeline: TimelineData) -> Text:
    return Text("".join(BLOCKS[min(ceil(share * 8), 8)] for share in timeline.shares(cells)))


def _letters(timeline: TimelineData) -> dict[str, str]:
    """A letter for each module, "." for those that find none."""
    return {name: LETTERS[n] if n < len(LETTERS) else "." for n, name in enumerate(timeline.passed)}


def _modules(timeline: TimelineData, letters: dict[str, str]) -> Table:
    table = Table(title="by module", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("")
    table.add_column("module")
    for name in ("cycles", *ENGINES):
        table.add_column(name, justify="right")
    table.add_column("waits for")
    for name, cells in timeline.passed.items():
        busy = (f"{timeline.busy_by_module[name][engine]:,}" for engine in ENGINES)
        waits = timeline.longest_waits(name)
        table.add_row(letters[name], name or "(other)", f"{cells.sum():,}", *busy, waits)
    return table
