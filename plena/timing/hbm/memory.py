"""Loads that are known from before: equal requests on equal banks take equal time.

What a load takes hangs on which of its requests share a bank and a row, on the rows that are open, and, if it starts
soon after the last command, on how the one before ended. Of the rows of a bank only matters which are the same, so a
stream of tiles is simulated once for each way in which tiles lie, wherever their scales are.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plena.jit import Int, compiled
from plena.timing.hbm.device import (
    BANKS,
    CHANNELS,
    CLOCK,
    HORIZON,
    LAST,
    TIMES,
    WAITING,
    WRITES_COMPLETE,
    Device,
    catch_up,
    is_position,
    place,
)
from plena.timing.hbm.serial import PARTS, at_once, load, store_word_by_word
from plena.timing.stream.lines import I64

I8: TypeAlias = NDArray[np.int8]

_BYTES = 1 << 26
_MOST = 1 << 12

COUNT, ENDED, ENTRY, STALE, TOUCHED = range(5)
"""Positions in `Memory.facts`: entries; when the last load ended and as which entry, -1 if none; whether the device's
distances must be fetched from that entry; banks that the load at hand touches."""

_LOWEST = -100
"""Below, no distance counts any more."""

_ROWS = 8
"""So many rows of a bank, the open one first, are told apart by their number; others by their distance."""

_CLOSED, _BEYOND = -1, 1 << 40
"""Codes of a row at the end of a load beside the number of one: none, and one by its distance."""

_FIRST, _SECOND = 0x51_7C_C1_B7_27_22_0A_95, 0x2545F4914F6CDD1D


class Memory(NamedTuple):
    """``facts[5]``; ``keys[2, slots]`` and ``slots[slots]`` = entry + 1; by entry ``took[n]``, ``last[n]`` cycles from
    the last command to the end, ``times[n, channels, TIMES]`` and ``rows[n, channels * BANKS]`` at its end; of the load
    at hand ``seen[channels * BANKS, _ROWS]`` rows, the one first that was open, ``counts`` of them, and ``touched``
    banks."""

    facts: I64
    keys: I64
    slots: I64
    took: I64
    last: I64
    times: I8
    rows: I64
    seen: I64
    counts: I64
    touched: I64


def new_memory(channels: int) -> Memory:
    """Nothing is known yet."""
    banks = channels * BANKS
    size = max(16, min(_MOST, _BYTES // (channels * TIMES + 8 * banks)))
    return Memory(
        np.array([0, 0, -1, 0, 0], np.int64),
        np.zeros((2, 2 * size), np.int64),
        np.zeros(2 * size, np.int64),
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
        np.zeros((size, channels, TIMES), np.int8),
        np.zeros((size, banks), np.int64),
        np.zeros((banks, _ROWS), np.int64),
        np.zeros(banks, np.int64),
        np.zeros(banks, np.int64),
    )


@compiled
def _mixed(key: Int, value: Int, factor: Int) -> Int:
    key = (key ^ value) * factor
    return key ^ (key >> 29)


@compiled
def _number_of(m: Memory, at: Int, row: Int) -> Int:
    """The number of a row among those of its bank, -1 if it has none."""
    for number in range(m.counts[at]):
        if m.seen[at, number] == row:
            return number
    return -1


@compiled
def _keys(d: Device, m: Memory, words: I64, start: Int) -> tuple[Int, Int]:
    """Two numbers that stand for the load: its requests relative to open rows, and what came shortly before."""
    for i in range(m.facts[TOUCHED]):
        m.counts[m.touched[i]] = 0
    m.facts[TOUCHED] = 0
    channels = d.facts[CHANNELS]
    soon = start - d.facts[LAST] < HORIZON
    one = np.int64(start - m.facts[ENDED] + 1 if soon else 0)
    two = np.int64(m.facts[ENTRY] + 1 if soon else 0)
    one, two = _mixed(one, two, _FIRST), _mixed(two, one, _SECOND)
    for i in range(PARTS * len(words)):
        channel, bank, row = place(words[i // PARTS] * PARTS + i % PARTS, channels)
        at = channel * BANKS + bank
        if m.counts[at] == 0:
            m.touched[m.facts[TOUCHED]] = at
            m.facts[TOUCHED] += 1
            m.seen[at, 0] = d.open_row[channel, bank]
            m.counts[at] = 1
        number = _number_of(m, at, row)
        if number < 0 and m.counts[at] < _ROWS:
            number = m.counts[at]
            m.seen[at, number] = row
            m.counts[at] += 1
        seen = np.int64(number * 2 if number >= 0 else ((row - m.seen[at, 1]) << 8) + 254)
        if m.seen[at, 0] < 0:
            seen += 1
        one = _mixed(one, (at << 40) ^ seen, _FIRST)
        two = _mixed(two, (seen << 20) ^ at, _SECOND)
    return one, two


@compiled
def _found(m: Memory, one: Int, two: Int) -> Int:
    """The entry of a key, or the free slot for it as -1 - slot."""
    size = m.slots.shape[0]
    at = (one ^ two) % size
    while m.slots[at]:
        if m.keys[0, at] == one and m.keys[1, at] == two:
            return m.slots[at] - 1
        at = (at + 1) % size
    return -1 - at


@compiled
def refresh(d: Device, m: Memory) -> None:
    """Brings the device to the end of a load that was not simulated."""
    if not m.facts[STALE]:
        return
    end, entry = m.facts[ENDED], m.facts[ENTRY]
    for channel in range(d.facts[CHANNELS]):
        for i in range(TIMES):
            kept = np.int64(m.times[entry, channel, i])
            d.times[channel, i] = kept if is_position(i) else kept + end
    d.facts[CLOCK] = end
    m.facts[STALE] = 0


@compiled
def forget_last(d: Device, m: Memory) -> None:
    """Brings the device up to date; the next load is not known by the one before, for something comes between."""
    refresh(d, m)
    m.facts[ENTRY] = -1


@compiled
def _enter(d: Device, m: Memory, entry: Int, start: Int, end: Int) -> None:
    m.took[entry], m.last[entry] = end - start, end - d.facts[LAST]
    for channel in range(d.facts[CHANNELS]):
        for i in range(TIMES):
            now = d.times[channel, i]
            m.times[entry, channel, i] = now if is_position(i) else max(now - end, _LOWEST)
    for i in range(m.facts[TOUCHED]):
        at = m.touched[i]
        row = d.open_row[at // BANKS, at % BANKS]
        number = _number_of(m, at, row)
        if number < 0:
            number = _CLOSED if row < 0 else _BEYOND + row - m.seen[at, 1]
        m.rows[entry, at] = number


@compiled
def _simulated(d: Device, words: I64, start: Int) -> Int:
    return at_once(d, words, 0, start) if d.facts[WRITES_COMPLETE] else load(d, words, start)


@compiled
def end_if_known(d: Device, m: Memory, words: I64, start: Int) -> Int:
    """When a load ends that `load_known` would have from memory, -1 if it would not; nothing changes."""
    if d.facts[WAITING] or (start - d.facts[LAST] < HORIZON and m.facts[ENTRY] < 0):
        return -1
    one, two = _keys(d, m, words, start)
    entry = _found(m, one, two)
    return start + m.took[entry] if entry >= 0 else -1


@compiled
def load_known(d: Device, m: Memory, words: I64, start: Int) -> Int:
    """As `plena.timing.hbm.serial.load`, from memory where it is known; each channel has a queue of its own if writes
    complete."""
    if d.facts[WAITING]:
        catch_up(d, start - 1)
        if d.facts[WAITING]:
            m.facts[ENTRY] = -1
            return _simulated(d, words, start)
    if start - d.facts[LAST] < HORIZON and m.facts[ENTRY] < 0:
        return _simulated(d, words, start)
    one, two = _keys(d, m, words, start)
    entry = _found(m, one, two)
    if entry >= 0:
        end = start + m.took[entry]
        for i in range(m.facts[TOUCHED]):
            at = m.touched[i]
            kept = m.rows[entry, at]
            if kept < 0:
                row = np.int64(-1)
            elif kept < _ROWS:
                row = m.seen[at, kept]
            else:
                row = m.seen[at, 1] + kept - _BEYOND
            d.open_row[at // BANKS, at % BANKS] = row
        d.facts[LAST] = end - m.last[entry]
        m.facts[ENDED], m.facts[ENTRY], m.facts[STALE] = end, entry, 1
        return end
    refresh(d, m)
    end = _simulated(d, words, start)
    if m.facts[COUNT] == m.took.shape[0]:
        m.slots[:] = 0
        m.facts[COUNT], m.facts[ENTRY] = 0, -1
        return end
    slot = -1 - entry
    entry = m.facts[COUNT]
    m.facts[COUNT] += 1
    m.slots[slot], m.keys[0, slot], m.keys[1, slot] = entry + 1, one, two
    _enter(d, m, entry, start, end)
    m.facts[ENDED], m.facts[ENTRY] = end, entry
    return end


@compiled
def store_after(d: Device, m: Memory, words: I64, start: Int) -> Int:
    """As `plena.timing.hbm.serial.store_word_by_word`, after loads that may not have been simulated."""
    forget_last(d, m)
    return store_word_by_word(d, words, start)
