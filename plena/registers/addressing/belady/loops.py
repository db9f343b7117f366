"""What a loop begins with is brought into registers, and room is made for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from plena.jit import Int, compiled
from plena.machine.constants import IMMEDIATE_LIMIT
from plena.registers.addressing.belady.contents import emit, find, put
from plena.registers.addressing.belady.creation import create
from plena.registers.addressing.belady.future import future, next_exact
from plena.registers.addressing.belady.tables import (
    I64,
    NEVER,
    NONE,
    STORE,
    ZERO,
    BlockTable,
    OutOfRegistersError,
    Registers,
    Times,
)
from plena.registers.addressing.belady.victims import evict
from plena.registers.addressing.values import CONSTANT


@compiled
def enter_loop(
    f: Registers, t: Times, block: BlockTable, node: Any, time: Int, copies: Int, tracks: I64
) -> Int:
    """Brings the values that a loop begins with into registers, makes room for the rest.

    `tracks`: a row of `Log.tracks`, to fill. Returns how many values had to leave their registers.
    """
    capacity = f.cls.shape[0]
    for i in range(node.first_memory, node.last_memory):
        cls, constant = block.memory[i].cls, block.memory[i].constant
        track = find(f, cls, constant, 0, 0)
        if track == NONE:
            track = create(f, t, cls, constant, time - 1, 0, NONE)
        emit(f, STORE, track, ZERO, 1, block.memory[i].slot)
    first, last, width, used = node.first, node.last, node.width, node.tracks
    tracks[:capacity] = NONE
    group = _enter(f, t, block, node, time, copies, tracks)
    evicted = _make_room(f, t, width - (last - first), group, time)
    for inner in range(capacity + 1):
        # The last one is the counter's.
        if inner < capacity and (tracks[inner] >= 0 or not used >> inner & 1):
            continue
        free = -1
        for track in range(capacity):
            if f.cls[track] < 0 and not group >> track & 1 and (free < 0 or f.touched[track]):
                free = track
                if f.touched[track]:
                    break
        tracks[inner] = free
        group |= 1 << free
    for inner in range(capacity + 1):
        if tracks[inner] >= 0:
            f.touched[tracks[inner]] = True
    for i in range(first, last):
        put(f, tracks[i - first], block.values[i].cls, block.values[i].after)
    return evicted


@compiled
def _enter(f: Registers, t: Times, block: BlockTable, node: Any, time: Int, copies: Int, tracks: I64) -> Int:
    """Puts the loop's first values into tracks, each consumed one into a track of its own; returns their set."""
    first, last, group, waiting = node.first, node.last, 0, 0
    for consumed in range(2):
        for i in range(first, last):
            if block.values[i].is_consumed != consumed:
                continue
            track = find(f, block.values[i].cls, block.values[i].constant, 0, group)
            if track < 0 or (consumed and copies and _keeps(f, t, track, node.width, time)):
                waiting += 1
            else:
                tracks[i - first] = track
                group |= 1 << track
    for _ in range(waiting):
        best = -1
        for consumed in range(2):
            for i in range(first, last):
                if block.values[i].is_consumed != consumed or tracks[i - first] >= 0:
                    continue
                a, b = block.values[i], block.values[max(best, first)]
                if best < 0 or a.cls < b.cls or (a.cls == b.cls and a.constant < b.constant):
                    best = i
        track = create(f, t, block.values[best].cls, block.values[best].constant, time - 1, group, NONE)
        tracks[best - first] = track
        group |= 1 << track
    return group


@compiled
def _keeps(f: Registers, t: Times, track: Int, width: Int, time: Int) -> Int:
    """Whether a value that a loop would use up is better copied.

    It is read again, hard to get back then, and there is a register that it can wait in.
    """
    cls, constant = f.cls[track], f.constant[track]
    if cls < 0 or next_exact(t, cls, constant, time) >= NEVER or cls == CONSTANT:
        return False
    waiting = 0
    for other in range(f.cls.shape[0]):
        if other != track and f.cls[other] == cls and 0 <= constant - f.constant[other] < IMMEDIATE_LIMIT:
            return False
        waiting += future(f, t, other, time, -1, 0)[0] < NEVER
    return waiting + width <= f.cls.shape[0]


@compiled
def _make_room(f: Registers, t: Times, needed: Int, group: Int, time: Int) -> Int:
    """Empties tracks outside `group` until `needed` are free; returns how many values that costs.

    Raises:
        OutOfRegistersError: there are not so many outside.
    """
    capacity = f.cls.shape[0]
    scores = np.full(capacity, -1.0)
    held, grouped = 0, 0
    for track in range(capacity):
        if group >> track & 1:
            grouped += 1
        elif f.cls[track] >= 0:
            use, cost = future(f, t, track, time, -1, 0)
            if use >= NEVER:
                put(f, track, -1, 0)
            else:
                scores[track] = (use - time) / cost
                held += 1
    allowed = capacity - grouped - needed
    if allowed < 0:
        raise OutOfRegistersError
    evicted = max(0, held - allowed)
    for _ in range(evicted):
        worst = 0
        for track in range(capacity):
            if scores[track] >= scores[worst]:
                worst = track
        scores[worst] = -1.0
        evict(f, t, worst, time, -1)
    return evicted
