"""Which keys a block of queries needs: blocks that need equally many form a section, whose code is one loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from plena.dialects.plena import BandAttr
from plena.integers import ceil_div, round_up


@dataclass(frozen=True)
class Section:
    """`repeats` times `blocks` consecutive query blocks, the first number `first_block`.

    They need `columns` keys that lie in `tiles` tiles of keys from number `first_tile` on, every repeat `tile_step`
    tiles further.
    """

    first_block: int
    blocks: int
    first_tile: int
    tiles: int
    columns: int
    repeats: int = 1
    tile_step: int = 0

    @property
    def end(self) -> int:
        """The first query block behind the section."""
        return self.first_block + self.repeats * self.blocks

    def ends_at(self, tile: int) -> bool:
        """Whether the tiles of its last blocks end where tile number `tile` begins."""
        return self.first_tile + (self.repeats - 1) * self.tile_step + self.tiles == tile


@dataclass(frozen=True)
class Visibility:
    """Which of `keys` keys each block of `rows` of the `queries` sees through a band.

    Blocks are number `first` and following, `count` of them (0: all).
    """

    queries: int
    keys: int
    rows: int
    band: BandAttr | None
    first: int = 0
    count: int = 0

    @property
    def blocks(self) -> int:
        """Query blocks."""
        return self.count or ceil_div(self.queries, self.rows) - self.first

    def keys_of(self, block: int) -> tuple[int, int]:
        """First and behind the last key that any query of a block sees; at least one key."""
        first = block * self.rows
        last = min(first + self.rows, self.queries) - 1
        low, high = 0, self.keys
        if self.band is not None and self.band.lower is not None:
            low = min(max(first + self.band.lower, 0), self.keys - 1)
        if self.band is not None and self.band.upper is not None:
            high = max(min(last + self.band.upper + 1, self.keys), low + 1)
        return low, high


def whole_section(view: Visibility, mlen: int, columns: int = 0) -> Section:
    """All query blocks with all keys; `columns` 0 means whole tiles."""
    tiles = ceil_div(view.keys, mlen)
    return Section(view.first, view.blocks, 0, tiles, columns or tiles * mlen)


def visible_sections(view: Visibility, mlen: int, step: int, limit: int) -> list[Section]:
    """Sections in which every block gets the keys it sees, in whole steps of `step` columns, at most `limit` sections.

    Where there are more, steps grow: up to a tile, then several tiles at a time.
    """
    while True:
        found = list(_joined(_runs(view, mlen, step), view, mlen))
        if len(found) <= limit or step >= round_up(view.keys, mlen):
            return found
        step *= 2


def most_sections(view: Visibility, mlen: int, step: int) -> int:
    """How many sections there are without a limit."""
    return len(list(_joined(_runs(view, mlen, step), view, mlen)))


def _runs(view: Visibility, mlen: int, step: int) -> Iterator[Section]:
    current: Section | None = None
    for block in range(view.first, view.first + view.blocks):
        low, high = view.keys_of(block)
        first = low // max(mlen, step) * max(mlen, step)
        end = min(round_up(high, step), round_up(view.keys, min(step, mlen)))
        section = Section(block, 1, first // mlen, ceil_div(end - first, mlen), end - first)
        if (
            current is not None
            and replace(section, first_block=current.first_block, blocks=current.blocks) == current
        ):
            current = replace(current, blocks=current.blocks + 1)
            continue
        if current is not None:
            yield current
        current = section
    if current is not None:
        yield current


def _joined(runs: Iterable[Section], view: Visibility, mlen: int) -> Iterator[Section]:
    """Neighbours that differ by a constant number of tiles become repeats of one.

    Those with a last tile that is not full stay alone: only they need its padding masked.
    """
    current: Section | None = None
    for run in runs:
        alone = view.keys % mlen != 0 and run.ends_at(ceil_div(view.keys, mlen))
        if current is not None and not alone and run == _next_repeat(current, run.first_tile):
            step = (run.first_tile - current.first_tile) // current.repeats
            current = replace(current, repeats=current.repeats + 1, tile_step=step)
            continue
        if current is not None:
            yield current
        current = run
    if current is not None:
        yield current


def _next_repeat(section: Section, first_tile: int) -> Section:
    """What the next repeat of a section is as a section of its own; a single one may step by any number of tiles."""
    step = section.tile_step if section.repeats > 1 else first_tile - section.first_tile
    return Section(
        section.end,
        section.blocks,
        section.first_tile + section.repeats * step,
        section.tiles,
        section.columns,
    )


def hidden_tiles(view: Visibility, section: Section, mlen: int) -> list[tuple[int, int]]:
    """Stretches (first, count) of a section's tiles in which the band hides keys; the others need no mask."""
    if view.band is None:
        return []
    lower, upper = view.band.lower, view.band.upper
    cut = [False] * section.tiles
    for repeat in range(section.repeats):
        first_row = (section.first_block + repeat * section.blocks) * view.rows
        last_row = first_row + section.blocks * view.rows - 1
        for tile in range(section.tiles):
            key = (section.first_tile + repeat * section.tile_step + tile) * mlen
            above = upper is not None and key + mlen - 1 - first_row > upper
            below = lower is not None and key - last_row < lower
            cut[tile] = cut[tile] or above or below
    edges = [i for i, (a, b) in enumerate(pairwise([False, *cut, False])) if a != b]
    return [(a, b - a) for a, b in zip(edges[::2], edges[1::2], strict=True)]
