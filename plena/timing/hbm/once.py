"""Transfers that ask for each word once: loads at once, stores that first read what they change in part."""

from __future__ import annotations

import numpy as np

from plena.jit import Int, compiled
from plena.machine.constants import HBM_WORD
from plena.timing.hbm.device import Device
from plena.timing.hbm.memory import Memory, forget_last, load_known
from plena.timing.hbm.serial import at_once
from plena.timing.hbm.words import row_start, words_in_order
from plena.timing.stream.integers import PITCH
from plena.timing.stream.lines import I64, LENGTH, RATIO, ROWS, SCALES


@compiled
def _distinct(words: I64) -> I64:
    words.sort()
    count = 0
    for i in range(len(words)):
        if count == 0 or words[count - 1] != words[i]:
            words[count] = words[i]
            count += 1
    return words[:count]


@compiled
def load_once(d: Device, m: Memory, line: I64, event: I64, words: I64, start: Int) -> Int:
    """The cycle when a load has ended; `words` is scratch."""
    return load_known(d, m, _distinct(words[: words_in_order(line, event, True, words)]), start)


@compiled
def _cover(covered: I64, words: I64, begin: Int, length: Int) -> None:
    """Marks the bytes of a range, one bit each."""
    for byte in range(begin, begin + length):
        at = np.searchsorted(words, byte // HBM_WORD)
        covered[at] |= np.int64(1) << (byte % HBM_WORD)


@compiled
def store_once(d: Device, m: Memory, line: I64, event: I64, words: I64, start: Int) -> Int:
    """The cycle when a store has ended: words that it changes in part are read before; `words` is scratch."""
    asked = _distinct(words[: words_in_order(line, event, True, words)])
    covered = np.zeros(len(asked), np.int64)
    for row in range(line[ROWS]):
        elements, scales = row_start(line, event, row, event[PITCH])
        _cover(covered, asked, elements, line[LENGTH])
        if line[RATIO]:
            _cover(covered, asked, scales, line[SCALES])
    forget_last(d, m)
    partial = asked[covered != -1]
    if len(partial):
        start = at_once(d, partial, 0, start)
    return at_once(d, asked, 1, start)
