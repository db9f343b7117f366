"""Memory maps as pictures: every buffer a bar from its first to its last address, in the order of the program.

A buffer stands below the earlier ones whose addresses it takes over, so that reading down is going forward in time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from plena.errors import PlenaError
from plena.host.ports import Region
from plena.machine.target import Target
from plena.report.contents import Contents, Missing
from plena.verification.touched import Touched

WIDTH = 1000
TALLEST = 420
"""Height of the bars of a picture at most."""

LANE = 20
LABEL_HEIGHT = 13
"""Least height of a lane with labels."""

CHARACTER = 6.6
"""Width of a character of a label."""

MOST_BARS = 1500
MOST_TOUCHED = 2000

MEMORIES: tuple[tuple[str, str, str], ...] = (
    ("matrix", "Matrix SRAM", "elements"),
    ("vector", "Vector SRAM", "elements"),
    ("fp", "FP SRAM", "words"),
    ("int", "INT SRAM", "words"),
    ("hbm", "HBM", "bytes"),
)
"""Name in a memory map, title, unit."""

LONGEST_LIFTED = 200_000
"""Static instructions of the longest program whose accesses are worked out."""


@dataclass(frozen=True)
class Bar:
    """A buffer: place and size in the picture, and what is said about it."""

    x: float
    y: float
    width: float
    height: float
    label: str
    role: str
    text: str


@dataclass(frozen=True)
class Tick:
    """A mark on the axis of addresses."""

    x: float
    label: str
    anchor: str


@dataclass(frozen=True)
class MemoryPicture:
    """The map of one memory, zoomed to the part that is used.

    `touched` are the parts that the code reads or writes, in a lane of their own. `note` says what the picture leaves
    out or why it is empty.
    """

    memory: str
    title: str
    unit: str
    capacity: int
    end: int
    used: int
    bars: tuple[Bar, ...]
    touched: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    height: float
    note: str = ""

    @property
    def share(self) -> float:
        """Of the memory, up to the last address used."""
        return self.end / self.capacity if self.capacity else 0.0


def memory_pictures(contents: Contents) -> list[MemoryPicture]:
    """One picture for each of the five memories; what is not known goes to ``contents.missing``."""
    regions = [*contents.memory_map, *_scales(contents)]
    touched = _touched(contents)
    return [
        _picture(
            name, title, unit, _capacity(name, contents), [r for r in regions if r.memory == name], touched
        )
        for name, title, unit in MEMORIES
    ]


def _capacity(memory: str, contents: Contents) -> int:
    target: Target = contents.target
    return {
        "matrix": target.matrix_sram_size * target.mlen,
        "vector": target.vector_sram_size * target.vlen,
        "fp": target.fp_sram_size,
        "int": target.int_sram_size,
        "hbm": target.hbm_size,
    }[memory]


def _scales(contents: Contents) -> Iterator[Region]:
    """The scale bytes of the tensors in HBM, which the memory map counts with their elements."""
    for placement in contents.placements:
        if placement.memory == "hbm":
            try:
                start, stop = placement.scale_range(contents.target)
            except (PlenaError, KeyError):
                continue
            if stop > start:
                name = f"{placement.name} (scales)"
                yield Region(name, "hbm", start, stop - start, placement.source.kind)


def _touched(contents: Contents) -> Mapping[str, Touched]:
    from plena.assembly import encode
    from plena.lifting.entry import lifted_program, without_collection
    from plena.lifting.flat_program import FlatProgram
    from plena.verification.touched import touched

    if not contents.instructions:
        return {}
    if len(contents.instructions) > LONGEST_LIFTED:
        why = f"the program has more than {LONGEST_LIFTED:,} instructions"
        contents.missing.append(Missing("touched addresses", why))
        return {}
    try:
        with without_collection():
            return touched(lifted_program(FlatProgram(encode(contents.instructions)), contents.target))
    except PlenaError as error:
        contents.missing.append(Missing.because("touched addresses", error))
        return {}


def _picture(
    memory: str,
    title: str,
    unit: str,
    capacity: int,
    regions: Sequence[Region],
    touched: Mapping[str, Touched],
) -> MemoryPicture:
    found = touched.get(memory, Touched())
    pieces = found.intervals
    end = max([*(r.address + r.size for r in regions), *(stop for _, stop in pieces)], default=0)
    used = _covered([*((r.address, r.address + r.size) for r in regions), *pieces])
    notes: list[str] = []
    if not end:
        return MemoryPicture(memory, title, unit, capacity, 0, 0, (), (), (), 0, "not used")
    if len(regions) > MOST_BARS:
        notes.append(f"{len(regions) - MOST_BARS:,} of {len(regions):,} buffers, the smallest, are left out")
        kept = set(sorted(range(len(regions)), key=lambda n: -regions[n].size)[:MOST_BARS])
        regions = [r for n, r in enumerate(regions) if n in kept]
    if len(pieces) > MOST_TOUCHED:
        notes.append(f"touched parts closer than {end // MOST_TOUCHED:,} {unit} are drawn as one")
        pieces = _joined(pieces, end // MOST_TOUCHED)
    if found.unbounded:
        notes.append("some addresses are only known when the program runs")
    lanes = _lanes(regions)
    count = max(lanes, default=-1) + 1
    lane = min(LANE, TALLEST / count) if count else 0.0
    scale = WIDTH / end
    bars = tuple(_bar(r, n, lane, scale, unit) for r, n in zip(regions, lanes, strict=True))
    below = count * lane + (6 if count else 0)
    marks = tuple(
        Bar(a * scale, below, max((b - a) * scale, 0.6), 8, "", "touched", f"touched: {a:,} to {b - 1:,}")
        for a, b in pieces
    )
    height = below + (8 if marks else 0)
    return MemoryPicture(
        memory, title, unit, capacity, end, used, bars, marks, _ticks(end), height, "; ".join(notes)
    )


def _bar(region: Region, lane: int, height: float, scale: float, unit: str) -> Bar:
    width = max(region.size * scale, 1.2)
    fits = height >= LABEL_HEIGHT and width > 3 * CHARACTER
    room = int((width - 6) / CHARACTER)
    label = region.name if len(region.name) <= room else region.name[: room - 1] + "…"
    last = region.address + region.size - 1
    text = f"{region.name} ({region.role}): {region.size:,} {unit}, {region.address:,} to {last:,}"
    gap = 1 if height > 4 else 0
    return Bar(
        region.address * scale, lane * height, width, height - gap, label if fits else "", region.role, text
    )


def _lanes(regions: Sequence[Region]) -> list[int]:
    """For each region the first lane below all earlier ones that share an address with it."""
    lanes: list[int] = []
    placed: list[tuple[int, int, int]] = []
    for region in regions:
        start, stop = region.address, region.address + region.size
        lane = max((n + 1 for a, b, n in placed if a < stop and start < b), default=0)
        lanes.append(lane)
        placed = [p for p in placed if not (start <= p[0] and p[1] <= stop)]
        placed.append((start, stop, lane))
    return lanes


def _covered(pieces: Sequence[tuple[int, int]]) -> int:
    """How many addresses lie in at least one piece."""
    total, end = 0, 0
    for start, stop in sorted(pieces):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


def _joined(pieces: Sequence[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in pieces:
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined


def _ticks(end: int) -> tuple[Tick, ...]:
    """Marks at the ends and, where they differ, at quarters."""
    if end < 8:
        return Tick(0, "0", "start"), Tick(WIDTH, f"{end:,}", "end")
    anchors = ("start", "middle", "middle", "middle", "end")
    return tuple(Tick(WIDTH * n / 4, f"{end * n // 4:,}", anchor) for n, anchor in enumerate(anchors))
