"""A timeline as text: a row of blocks for each engine and cause of waits, modules under it, a table of modules."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from plena.statistics.timeline.data import I64, TimelineData
from plena.timing.recorder import ENGINES

BESIDE = 62
"""Columns that names and figures take beside the rows of blocks."""

BLOCKS = " ▁▂▃▄▅▆▇█"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def render(timeline: TimelineData) -> str:
    """The tables of `timeline_tables` as plain text."""
    console = Console(width=BESIDE + max(len(timeline.lengths), 60), color_system=None, highlight=False)
    with console.capture() as capture:
        for table in timeline_tables(timeline):
            console.print(table)
    return "".join(line.rstrip() + "\n" for line in capture.get().splitlines())


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
        table.add_row("module", Text(_strip(timeline, letters)), "", "")
    yield table
    if len(timeline.passed) > 1:
        yield _modules(timeline, letters)


def _blocks(cells: I64, timeline: TimelineData) -> Text:
    shares = np.minimum(cells / np.maximum(timeline.lengths, 1), 1)
    return Text("".join(BLOCKS[min(int(np.ceil(share * 8)), 8)] for share in shares.tolist()))


def _letters(timeline: TimelineData) -> dict[str, str]:
    """A letter for each module, "." for those that find none."""
    return {name: LETTERS[n] if n < len(LETTERS) else "." for n, name in enumerate(timeline.passed)}


def _strip(timeline: TimelineData, letters: dict[str, str]) -> str:
    """The module with most cycles in each stretch."""
    names = list(timeline.passed)
    most = np.argmax(np.stack([timeline.passed[name] for name in names]), axis=0)
    return "".join(letters[names[n]] for n in most.tolist())


def _modules(timeline: TimelineData, letters: dict[str, str]) -> Table:
    table = Table(title="by module", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("")
    table.add_column("module")
    for name in ("cycles", *ENGINES):
        table.add_column(name, justify="right")
    table.add_column("waits for")
    for name, cells in timeline.passed.items():
        busy = (f"{timeline.busy_by_module[name][engine]:,}" for engine in ENGINES)
        waits = sorted(timeline.waiting_by_module[name].items(), key=lambda entry: -entry[1])
        causes = ", ".join(f"{cause} {cycles:,}" for cause, cycles in waits[:3])
        table.add_row(letters[name], name or "(other)", f"{cells.sum():,}", *busy, causes)
    return table
