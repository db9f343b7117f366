"""The maximum of rows as V_RED_MAX finds it, in NaN and the signs of zeros too (plena_isa.md section 3.5)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from plena.interpreters.tile_values import Floats

_WIDTH = 8
"""Lanes that libtorch compares side by side; shorter rows are compared one lane after the other."""


def row_maximum(blocks: Iterable[Floats], start: Floats) -> Floats:
    """The largest of ``start[rows]`` and the rows ``[rows, VLEN]`` of each block, in the order of the blocks.

    A row with a NaN is passed over, unless all there is so far is NaN.
    """
    result = start.copy()
    for block in blocks:
        largest = _largest(block)
        taken = ~(largest < result) & ~np.isnan(block).any(axis=1)
        result[taken] = largest[taken]
    return result


def _largest(rows: Floats) -> Floats:
    """The maximum of each row; of zeros of both signs the one that wins every tie as the later side."""
    width = _WIDTH if rows.shape[1] >= _WIDTH else 1
    whole = rows.shape[1] // width * width
    lanes = rows[:, :width].copy()
    for first in range(width, whole, width):
        lanes = _later(lanes, rows[:, first : first + width])
    rest = rows.shape[1] - whole
    lanes[:, :rest] = _later(lanes[:, :rest], rows[:, whole:])
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = _later(lanes[:, :half], lanes[:, half:])
    return lanes[:, 0]


def _later(a: Floats, b: Floats) -> Floats:
    return np.where(a > b, a, b)
