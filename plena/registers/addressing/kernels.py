"""The compiled part of address planning: a register file, Belady's rule, and one pass over a block.

Registers are tracks 0 .. capacity - 1. A value is a class (the variable part, numbered from 0 = plain number) and a
constant. Everything the compiled code branches on is defined here or fixed by the instruction set: the machine code is
cached on disk by this file's contents.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plena.jit import Int, entry_point, kernel
from plena.machine.constants import IMMEDIATE_LIMIT, INT_LIMIT
from plena.registers.addressing.values import CONSTANT

I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]

ZERO = -1
"""The track that stands for gp0."""

_NONE = -2
"""No track."""

NEVER = 1 << 60
"""The time of a use that does not come."""

_LOOKAHEAD = 16
"""Reads of a class that are looked at to place a pointer that several immediates can share."""

ADDI, LUI, LOAD, STORE, ADD, SUB, MUL = range(7)
MNEMONICS = ("S_ADDI_INT", "S_LUI_INT", "S_LD_INT", "S_ST_INT", "S_ADD_INT", "S_SUB_INT", "S_MUL_INT")
"""The mnemonic of every action number."""

_BUILD, _COMBINE, _SHIFT, _RELOAD = MUL + 1, MUL + 2, MUL + 3, MUL + 4
"""Ways to make a value besides ADDI from a register and LOAD."""


class OutOfRegistersError(Exception):
    """A plan does not fit the registers it was given."""


class Times(NamedTuple):
    """When each class is read; time is the position of the node in the block, `end` that of its end.

    Reads by class, ascending in time: those of class c are `first[c]` to `first[c + 1]`. `lower`: the next read of the
    class with a smaller constant. `exact`: no immediate can make up for a difference. `closing`: `[heads + slots, 2]`
    the values that must be in registers, then in memory, when the block ends.
    """

    first: I64
    time: I64
    constant: I64
    exact: Flags
    lower: I64
    closing: I64
    heads: int
    end: int


class Code(NamedTuple):
    """A block in rows of numbers.

    Attributes:
        nodes: `[n, 8]` is loop, first and last of its values, first and last of its memory values, then
            for an instruction the class it defines (-1: none), the constant and the mnemonic to emit (-1: none), for a
            loop the registers it needs, its counter included, and the set of tracks of its plan.
        values: `[v, 4]` class, constant, has immediate (instruction) or is consumed (loop), constant behind the loop.
        memory: `[m, 3]` class, constant, slot of the loop's frame.
        loops: how many nodes are loops.
    """

    nodes: I64
    values: I64
    memory: I64
    loops: int


class Registers(NamedTuple):
    """What each track holds (class -1: nothing), and the log of what was emitted.

    `order`: the tracks in use, by age of their content. `lead`: the first of the tracks with equal content. `slot`: of
    each class, the word of INT SRAM with `saved` (-1: none).
    """

    cls: I64
    constant: I64
    order: I64
    lead: Flags
    touched: Flags
    next_exact: I64
    slot: I64
    saved: I64
    actions: I64
    wanted: I64
    facts: I64


class Log(NamedTuple):
    """What a pass over a block did.

    Attributes:
        actions: `[a, 5]` mnemonic, dst, a, b, imm; `imm` of a load or store is a slot of INT SRAM in the block's own
            frame, or in the frame of the loop that follows when b is 1.
        ends: `[n]` actions up to each node.
        bindings: `[v, 2]` track and immediate of each value of an instruction; `results`: `[n]` track of its result.
        tracks: `[loops, capacity + 2]` the track of every track of the loop's plan, then the counter's, then how many
            values still needed behind the loop had to leave their registers for it.
        wanted: numbers that had to be built to step a pointer.
        touched: `[capacity]`; slots: words of the block's own frame; pressure: a value still needed was given up.
    """

    actions: I64
    ends: I64
    bindings: I64
    results: I64
    tracks: I64
    wanted: I64
    touched: Flags
    slots: int
    pressure: bool


_AGES, _ACTIONS, _WANTED, _SLOTS, _PRESSURE = range(5)
"""Places in `Registers.facts`: lengths of `order`, `actions` and `wanted`, words of the frame, whether pressed."""


# -- future


@kernel
def _position(t: Times, cls: Int, time: Int) -> Int:
    """The first read of a class after a time."""
    low, high = t.first[cls], t.first[cls + 1]
    while low < high:
        middle = (low + high) // 2
        if t.time[middle] <= time:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _next_exact(t: Times, cls: Int, constant: Int, time: Int) -> Int:
    """The first time after `time` at which exactly this value is read."""
    for p in range(_position(t, cls, time), t.first[cls + 1]):
        if t.exact[p] and t.constant[p] == constant:
            return t.time[p]
    for i in range(t.closing.shape[0]):
        if t.closing[i, 0] == cls and t.closing[i, 1] == constant:
            return t.end
    return NEVER


@kernel
def _next_of_class(t: Times, cls: Int, time: Int) -> Int:
    """The first time after `time` at which any value of a class is read."""
    p = _position(t, cls, time)
    if p < t.first[cls + 1]:
        return t.time[p]
    for i in range(t.closing.shape[0]):
        if t.closing[i, 0] == cls:
            return t.end
    return NEVER


@kernel
def _next_below(t: Times, cls: Int, time: Int, limit: Int) -> Int:
    """The first time after `time` at which a value of a class below a constant is read."""
    p = _position(t, cls, time)
    while p < t.first[cls + 1]:
        if t.constant[p] < limit:
            return t.time[p]
        p = t.lower[p]
    for i in range(t.closing.shape[0]):
        if t.closing[i, 0] == cls and t.closing[i, 1] < limit:
            return t.end
    return NEVER


@kernel
def _next_above(t: Times, cls: Int, constant: Int, time: Int) -> Int:
    """The first of the next reads of a class that one ADDI reaches from a value; a few are looked at."""
    last = t.first[cls + 1]
    position = _position(t, cls, time)
    for p in range(position, min(position + _LOOKAHEAD, last)):
        if 0 <= t.constant[p] - constant < IMMEDIATE_LIMIT:
            return t.time[p]
    if position + _LOOKAHEAD < last:
        return NEVER
    for i in range(t.closing.shape[0]):
        if t.closing[i, 0] == cls and 0 <= t.closing[i, 1] - constant < IMMEDIATE_LIMIT:
            return t.end
    return NEVER


@kernel
def _build_cost(constant: Int) -> Int:
    """Instructions that build a number from nothing: one ADDI or LUI, or both."""
    return 1 if constant < IMMEDIATE_LIMIT or constant % 4096 == 0 else 2


@kernel
def _future(f: Registers, t: Times, track: Int, time: Int, incoming: Int, at: Int) -> Any:
    """(time of the next use, instructions to get the value back) of what a track holds.

    Times are asked for in ascending order. A value about to be created, class `incoming` (-1: none) and constant `at`,
    counts as present.
    """
    cls, constant = f.cls[track], f.constant[track]
    if cls < 0:
        return NEVER, 0
    exact = f.next_exact[track]
    if exact <= time:
        exact = _next_exact(t, cls, constant, time)
        f.next_exact[track] = exact
    if cls == CONSTANT:
        if constant >= IMMEDIATE_LIMIT:
            exact = min(exact, _next_above(t, cls, constant, time))
        return exact, _build_cost(constant)
    alone, lowest = True, 0
    if incoming == cls:
        alone, lowest = False, at
    for other in range(f.cls.shape[0]):
        if other != track and f.cls[other] == cls and (alone or f.constant[other] < lowest):
            alone, lowest = False, f.constant[other]
    if alone:
        return min(exact, _next_of_class(t, cls, time)), (1 if f.slot[cls] >= 0 else 2)
    if lowest > constant:
        return min(exact, _next_below(t, cls, time, lowest)), 1
    return exact, 1


# -- contents


@kernel
def _put(f: Registers, track: Int, cls: Int, constant: Int) -> None:
    """Records that a track now holds a value; class -1: nothing."""
    old, was = f.cls[track], f.constant[track]
    if old >= 0:
        count, kept, heir = f.facts[_AGES], 0, _NONE
        for i in range(count):
            other = f.order[i]
            if other == track:
                continue
            f.order[kept] = other
            kept += 1
            if f.cls[other] == old and f.constant[other] == was:
                heir = other
        f.facts[_AGES] = kept
        if f.lead[track]:
            f.lead[track] = False
            if heir >= 0:
                f.lead[heir] = True
    f.cls[track], f.constant[track] = cls, constant
    f.next_exact[track] = -1
    if cls >= 0:
        f.touched[track] = True
        f.lead[track] = _leader(f, cls, constant) < 0
        f.order[f.facts[_AGES]] = track
        f.facts[_AGES] += 1


@kernel
def _leader(f: Registers, cls: Int, constant: Int) -> Int:
    """The first track with exactly this value."""
    for track in range(f.cls.shape[0]):
        if f.lead[track] and f.cls[track] == cls and f.constant[track] == constant:
            return track
    return _NONE


@kernel
def _find(f: Registers, cls: Int, constant: Int, has_immediate: Int, excluded: Int) -> Int:
    """A track that serves a read, the zero register included; `excluded` is a set of tracks."""
    if cls == CONSTANT and constant == 0:
        return ZERO
    track = _leader(f, cls, constant)
    if track >= 0 and not excluded >> track & 1:
        return track
    if has_immediate and cls == CONSTANT and 0 <= constant < IMMEDIATE_LIMIT:
        return ZERO
    for i in range(f.facts[_AGES]):
        track = f.order[i]
        if f.cls[track] != cls or excluded >> track & 1:
            continue
        gap = constant - f.constant[track]
        if gap == 0 or (has_immediate and 0 < gap < IMMEDIATE_LIMIT):
            return track
    return _NONE


@kernel
def _constant_of(f: Registers, track: Int) -> Int:
    """The constant part of what a track holds; 0 for the zero register."""
    return f.constant[track] if track != ZERO else 0


@kernel
def _emit(f: Registers, mnemonic: Int, dst: Int, a: Int, b: Int, imm: Int) -> None:
    """Logs an instruction."""
    at = f.facts[_ACTIONS]
    f.actions[at, 0], f.actions[at, 1], f.actions[at, 2] = mnemonic, dst, a
    f.actions[at, 3], f.actions[at, 4] = b, imm
    f.facts[_ACTIONS] = at + 1


# -- changes


@kernel
def _choose(f: Registers, t: Times, cls: Int, constant: Int, time: Int, locked: Int) -> Int:
    """The track to overwrite for a new value: its home, a dead one, or the one needed last.

    Raises:
        OutOfRegistersError: every track is locked.
    """
    for home in range(t.heads):
        if t.closing[home, 0] == cls and t.closing[home, 1] == constant:
            if not locked >> home & 1 and _future(f, t, home, time, cls, constant)[0] >= NEVER:
                return home
            break
    best, best_score, unused = -1, -1.0, -1
    for track in range(f.cls.shape[0]):
        if locked >> track & 1 or time < f.next_exact[track] <= time + best_score:
            continue
        use, cost = _future(f, t, track, time, cls, constant)
        if use < NEVER:
            score = (use - time) / cost
            if score > best_score:
                best, best_score = track, score
        elif f.touched[track]:
            return track
        elif unused < 0:
            unused = track
    if unused >= 0:
        return unused
    if best < 0:
        raise OutOfRegistersError
    return best


@kernel
def _evict(f: Registers, t: Times, track: Int, time: Int, incoming: Int) -> None:
    """Gives up what a track holds; the only copy of a class that is still needed goes to INT SRAM."""
    cls = f.cls[track]
    if cls < 0:
        return
    if incoming != cls:
        if cls != CONSTANT and f.slot[cls] < 0:
            copies = 0
            for other in range(f.cls.shape[0]):
                copies += f.cls[other] == cls
            if copies == 1 and _next_of_class(t, cls, time) < NEVER:
                _save(f, track)
        if _future(f, t, track, time, -1, 0)[0] < NEVER:
            f.facts[_PRESSURE] = 1
    _put(f, track, -1, 0)


@kernel
def _save(f: Registers, track: Int) -> None:
    """Stores a track in the slot of its class."""
    cls = f.cls[track]
    slot = f.slot[cls]
    if slot < 0:
        slot = f.facts[_SLOTS]
    f.facts[_SLOTS] = max(f.facts[_SLOTS], slot + 1)
    _emit(f, STORE, track, ZERO, ZERO, slot)
    f.slot[cls], f.saved[cls] = slot, f.constant[track]


@kernel
def _recipe(f: Registers, cls: Int, constant: Int) -> Any:
    """The cheapest way to make a value: cost in instructions, kind, source track, number (gap or slot)."""
    ages = f.facts[_AGES]
    for i in range(ages):
        track = f.order[i]
        if f.cls[track] == cls and 0 <= constant - f.constant[track] < IMMEDIATE_LIMIT:
            return 1, ADDI, track, constant - f.constant[track]
    if cls == CONSTANT and _build_cost(constant) == 1:
        return 1, _BUILD, ZERO, constant
    slot = f.slot[cls]
    if slot >= 0 and f.saved[cls] == constant:
        return 1, LOAD, ZERO, slot
    for i in range(ages):
        track = f.order[i]
        if f.cls[track] == cls:
            gap = constant - f.constant[track]
            if _leader(f, CONSTANT, abs(gap) % INT_LIMIT) >= 0:
                return 1, _COMBINE, track, gap
    if cls == CONSTANT:
        return 2, _BUILD, ZERO, constant
    cost, kind, source, number = NEVER, _SHIFT, ZERO, 0
    for i in range(ages):
        track = f.order[i]
        if f.cls[track] == cls:
            gap = constant - f.constant[track]
            this = 1 + _build_cost(abs(gap) % INT_LIMIT)
            if this < cost or (this == cost and abs(gap) < abs(number)):
                cost, source, number = this, track, gap
    if slot >= 0:
        gap = constant - f.saved[cls]
        this = 2 if 0 <= gap < IMMEDIATE_LIMIT else 2 + _build_cost(abs(gap) % INT_LIMIT)
        if this < cost or (this == cost and abs(gap) < abs(number)):
            cost, kind, source, number = this, _RELOAD, ZERO, gap
    return cost, kind, source, number


@kernel
def _create(f: Registers, t: Times, cls: Int, constant: Int, time: Int, locked: Int, target: Int) -> Int:
    """Emits the instructions that make a value, in `target` or (-2) a track chosen by Belady's rule."""
    while True:
        _, kind, source, number = _recipe(f, cls, constant)
        if kind == _RELOAD:
            slot, held = f.slot[cls], f.saved[cls]
            near = 0 <= number < IMMEDIATE_LIMIT
            spare = target if near else _NONE
            if spare < 0:
                blocked = locked | 1 << target if target >= 0 else locked
                spare = _choose(f, t, cls, held, time, blocked)
            _evict(f, t, spare, time, cls)
            _emit(f, LOAD, spare, ZERO, ZERO, slot)
            _put(f, spare, cls, held)
            if near:
                _emit(f, ADDI, spare, spare, ZERO, number)
                _put(f, spare, cls, constant)
                return spare
            continue
        if kind in (_SHIFT, _COMBINE):
            return _create_by_step(f, t, cls, constant, time, locked, target, kind, source, number)
        if target < 0:
            target = _choose(f, t, cls, constant, time, locked)
        _evict(f, t, target, time, cls)
        if kind == ADDI:
            _emit(f, ADDI, target, source, ZERO, number)
        elif kind == LOAD:
            _emit(f, LOAD, target, ZERO, ZERO, number)
        else:
            _build(f, target, number)
        _put(f, target, cls, constant)
        return target


@kernel
def _create_by_step(
    f: Registers,
    t: Times,
    cls: Int,
    constant: Int,
    time: Int,
    locked: Int,
    target: Int,
    kind: Int,
    source: Int,
    gap: Int,
) -> Int:
    """Makes a value from a track with a number in another one: it lies below, or out of an immediate's reach."""
    magnitude = abs(gap) % INT_LIMIT
    mnemonic = ADD if gap > 0 else SUB
    if kind == _COMBINE:
        helper = _leader(f, CONSTANT, magnitude)
        if target < 0:
            target = _choose(f, t, cls, constant, time, locked)
        _evict(f, t, target, time, cls)
    else:
        f.wanted[f.facts[_WANTED]] = magnitude
        f.facts[_WANTED] += 1
        if target < 0:
            target = _choose(f, t, cls, constant, time, locked | 1 << source)
        if target == source:
            helper = _choose(f, t, CONSTANT, magnitude, time, locked | 1 << source)
            _evict(f, t, helper, time, -1)
        else:
            helper = target
            _evict(f, t, target, time, cls)
        _build(f, helper, magnitude)
        if helper != target:
            _put(f, helper, CONSTANT, magnitude)
    _emit(f, mnemonic, target, source, helper, 0)
    _put(f, target, cls, constant)
    return target


@kernel
def _build(f: Registers, track: Int, constant: Int) -> None:
    """Emits the one or two instructions that make a number from nothing."""
    if constant < IMMEDIATE_LIMIT:
        _emit(f, ADDI, track, ZERO, ZERO, constant)
        return
    _emit(f, LUI, track, ZERO, ZERO, constant % INT_LIMIT >> 12)
    if constant % 4096:
        _emit(f, ADDI, track, track, ZERO, constant % 4096)


# -- instructions


@kernel
def _use(f: Registers, t: Times, code: Code, node: I64, time: Int, bindings: I64) -> Int:
    """The reads of an instruction, then its result; returns the track of that."""
    first, last = node[1], node[2]
    found, waiting = 0, 0
    for i in range(first, last):
        cls, constant, has_immediate = code.values[i, 0], code.values[i, 1], code.values[i, 2]
        track = _find(f, cls, constant, has_immediate, 0)
        bindings[i, 0] = track
        if track >= 0:
            found |= 1 << track
        elif track == _NONE:
            waiting += 1
    for _ in range(waiting):
        read = _first_waiting(code, bindings, first, last)
        cls, constant, has_immediate = code.values[read, 0], code.values[read, 1], code.values[read, 2]
        track = _find(f, cls, constant, has_immediate, 0)
        if track == _NONE:
            wanted = _pointer(f, t, cls, constant, time) if has_immediate else constant
            track = _create(f, t, cls, wanted, time - 1, found, _NONE)
        bindings[read, 0] = track
        if track >= 0:
            found |= 1 << track
    for i in range(first, last):
        bindings[i, 1] = code.values[i, 1] - _constant_of(f, bindings[i, 0]) if code.values[i, 2] else 0
    if node[5] < 0:
        return ZERO
    track = _choose(f, t, node[5], node[6], time, 0)
    _evict(f, t, track, time, node[5])
    if node[7] >= 0:
        _emit(f, node[7], track, bindings[first, 0], bindings[first + 1, 0], 0)
    _put(f, track, node[5], node[6])
    return track


@kernel
def _first_waiting(code: Code, bindings: I64, first: Int, last: Int) -> Int:
    """The read without a track to serve next: exact ones first, then by value."""
    best = -1
    for i in range(first, last):
        if bindings[i, 0] != _NONE:
            continue
        if best < 0:
            best = i
            continue
        a, b = code.values[i], code.values[best]
        if a[2] != b[2]:
            before = a[2] < b[2]
        elif a[0] != b[0]:
            before = a[0] < b[0]
        else:
            before = a[1] < b[1]
        if before:
            best = i
    return best


@kernel
def _pointer(f: Registers, t: Times, cls: Int, constant: Int, time: Int) -> Int:
    """The constant to put into a register for a read with an immediate: the lowest that the next reads share."""
    lowest = constant
    position = _position(t, cls, time - 1)
    for p in range(position, min(position + _LOOKAHEAD, t.first[cls + 1])):
        if constant - IMMEDIATE_LIMIT < t.constant[p] < lowest:
            lowest = t.constant[p]
    if (
        cls == CONSTANT
        and lowest >= IMMEDIATE_LIMIT
        and constant - (lowest - lowest % 4096) < IMMEDIATE_LIMIT
    ):
        lowest -= lowest % 4096
    if lowest == constant or _recipe(f, cls, lowest)[0] <= _recipe(f, cls, constant)[0]:
        return lowest
    return constant


# -- loops


@kernel
def _loop(f: Registers, t: Times, code: Code, node: I64, time: Int, copies: Int, tracks: I64) -> None:
    """Brings the values that a loop begins with into registers, makes room for the rest."""
    capacity = f.cls.shape[0]
    for i in range(node[3], node[4]):
        cls, constant = code.memory[i, 0], code.memory[i, 1]
        track = _find(f, cls, constant, 0, 0)
        if track == _NONE:
            track = _create(f, t, cls, constant, time - 1, 0, _NONE)
        _emit(f, STORE, track, ZERO, 1, code.memory[i, 2])
    first, last, width, used = node[1], node[2], node[5], node[6]
    tracks[:capacity] = _NONE
    group = _enter(f, t, code, node, time, copies, tracks)
    tracks[capacity + 1] = _make_room(f, t, width - (last - first), group, time)
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
        _put(f, tracks[i - first], code.values[i, 0], code.values[i, 3])


@kernel
def _enter(f: Registers, t: Times, code: Code, node: I64, time: Int, copies: Int, tracks: I64) -> Int:
    """Puts the loop's first values into tracks, each consumed one into a track of its own; returns their set."""
    first, last, group, waiting = node[1], node[2], 0, 0
    for consumed in range(2):
        for i in range(first, last):
            if code.values[i, 2] != consumed:
                continue
            track = _find(f, code.values[i, 0], code.values[i, 1], 0, group)
            if track < 0 or (consumed and copies and _keeps(f, t, track, node[5], time)):
                waiting += 1
            else:
                tracks[i - first] = track
                group |= 1 << track
    for _ in range(waiting):
        best = -1
        for consumed in range(2):
            for i in range(first, last):
                if code.values[i, 2] != consumed or tracks[i - first] >= 0:
                    continue
                a, b = code.values[i], code.values[max(best, first)]
                if best < 0 or a[0] < b[0] or (a[0] == b[0] and a[1] < b[1]):
                    best = i
        track = _create(f, t, code.values[best, 0], code.values[best, 1], time - 1, group, _NONE)
        tracks[best - first] = track
        group |= 1 << track
    return group


@kernel
def _keeps(f: Registers, t: Times, track: Int, width: Int, time: Int) -> Int:
    """Whether a value that a loop would use up is better copied.

    It is read again, hard to get back then, and there is a register that it can wait in.
    """
    cls, constant = f.cls[track], f.constant[track]
    if cls < 0 or _next_exact(t, cls, constant, time) >= NEVER or cls == CONSTANT:
        return False
    waiting = 0
    for other in range(f.cls.shape[0]):
        if other != track and f.cls[other] == cls and 0 <= constant - f.constant[other] < IMMEDIATE_LIMIT:
            return False
        waiting += _future(f, t, other, time, -1, 0)[0] < NEVER
    return waiting + width <= f.cls.shape[0]


@kernel
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
            use, cost = _future(f, t, track, time, -1, 0)
            if use >= NEVER:
                _put(f, track, -1, 0)
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
        _evict(f, t, worst, time, -1)
    return evicted


# -- the end of the iteration


@kernel
def _close(f: Registers, t: Times) -> None:
    """Makes memory and registers hold what the next iteration begins with."""
    time, heads = t.end, t.heads
    for i in range(heads, t.closing.shape[0]):
        cls, constant, slot = t.closing[i, 0], t.closing[i, 1], i - heads
        if f.slot[cls] != slot or f.saved[cls] != constant:
            track = _find(f, cls, constant, 0, 0)
            if track == _NONE:
                track = _create(f, t, cls, constant, time - 1, 0, _NONE)
            _emit(f, STORE, track, ZERO, ZERO, slot)
            f.slot[cls], f.saved[cls] = slot, constant
    pending = 0
    for track in range(heads):
        if f.cls[track] != t.closing[track, 0] or f.constant[track] != t.closing[track, 1]:
            pending |= 1 << track
    while pending:
        track = _closable(f, t, pending)
        settled = (1 << heads) - 1 & ~pending
        _create(f, t, t.closing[track, 0], t.closing[track, 1], time - 1, settled, track)
        pending &= ~(1 << track)


@kernel
def _closable(f: Registers, t: Times, pending: Int) -> Int:
    """A pending track whose present content no other pending one is made from; moves one away if needed."""
    best, best_cost = -1, 1 << 30
    for track in range(t.heads):
        if not pending >> track & 1:
            continue
        cls = f.cls[track]
        if cls < 0:
            return track
        cost = 0
        for other in range(t.heads):
            if other == track or not pending >> other & 1 or t.closing[other, 0] != cls:
                continue
            has_source, reachable = False, False
            for source in range(f.cls.shape[0]):
                constant = f.constant[source]
                if source == track:
                    if t.closing[track, 0] != cls:
                        continue
                    constant = t.closing[track, 1]
                elif f.cls[source] != cls:
                    continue
                has_source = True
                if 0 <= t.closing[other, 1] - constant < IMMEDIATE_LIMIT:
                    reachable = True
            if not has_source:
                cost += 1000 if f.slot[cls] < 0 and cls != CONSTANT else 1
            elif not reachable:
                cost += 1
        if cost < best_cost:
            best, best_cost = track, cost
    if best_cost >= 1000:
        _save(f, best)
    return best


@entry_point
def lower_reads(first: I64, constant: I64) -> I64:
    """For each read of `Times` the next of its class with a smaller constant, else the end of its class."""
    result = np.empty(len(constant), np.int64)
    waiting = np.empty(len(constant), np.int64)
    for cls in range(len(first) - 1):
        count = 0
        for position in range(first[cls], first[cls + 1]):
            result[position] = first[cls + 1]
            while count and constant[waiting[count - 1]] > constant[position]:
                count -= 1
                result[waiting[count]] = position
            waiting[count] = position
            count += 1
    return result


@entry_point
def simulate(t: Times, code: Code, head: I64, capacity: Int, copies: Int) -> Log:
    """One pass over a block in `capacity` registers.

    `head`: `[heads + slots, 2]` the values in tracks, then in memory, when the block begins. `copies`: a loop may walk
    a copy of a pointer that is read again behind it.

    Raises:
        OutOfRegistersError: an instruction or a loop needs more registers at once.
    """
    heads, count = t.heads, code.nodes.shape[0]
    if heads > capacity:
        raise OutOfRegistersError
    classes = len(t.first) - 1
    # Making a value takes at most nine instructions with what must be saved for it, a loop may save every register.
    most = 9 * (code.values.shape[0] + code.memory.shape[0] + len(head) + count) + (code.loops + 2) * (
        capacity + 2
    )
    f = Registers(
        np.full(capacity, -1, np.int64),
        np.zeros(capacity, np.int64),
        np.zeros(capacity + 1, np.int64),
        np.zeros(capacity, np.bool_),
        np.zeros(capacity, np.bool_),
        np.full(capacity, -1, np.int64),
        np.full(classes, -1, np.int64),
        np.zeros(classes, np.int64),
        np.empty((most, 5), np.int64),
        np.empty(most, np.int64),
        np.zeros(5, np.int64),
    )
    for track in range(heads):
        _put(f, track, head[track, 0], head[track, 1])
    for i in range(heads, len(head)):
        f.slot[head[i, 0]], f.saved[head[i, 0]] = i - heads, head[i, 1]
    f.facts[_SLOTS] = len(head) - heads
    ends = np.empty(count, np.int64)
    bindings = np.zeros((code.values.shape[0], 2), np.int64)
    results = np.full(count, ZERO, np.int64)
    tracks = np.empty((code.loops, capacity + 2), np.int64)
    loop = 0
    for time in range(count):
        node = code.nodes[time]
        if node[0]:
            _loop(f, t, code, node, time, copies, tracks[loop])
            loop += 1
        else:
            results[time] = _use(f, t, code, node, time, bindings)
        ends[time] = f.facts[_ACTIONS]
    _close(f, t)
    return Log(
        f.actions[: f.facts[_ACTIONS]].copy(),
        ends,
        bindings,
        results,
        tracks,
        f.wanted[: f.facts[_WANTED]].copy(),
        f.touched,
        f.facts[_SLOTS],
        f.facts[_PRESSURE] != 0,
    )
