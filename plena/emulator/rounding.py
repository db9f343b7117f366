"""Rounding to bf16 and bounds of vector rows, shared by all units (plena_isa.md sections 1.4 and 2.2)."""

from __future__ import annotations

import numpy as np

from plena.emulator.aborts import UNALIGNED_VRAM, VRAM_RANGE
from plena.emulator.state import F32, I64, U8, U32
from plena.jit import Float, Int, compiled

_ONE = np.uint32(1)
_HALF = np.uint32(16)
_BIAS = np.uint32(0x7FFF)
_UPPER = np.uint32(0xFFFF0000)
_SIGN = np.uint32(0x80000000)
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_INFINITY = np.uint32(0x7F800000)
_MANTISSA = np.uint32(0x007F0000)


@compiled
def round_bits(bits: Int) -> Int:
    """The bits of a float32 rounded to bf16; the mantissa of a NaN is rounded within its field."""
    rounded = np.uint32((bits + _BIAS + ((bits >> _HALF) & _ONE)) & _UPPER)
    if (bits & _MAGNITUDE) > _INFINITY:
        return np.uint32((bits & _SIGN) | _INFINITY | (rounded & _MANTISSA))
    return rounded


@compiled
def set_register(fp: F32, fp_bits: U32, index: Int, value: Float) -> None:
    """``fp[index] = bf16(value)``."""
    fp[index] = value
    fp_bits[index] = round_bits(fp_bits[index])


@compiled
def store_row(vram_bits: U32, touched: U8, row: Int, lane_bits: U32, vlen: Int) -> None:
    """Write a whole row of float32 lanes, given by their bits."""
    for lane in range(vlen):
        vram_bits[row, lane] = round_bits(lane_bits[lane])
    touched[row] = 1


@compiled
def row_of(address: Int, vlen: Int, rows: Int, facts: I64) -> Int:
    """The row at an element address, or minus the abort code."""
    row = address // vlen
    facts[0] = address
    if row * vlen != address:
        facts[1] = vlen
        return -UNALIGNED_VRAM
    if row >= rows:
        facts[1] = rows * vlen
        return -VRAM_RANGE
    return row


@compiled
def rows_of(address: Int, count: Int, vlen: Int, rows: Int, facts: I64) -> Int:
    """The first of ``count`` consecutive rows, or minus the abort code."""
    row = row_of(address, vlen, rows, facts)
    if row >= 0 and row + count > rows:
        facts[0] = rows * vlen
        facts[1] = rows * vlen
        return -VRAM_RANGE
    return row
