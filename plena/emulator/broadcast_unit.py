"""Kernels of the broadcast matrix products: all heads of a packed group at once (plena_isa.md section 3.4)."""

from __future__ import annotations

import numpy as np

from plena.emulator.aborts import MRAM_OFFSET, OK, WO_LANE
from plena.emulator.matrix_unit import tile_of
from plena.emulator.rounding import row_of, rows_of, store_row
from plena.emulator.state import F32, I64, U8, U32
from plena.jit import Int, compiled

SCALE = np.float32(0.25)
"""Factor on every broadcast product; no instruction can change it."""


@compiled
def _head_offset(mat: Int, hlen: Int, mlen: Int, facts: I64) -> Int:
    """The in-tile offset of the head, or minus the abort code."""
    offset = mat % (mlen * mlen)
    if offset >= mlen or offset % hlen:
        facts[0] = offset
        facts[1] = hlen
        facts[2] = mlen
        return -MRAM_OFFSET
    return offset


@compiled
def _transpose_head(mram: F32, columns: F32, tile: Int, offset: Int, hlen: Int, mlen: Int) -> None:
    """columns[d, c] = tile[c, offset + d]: outputs become contiguous."""
    for d in range(hlen):
        for c in range(mlen):
            columns[d, c] = mram[tile, c, offset + d]


@compiled
def _sum_fused(
    vram: F32, sums: F32, heads: F32, row: Int, first: Int, step: Int, hlen: Int, mlen: Int
) -> None:
    """sums[MLEN] = the lanes @ heads, every product added before it is rounded.

    float64 holds the product of a bf16 lane and a decoded element exactly, and its sum with a float32 whenever that is
    not far from a tie: rounding it to float32 is the one rounding of a fused multiply-add.
    """
    for c in range(mlen):
        total = np.float32(0)
        for d in range(hlen):
            product = np.float64(vram[row, first + d * step]) * np.float64(heads[d, c])
            total = np.float32(np.float64(total) + product)
        sums[c] = total


@compiled
def _any_not_finite(sums: F32, mlen: Int) -> bool:
    found = False
    for c in range(mlen):
        found |= not np.isfinite(sums[c])
    return found


@compiled
def _add_scaled(
    vram: F32,
    acc: F32,
    sums: F32,
    heads: F32,
    row: Int,
    first: Int,
    step: Int,
    hlen: Int,
    mlen: Int,
    is_fused: bool,
) -> None:
    """acc[MLEN] += 0.25 * (HLEN lanes first, first + step, ... of the row @ heads[HLEN, MLEN]).

    The machine's products of many rows are fused with the addition, which shows where a product alone is beyond the
    range of float32: then they are summed again in that way.
    """
    for c in range(mlen):
        sums[c] = np.float32(0)
    unrolled = hlen // 4 * 4
    for d in range(0, unrolled, 4):
        a0 = vram[row, first + d * step]
        a1 = vram[row, first + (d + 1) * step]
        a2 = vram[row, first + (d + 2) * step]
        a3 = vram[row, first + (d + 3) * step]
        for c in range(mlen):
            sums[c] = (
                ((sums[c] + a0 * heads[d, c]) + a1 * heads[d + 1, c]) + a2 * heads[d + 2, c]
            ) + a3 * heads[d + 3, c]
    for d in range(unrolled, hlen):
        a = vram[row, first + d * step]
        for c in range(mlen):
            sums[c] += a * heads[d, c]
    if is_fused and _any_not_finite(sums, mlen):
        _sum_fused(vram, sums, heads, row, first, step, hlen, mlen)
    for c in range(mlen):
        acc[c] += SCALE * sums[c]


@compiled
def m_btmm(
    vram: F32,
    mram: F32,
    acc: F32,
    sums: F32,
    columns: F32,
    mat: Int,
    vec: Int,
    hlen: Int,
    mlen: Int,
    facts: I64,
) -> Int:
    """M_BTMM: ACC_BMM[b] += 0.25 * lanes b*HLEN.. of MLEN rows @ (HLEN columns of the tile) transposed."""
    offset = _head_offset(mat, hlen, mlen, facts)
    if offset < 0:
        return -offset
    tile = tile_of(mat, mlen, mram.shape[0], facts)
    if tile < 0:
        return -tile
    row = rows_of(vec, mlen, mlen, vram.shape[0], facts)
    if row < 0:
        return -row
    _transpose_head(mram, columns, tile, offset, hlen, mlen)
    for b in range(acc.shape[0]):
        for r in range(mlen):
            _add_scaled(vram, acc[b, r], sums, columns, row + r, b * hlen, 1, hlen, mlen, True)
    return OK


@compiled
def m_bmm(
    vram: F32, mram: F32, acc: F32, sums: F32, mat: Int, vec: Int, hlen: Int, mlen: Int, facts: I64
) -> Int:
    """M_BMM: ACC_BMM[b] += 0.25 * lanes d*BROADCAST + b of MLEN rows @ HLEN rows of the tile."""
    offset = _head_offset(mat, hlen, mlen, facts)
    if offset < 0:
        return -offset
    tile = tile_of(mat, mlen, mram.shape[0], facts)
    if tile < 0:
        return -tile
    row = rows_of(vec, mlen, mlen, vram.shape[0], facts)
    if row < 0:
        return -row
    heads = mram[tile, offset : offset + hlen]
    broadcast = acc.shape[0]
    for b in range(broadcast):
        for r in range(mlen):
            _add_scaled(vram, acc[b, r], sums, heads, row + r, b, broadcast, hlen, mlen, True)
    return OK


@compiled
def m_btmv(
    vram: F32,
    mram: F32,
    acc: F32,
    sums: F32,
    columns: F32,
    mat: Int,
    vec: Int,
    hlen: Int,
    mlen: Int,
    facts: I64,
) -> Int:
    """M_BTMV: ACC_BMV[b] += 0.25 * lanes b*HLEN.. of one row @ (HLEN columns of the tile) transposed."""
    offset = _head_offset(mat, hlen, mlen, facts)
    if offset < 0:
        return -offset
    tile = tile_of(mat, mlen, mram.shape[0], facts)
    if tile < 0:
        return -tile
    row = row_of(vec, mlen, vram.shape[0], facts)
    if row < 0:
        return -row
    _transpose_head(mram, columns, tile, offset, hlen, mlen)
    for b in range(acc.shape[0]):
        _add_scaled(vram, acc[b], sums, columns, row, b * hlen, 1, hlen, mlen, False)
    return OK


@compiled
def write_out_rows(
    vram_bits: U32, touched: U8, acc: F32, acc_bits: U32, dst: Int, mlen: Int, facts: I64
) -> Int:
    """M_BMM_WO, M_BMV_WO: all accumulator rows ``acc[rows, MLEN]`` to consecutive rows; clears it."""
    if dst % mlen:
        facts[0] = dst % mlen
        facts[1] = mlen
        return WO_LANE
    row = rows_of(dst, acc.shape[0], mlen, vram_bits.shape[0], facts)
    if row < 0:
        return -row
    for i in range(acc.shape[0]):
        store_row(vram_bits, touched, row + i, acc_bits[i], mlen)
    acc[:, :] = np.float32(0)
    return OK
