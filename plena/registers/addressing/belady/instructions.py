"""The reads of an instruction, then its result."""

from __future__ import annotations

from typing import Any

from plena.jit import Int, compiled
from plena.machine.constants import IMMEDIATE_LIMIT
from plena.registers.addressing.belady.contents import constant_of, emit, find, put
from plena.registers.addressing.belady.creation import create, recipe
from plena.registers.addressing.belady.future import position_after
from plena.registers.addressing.belady.tables import (
    LOOKAHEAD,
    NONE,
    ZERO,
    BlockTable,
    Records,
    Registers,
    Times,
)
from plena.registers.addressing.belady.victims import choose, evict
from plena.registers.addressing.values import CONSTANT


@compiled
def execute(f: Registers, t: Times, block: BlockTable, node: Any, time: Int, bindings: Records) -> Int:
    """The reads of an instruction, then its result; returns the track of that."""
    first, last = node.first, node.last
    found, waiting = 0, 0
    for i in range(first, last):
        value = block.values[i]
        track = find(f, value.cls, value.constant, value.has_immediate, 0)
        bindings[i].track = track
        if track >= 0:
            found |= 1 << track
        elif track == NONE:
            waiting += 1
    for _ in range(waiting):
        read = _first_waiting(block, bindings, first, last)
        value = block.values[read]
        track = find(f, value.cls, value.constant, value.has_immediate, 0)
        if track == NONE:
            wanted = (
                _pointer(f, t, value.cls, value.constant, time) if value.has_immediate else value.constant
            )
            track = create(f, t, value.cls, wanted, time - 1, found, NONE)
        bindings[read].track = track
        if track >= 0:
            found |= 1 << track
    for i in range(first, last):
        value = block.values[i]
        if value.has_immediate:
            bindings[i].offset = value.constant - constant_of(f, bindings[i].track)
    if node.cls < 0:
        return ZERO
    track = choose(f, t, node.cls, node.constant, time, 0)
    evict(f, t, track, time, node.cls)
    if node.mnemonic >= 0:
        emit(f, node.mnemonic, track, bindings[first].track, bindings[first + 1].track, 0)
    put(f, track, node.cls, node.constant)
    return track


@compiled
def _first_waiting(block: BlockTable, bindings: Records, first: Int, last: Int) -> Int:
    """The read without a track to serve next: exact ones first, then by value."""
    best = -1
    for i in range(first, last):
        if bindings[i].track != NONE:
            continue
        if best < 0:
            best = i
            continue
        a, b = block.values[i], block.values[best]
        if a.has_immediate != b.has_immediate:
            before = a.has_immediate < b.has_immediate
        elif a.cls != b.cls:
            before = a.cls < b.cls
        else:
            before = a.constant < b.constant
        if before:
            best = i
    return best


@compiled
def _pointer(f: Registers, t: Times, cls: Int, constant: Int, time: Int) -> Int:
    """The constant to put into a register for a read with an immediate: the lowest that the next reads share."""
    lowest = constant
    position = position_after(t, cls, time - 1)
    for p in range(position, min(position + LOOKAHEAD, t.first[cls + 1])):
        if constant - IMMEDIATE_LIMIT < t.constant[p] < lowest:
            lowest = t.constant[p]
    if (
        cls == CONSTANT
        and lowest >= IMMEDIATE_LIMIT
        and constant - (lowest - lowest % 4096) < IMMEDIATE_LIMIT
    ):
        lowest -= lowest % 4096
    if lowest == constant or recipe(f, cls, lowest)[0] <= recipe(f, cls, constant)[0]:
        return lowest
    return constant
