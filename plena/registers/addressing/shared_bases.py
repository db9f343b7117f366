"""Addresses that are the sum of two registers: neighbouring bases become one, and offsets reach over both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from plena.registers.addressing.program import Node, Read, Use
from plena.registers.addressing.values import CONSTANT, Value


def with_shared_bases(nodes: Sequence[Node]) -> list[Node]:
    """The nodes of a block with half as many bases where an instruction adds an offset to one.

    A pointer that steps over the tiles of a product (M_BTMV) is updated for every second tile then; the offsets into
    two tiles are twice as many numbers, which stay the same and need registers. Whether that pays, only a plan shows.
    """
    shared = bases_to_share(nodes)
    return [_on_shared(node, shared) if isinstance(node, Use) else node for node in nodes]


def bases_to_share(nodes: Sequence[Node]) -> dict[Value, int]:
    """The bases of a block for which another one can stand, and how far before it is."""
    constants: dict[int, set[int]] = {}
    for node in nodes:
        for base in _moving_bases(node):
            constants.setdefault(base[0], set()).add(base[1])
    shared: dict[Value, int] = {}
    for cls, found in constants.items():
        shared.update(((cls, constant), distance) for constant, distance in _pairs(sorted(found)))
    return shared


def _moving_bases(node: Node) -> list[Value]:
    """The addresses of an instruction that known offsets are added to; numbers, which need no updates, are none."""
    if not isinstance(node, Use):
        return []
    added = {read.adds_to for read in node.reads if read.adds_to is not None and read.value[0] == CONSTANT}
    return [read.value for read in node.reads if read.slot in added and read.value[0] != CONSTANT]


def _pairs(constants: Sequence[int]) -> list[tuple[int, int]]:
    """Constants that a base before them stands for, and how far before; equal distances alone, for equal offsets."""
    if len(constants) < 2:
        return []
    distance = constants[1] - constants[0]
    found: list[tuple[int, int]] = []
    first: int | None = None
    for constant in constants:
        if first is not None and constant - first == distance:
            found.append((constant, distance))
            first = None
        else:
            first = constant
    return found


def _on_shared(use: Use, shared: Mapping[Value, int]) -> Use:
    """An instruction with the base that stands for its own."""
    distances = {
        read.adds_to: shared.get(base.value, 0)
        for read in use.reads
        for base in use.reads
        if read.adds_to == base.slot and read.value[0] == CONSTANT
    }
    if not any(distances.values()):
        return use

    def moved(read: Read) -> Read:
        cls, constant = read.value
        if read.slot in distances:
            return replace(read, value=(cls, constant - distances[read.slot]))
        return replace(read, value=(cls, constant + distances.get(read.adds_to, 0)))

    return replace(use, reads=tuple(moved(read) for read in use.reads))
