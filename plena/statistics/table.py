"""Statistics as text tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from plena.statistics.counts import Count, ProgramCount
from plena.timing.registry import DEFAULT_TIMING

LOOPS_SHOWN = 12
"""Loops with the most cycles that the table lists."""


def render_text(statistics: ProgramCount, width: int = 140) -> str:
    """The tables of `statistics_tables` as plain text."""
    return plain_text(statistics_tables(statistics), width)


def plain_text(tables: Iterable[Table], width: int) -> str:
    """Tables one below the other, lines without blanks at their ends."""
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as capture:
        for table in tables:
            console.print(table)
    return "".join(line.rstrip() + "\n" for line in capture.get().splitlines())


def statistics_tables(statistics: ProgramCount) -> Iterator[Table]:
    """Tables of the totals, the opcodes, the hottest loops, and modules and steps where they are known."""
    yield _totals(statistics)
    yield _opcodes(statistics)
    if statistics.loops:
        yield _loops(statistics)
    for title, groups in (("module", statistics.modules), ("step", statistics.steps)):
        if any(groups):
            yield _groups(title, groups, list(statistics.cycles))


def _table(title: str, *names: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for position, name in enumerate(names):
        table.add_column(name, justify="left" if position == 0 else "right", overflow="fold")
    return table


def _totals(statistics: ProgramCount) -> Table:
    table = _table("program", "", "count")
    table.add_row("static instructions", f"{statistics.static:,}")
    table.add_row("dynamic instructions", f"{statistics.dynamic:,}")
    for profile, cycles in statistics.cycles.items():
        table.add_row(f"cycles, {profile}", f"{cycles:,}")
        table.add_row("  in matrix products", f"{statistics.matrix_share[profile]:.1%}")
        if profile in statistics.utilization:
            table.add_row("  utilization", f"{statistics.utilization[profile]:.3f}")
        if profile in statistics.unsupported:
            share = statistics.unsupported[profile]
            table.add_row("  in instructions its machine does not execute right", f"{share:.1%}")
    for profile, why in statistics.unavailable.items():
        table.add_row(f"cycles, {profile}: {why}", "none")
    table.add_row("DMA cycles, apart", f"{statistics.dma_cycles:,}")
    for name, moved in statistics.hbm_bytes.items():
        table.add_row(f"bytes of HBM, {name.replace('_', ' and ')}", f"{moved:,}")
    table.add_row("C_LOOP_START lines", f"{statistics.loop_starts:,}")
    return table


def _opcodes(statistics: ProgramCount) -> Table:
    table = _table("opcodes", "mnemonic", "static", "dynamic")
    for mnemonic, (static, dynamic) in sorted(statistics.opcodes.items(), key=lambda entry: -entry[1][1]):
        table.add_row(mnemonic, f"{static:,}", f"{dynamic:,}")
    return table


def _loops(statistics: ProgramCount) -> Table:
    profiles = list(statistics.cycles)
    ranking = DEFAULT_TIMING if DEFAULT_TIMING in profiles else profiles[0]
    hottest = sorted(statistics.loops, key=lambda loop: -loop.cycles[ranking])[:LOOPS_SHOWN]
    more = len(statistics.loops) - len(hottest)
    title = f"loops (the {len(hottest)} with most cycles, {more} more)" if more else "loops"
    table = _table(title, "lines", "trips", "static", "dynamic", *profiles, "DMA")
    for loop in sorted(hottest, key=lambda loop: loop.first_line):
        lines = f"{'  ' * loop.depth}{loop.first_line}-{loop.last_line}"
        table.add_row(lines, f"{loop.trip_count:,}", *_cells(loop, profiles))
    return table


def _groups(title: str, groups: Mapping[str, Count], profiles: Sequence[str]) -> Table:
    used = [p for p in profiles if any(p in count.utilization for count in groups.values())]
    names = [f"utilization, {profile}" for profile in used]
    table = _table(f"by {title}", title, "static", "dynamic", *profiles, "DMA", *names)
    for name, count in groups.items():
        shares = [f"{count.utilization[p]:.3f}" if p in count.utilization else "" for p in used]
        table.add_row(name or "(other)", *_cells(count, profiles), *shares)
    return table


def _cells(count: Count, profiles: Sequence[str]) -> list[str]:
    numbers = (count.static, count.dynamic, *(count.cycles[p] for p in profiles), count.dma_cycles)
    return [f"{number:,}" for number in numbers]
