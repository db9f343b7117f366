"""Buffers whose addresses hang together: groups anchored to one buffer, placed as a whole."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import lcm
from operator import itemgetter

from xdsl.dialects.builtin import IntAttr

from plena.buffers.intervals import Interval
from plena.errors import CompileError
from plena.integers import round_up

Taken = tuple[int, int, Interval]
"""What is placed already: first address, end, life."""


def take(placed: list[Taken], start: int, end: int, interval: Interval) -> None:
    """Enters what is placed behind all that begins no later."""
    insort(placed, (start, end, interval), key=itemgetter(0))


Occupied = dict[str, list[Taken]]
"""What is placed already, by memory, lowest addresses first."""


@dataclass(frozen=True)
class Member:
    """A buffer `offset` behind the anchor of its group."""

    life: Interval
    offset: int

    @property
    def space(self) -> str:
        return self.life.buffer.space

    def span(self, anchor: int) -> tuple[int, int]:
        """First address and end."""
        start = anchor + self.offset
        return start, start + self.life.buffer.size.data


Group = tuple[Member, ...]
"""The anchor with offset 0, then what is anchored to it."""


def groups_of(lives: Sequence[Interval]) -> list[Group]:
    """The groups of a program, largest first.

    Raises:
        CompileError: an anchor that does not exist, or is anchored itself.
    """
    named = {life.buffer.symbol.data: life for life in lives}
    groups: dict[str, list[Member]] = {}
    for life in lives:
        buffer = life.buffer
        if buffer.anchor is None or buffer.anchor_offset is None:
            continue
        name = buffer.anchor.data
        anchor = named.get(name)
        if (
            anchor is None
            or anchor.buffer.anchor is not None
            or anchor.buffer.space not in ("matrix", "vector")
        ):
            raise CompileError(
                f"buffer {buffer.symbol.data} is anchored to {name}, which must be a buffer in matrix or vector SRAM "
                "that is not anchored itself",
                "allocate-buffers",
            )
        groups.setdefault(name, [Member(anchor, 0)]).append(Member(life, buffer.anchor_offset.data))
    found = [tuple(group) for group in groups.values()]
    return sorted(found, key=lambda g: -sum(m.life.buffer.size.data for m in g))


def place_group(group: Group, alignments: Mapping[str, int], occupied: Occupied) -> None:
    """Gives a group the lowest addresses at which every member is free in its memory.

    Raises:
        CompileError: two members would share space while both are in use, or an offset breaks an alignment.
    """
    names = ", ".join(m.life.buffer.symbol.data for m in group)
    for one, other in combinations(group, 2):
        if one.space == other.space and one.life.overlaps(other.life) and _meet(one.span(0), other.span(0)):
            raise CompileError(
                f"buffers {names} cannot be placed: their addresses meet",
                "allocate-buffers",
                "use other anchors",
            )
    if any(m.offset % alignments[m.space] for m in group):
        raise CompileError(f"buffers {names} cannot be placed: an offset is not aligned", "allocate-buffers")
    step = lcm(*(alignments[m.space] for m in group))
    address = round_up(max(-m.offset for m in group), step)
    while (needed := _next(group, address, occupied)) > address:
        address = round_up(needed, step)
    for member in group:
        start, end = member.span(address)
        member.life.buffer.address = IntAttr(start)
        take(occupied[member.space], start, end, member.life)


def _next(group: Group, address: int, occupied: Occupied) -> int:
    """The anchor's address that gets its members past everything they meet; the same one if they meet nothing."""
    needed = address
    for member in group:
        span = member.span(address)
        for low, high, other in occupied[member.space]:
            if _meet(span, (low, high)) and member.life.overlaps(other):
                needed = max(needed, high - member.offset)
    return needed


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]
