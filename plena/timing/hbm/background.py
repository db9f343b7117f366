"""Transfers that run beside each other: two loads in the background, a store among them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from plena.jit import Int, compiled
from plena.timing.hbm.device import CLOCK, WAITING, Device, catch_up, offer, tick
from plena.timing.hbm.memory import Memory, end_if_known, forget_last, load_known, refresh
from plena.timing.hbm.serial import PARTS
from plena.timing.stream.lines import I64

WORDS, ASKED, STARTED, ENDED = range(4)
"""Columns of `Slots.loads`: words of the load, requests that were taken, when it starts, when it ended, or -1."""

ORDER, DEFERRED = 0, 1
"""Positions in `Slots.facts`: the slot whose load started first; the slot whose load is known to run alone so far and
was not begun on the device, -1 = none."""


class Slots(NamedTuple):
    """Loads in the background: ``loads[2, 4]``, their ``words[2, most]``, ``facts[2]``."""

    loads: I64
    words: I64
    facts: I64


def new_slots(most: int) -> Slots:
    """Two empty slots for loads of at most so many words."""
    loads = np.zeros((2, 4), np.int64)
    return Slots(loads, np.zeros((2, most), np.int64), np.array([0, -1], np.int64))


@compiled
def _running(s: Slots, slot: Int) -> bool:
    return s.loads[slot, WORDS] > 0 and s.loads[slot, ENDED] < 0


@compiled
def _admit(d: Device, s: Slots) -> bool:
    """Offers the requests of the loads, first come first served; whether none of them is left."""
    for k in range(2):
        slot = s.facts[ORDER] ^ k
        if not _running(s, slot):
            continue
        load = s.loads[slot]
        while load[ASKED] < PARTS * load[WORDS]:
            word = s.words[slot, load[ASKED] // PARTS]
            if not offer(d, word * PARTS + load[ASKED] % PARTS, 0, slot):
                return False
            load[ASKED] += 1
    return True


@compiled
def _step(d: Device, s: Slots) -> None:
    _admit(d, s)
    tick(d)
    for slot in range(2):
        if _running(s, slot) and d.outstanding[slot] == 0:
            s.loads[slot, ENDED] = d.facts[CLOCK]


@compiled
def _begin(d: Device, s: Slots, slot: Int) -> None:
    """The load's requests come to the device, which has been brought to its start."""
    d.outstanding[slot] = PARTS * s.loads[slot, WORDS]
    other = slot ^ 1
    s.facts[ORDER] = other if _running(s, other) else slot
    _admit(d, s)


@compiled
def _advance(d: Device, m: Memory, s: Slots, clock: Int) -> None:
    """Cycles up to `clock`, loads included."""
    slot = s.facts[DEFERRED]
    if slot >= 0:
        words = s.words[slot, : s.loads[slot, WORDS]]
        end = end_if_known(d, m, words, s.loads[slot, STARTED])
        if 0 <= end <= clock:
            s.loads[slot, ENDED] = load_known(d, m, words, s.loads[slot, STARTED])
            s.facts[DEFERRED] = -1
            return
        forget_last(d, m)
        catch_up(d, s.loads[slot, STARTED] - 1)
        s.facts[DEFERRED] = -1
        _begin(d, s, slot)
    if not (_running(s, 0) or _running(s, 1)) and d.facts[WAITING] == 0:
        return
    refresh(d, m)
    while d.facts[CLOCK] < clock and (_running(s, 0) or _running(s, 1)):
        _step(d, s)
    if d.facts[CLOCK] < clock:
        catch_up(d, clock)


@compiled
def start(d: Device, m: Memory, s: Slots, slot: Int, words: Int, now: Int) -> None:
    """Starts the load of `s.words[slot, :words]`; the slot must be empty."""
    _advance(d, m, s, now - 1)
    load = s.loads[slot]
    load[WORDS], load[ASKED], load[STARTED], load[ENDED] = words, 0, now, -1
    if words and not _running(s, slot ^ 1) and d.facts[WAITING] == 0:
        s.facts[DEFERRED] = slot
    elif words:
        forget_last(d, m)
        catch_up(d, now - 1)
        _begin(d, s, slot)


@compiled
def wait(d: Device, m: Memory, s: Slots, slot: Int, now: Int) -> Int:
    """The time when a slot's load has ended and `now` is past; the slot is empty then."""
    if s.facts[DEFERRED] == slot:
        s.loads[slot, ENDED] = load_known(d, m, s.words[slot, : s.loads[slot, WORDS]], s.loads[slot, STARTED])
        s.facts[DEFERRED] = -1
    while _running(s, slot):
        _step(d, s)
    end = max(now, s.loads[slot, ENDED]) if s.loads[slot, WORDS] else now
    s.loads[slot, WORDS] = 0
    return end


@compiled
def store(d: Device, m: Memory, s: Slots, words: I64, now: Int) -> Int:
    """A store, word by word, whose requests queue behind those of the loads; the time when it is done."""
    _advance(d, m, s, now - 1)
    forget_last(d, m)
    catch_up(d, now - 1)
    for i in range(len(words)):
        d.outstanding[2] = PARTS
        asked = 0
        while True:
            if asked < PARTS and _admit(d, s):
                while asked < PARTS and offer(d, words[i] * PARTS + asked, 0, 2):
                    asked += 1
            if d.outstanding[2] == 0:
                break
            _step(d, s)
        written = 0
        while True:
            while written < PARTS and offer(d, words[i] * PARTS + written, 1, 2):
                written += 1
            if written == PARTS:
                break
            _step(d, s)
    return max(d.facts[CLOCK], now)
