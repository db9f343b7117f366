"""What every compiled simulation of a program works with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from plena.jit import source_stamp
from plena.machine.target import Target
from plena.timing.hbm.device import Device, new_device
from plena.timing.hbm.memory import Memory, new_memory
from plena.timing.hbm.words import most_words
from plena.timing.stream.integers import EVENT, SPAN
from plena.timing.stream.lines import I64

_FOLDER = Path(__file__).parent

STAMP = source_stamp(_FOLDER, [source_stamp(_FOLDER / name) for name in ("hbm", "stream")])
"""What entry points close over: it changes with any source that is linked into them."""


def event_buffer() -> I64:
    """Room for what `plena.timing.stream.integers.follow` makes at once."""
    return np.zeros((SPAN, EVENT), np.int64)


def word_buffer(lines: I64) -> I64:
    """Room for the words that the largest transfer of a program asks for."""
    return np.zeros(max(most_words(lines), 1), np.int64)


def fresh_device(target: Target, *, writes_complete: bool) -> tuple[Device, Memory]:
    """The HBM device of a machine before its first transfer, and the loads that are known: none."""
    channels = target.hbm_channels
    return new_device(channels, target.hbm_generation, writes_complete), new_memory(channels)
