"""When what a register holds is read next, and what it costs to get it back."""

from __future__ import annotations

from typing import Any

import numpy as np

from plena.jit import Int, compiled, entry_point
from plena.machine.constants import IMMEDIATE_LIMIT
from plena.registers.addressing.belady.tables import I64, LOOKAHEAD, NEVER, Registers, Times
from plena.registers.addressing.values import CONSTANT


@compiled
def position_after(t: Times, cls: Int, time: Int) -> Int:
    """The first read of a class after a time."""
    low, high = t.first[cls], t.first[cls + 1]
    while low < high:
        middle = (low + high) // 2
        if t.time[middle] <= time:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def next_exact(t: Times, cls: Int, constant: Int, time: Int) -> Int:
    """The first time after `time` at which exactly this value is read."""
    low, last = t.exact_first[cls], t.exact_first[cls + 1]
    high = last
    while low < high:
        middle = (low + high) // 2
        at = t.exact_constant[middle]
        if at < constant or (at == constant and t.exact_time[middle] <= time):
            low = middle + 1
        else:
            high = middle
    if low < last and t.exact_constant[low] == constant:
        return t.exact_time[low]
    for i in range(t.closing.shape[0]):
        if t.closing[i].cls == cls and t.closing[i].constant == constant:
            return t.end
    return NEVER


@compiled
def next_of_class(t: Times, cls: Int, time: Int) -> Int:
    """The first time after `time` at which any value of a class is read."""
    p = position_after(t, cls, time)
    if p < t.first[cls + 1]:
        return t.time[p]
    for i in range(t.closing.shape[0]):
        if t.closing[i].cls == cls:
            return t.end
    return NEVER


@compiled
def _next_below(t: Times, cls: Int, time: Int, limit: Int) -> Int:
    """The first time after `time` at which a value of a class below a constant is read."""
    p = position_after(t, cls, time)
    while p < t.first[cls + 1]:
        if t.constant[p] < limit:
            return t.time[p]
        p = t.lower[p]
    for i in range(t.closing.shape[0]):
        if t.closing[i].cls == cls and t.closing[i].constant < limit:
            return t.end
    return NEVER


@compiled
def _next_above(t: Times, cls: Int, constant: Int, time: Int) -> Int:
    """The first of the next reads of a class that one ADDI reaches from a value; a few are looked at."""
    last = t.first[cls + 1]
    position = position_after(t, cls, time)
    for p in range(position, min(position + LOOKAHEAD, last)):
        if 0 <= t.constant[p] - constant < IMMEDIATE_LIMIT:
            return t.time[p]
    if position + LOOKAHEAD < last:
        return NEVER
    for i in range(t.closing.shape[0]):
        if t.closing[i].cls == cls and 0 <= t.closing[i].constant - constant < IMMEDIATE_LIMIT:
            return t.end
    return NEVER


@compiled
def build_cost(constant: Int) -> Int:
    """Instructions that build a number from nothing: one ADDI or LUI, or both."""
    return 1 if constant < IMMEDIATE_LIMIT or constant % 4096 == 0 else 2


@compiled
def future(f: Registers, t: Times, track: Int, time: Int, incoming: Int, at: Int) -> Any:
    """(time of the next use, instructions to get the value back) of what a track holds.

    Times are asked for in ascending order. A value about to be created, class `incoming` (-1: none) and constant `at`,
    counts as present.
    """
    cls, constant = f.cls[track], f.constant[track]
    if cls < 0:
        return NEVER, 0
    exact = f.next_exact[track]
    if exact <= time:
        exact = next_exact(t, cls, constant, time)
        f.next_exact[track] = exact
    if cls == CONSTANT:
        if constant >= IMMEDIATE_LIMIT:
            exact = min(exact, _next_above(t, cls, constant, time))
        return exact, build_cost(constant)
    alone, lowest = True, 0
    if incoming == cls:
        alone, lowest = False, at
    for other in range(f.cls.shape[0]):
        if other != track and f.cls[other] == cls and (alone or f.constant[other] < lowest):
            alone, lowest = False, f.constant[other]
    if alone:
        return min(exact, next_of_class(t, cls, time)), (1 if f.slot[cls] >= 0 else 2)
    if lowest > constant:
        return min(exact, _next_below(t, cls, time, lowest)), 1
    return exact, 1


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
