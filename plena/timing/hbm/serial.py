"""Transfers one at a time: which words they ask for, and when the last of them is there."""

from __future__ import annotations

import numpy as np

from plena.jit import Int, compiled
from plena.timing.hbm.device import CHANNELS, CLOCK, Device, catch_up, offer, place, tick
from plena.timing.stream.lines import I64

PARTS = 4
"""Requests of 16 bytes that a word is."""


@compiled
def load(d: Device, words: I64, start: Int) -> Int:
    """Reads words, all asked for at once, one after the other where the queues are full.

    Args:
        words: numbers of 64-byte words.
        start: the cycle when the transfer starts; it must not lie before the device's time. The device has had that
            cycle already if it is the one in which the transfer before ended.

    Returns:
        The cycle when the last word is there.
    """
    catch_up(d, start - 1)
    asked, total = 0, PARTS * len(words)
    d.outstanding[0] = total
    while True:
        while asked < total and offer(d, words[asked // PARTS] * PARTS + asked % PARTS, 0, 0):
            asked += 1
        if d.outstanding[0] == 0:
            return max(d.facts[CLOCK], start)
        tick(d)


@compiled
def store_word_by_word(d: Device, words: I64, start: Int) -> Int:
    """Reads each word, then hands over its four writes, before it goes on to the next; arguments of `load`."""
    catch_up(d, start - 1)
    for i in range(len(words)):
        d.outstanding[0] = PARTS
        asked = 0
        while True:
            while asked < PARTS and offer(d, words[i] * PARTS + asked, 0, 0):
                asked += 1
            if d.outstanding[0] == 0:
                break
            tick(d)
        written = 0
        while True:
            while written < PARTS and offer(d, words[i] * PARTS + written, 1, 1):
                written += 1
            if written == PARTS:
                break
            tick(d)
    return max(d.facts[CLOCK], start)


@compiled
def at_once(d: Device, words: I64, is_write: Int, start: Int) -> Int:
    """Words with a queue of their own for every channel, until all are done; arguments of `load`."""
    catch_up(d, start - 1)
    channels = d.facts[CHANNELS]
    total = PARTS * len(words)
    following = np.full(total, -1, np.int64)
    head, tail = np.full(channels, -1, np.int64), np.full(channels, -1, np.int64)
    for i in range(total):
        channel = place(words[i // PARTS] * PARTS + i % PARTS, channels)[0]
        if head[channel] < 0:
            head[channel] = i
        else:
            following[tail[channel]] = i
        tail[channel] = i
    d.outstanding[0] = total
    while True:
        for channel in range(channels):
            i = head[channel]
            while i >= 0 and offer(d, words[i // PARTS] * PARTS + i % PARTS, is_write, 0):
                i = following[i]
            head[channel] = i
        if d.outstanding[0] == 0:
            return max(d.facts[CLOCK], start)
        tick(d)
