"""Which 64-byte words a transfer asks for."""

from __future__ import annotations

import numpy as np

from plena.jit import Int, compiled
from plena.machine.constants import HBM_WORD
from plena.timing.stream.integers import BASE, PITCH, REG_A, SCALE
from plena.timing.stream.lines import I64, LENGTH, RATIO, ROWS, SCALES


@compiled
def row_start(line: I64, event: I64, row: Int, pitch: Int) -> tuple[Int, Int]:
    """The first byte of a row's elements, and of its scales: offsets wrap at 32 bits, those of scales are computed in
    float32 (plena_isa.md section 5)."""
    ratio = line[RATIO]
    elements = event[BASE] + event[REG_A] + ((row * pitch) & 0xFFFFFFFF)
    if not ratio:
        return elements, 0
    first = event[BASE] + event[SCALE] + event[REG_A] // ratio
    return elements, first + np.int64(np.float32(row) * np.float32(np.float32(pitch) / np.float32(ratio)))


@compiled
def words_in_order(line: I64, event: I64, all_scales: bool, out: I64) -> Int:
    """The words of a transfer row by row, elements before scales, each as often as a row has part in it.

    Args:
        all_scales: whether all words of a row's scales are asked for, not the first one alone.
        out: filled with numbers of words.

    Returns:
        How many.
    """
    pitch = event[PITCH]
    count = 0
    for row in range(line[ROWS]):
        elements, scales = row_start(line, event, row, pitch)
        for word in range(elements // HBM_WORD, (elements + line[LENGTH] - 1) // HBM_WORD + 1):
            out[count] = word
            count += 1
        if line[RATIO]:
            length = line[SCALES] if all_scales else 1
            for word in range(scales // HBM_WORD, (scales + length - 1) // HBM_WORD + 1):
                out[count] = word
                count += 1
    return count


def most_words(lines: I64) -> int:
    """No transfer of a program asks for more words; lines that are none have no rows."""
    in_row = lines[:, LENGTH] // HBM_WORD + 2 + lines[:, SCALES] // HBM_WORD + 2
    return int((lines[:, ROWS] * in_row).max(initial=0))


@compiled
def is_known(line: I64, event: I64) -> bool:
    """Whether none of a transfer's addresses hangs on data."""
    if event[REG_A] < 0 or event[BASE] < 0 or event[PITCH] < 0:
        return False
    return line[RATIO] == 0 or event[SCALE] >= 0
