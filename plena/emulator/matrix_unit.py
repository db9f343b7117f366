"""Kernels of the plain matrix products and their write-outs (plena_isa.md section 3.4).

A product is summed over k ascending in float32 and then added to its accumulator.
"""

from __future__ import annotations

import numpy as np

from plena.emulator.aborts import MRAM_OFFSET, MRAM_RANGE, OK, WO_LANE
from plena.emulator.rounding import round_bits, row_of, rows_of
from plena.emulator.state import F32, I64, U8, U32
from plena.jit import Int, compiled


@compiled
def tile_of(address: Int, mlen: Int, tiles: Int, facts: I64) -> Int:
    """The tile that holds an element address, or minus the abort code."""
    tile = address // (mlen * mlen)
    if tile >= tiles:
        facts[0] = address
        facts[1] = tiles * mlen * mlen
        return -MRAM_RANGE
    return tile


@compiled
def _bad_offset(offset: Int, multiple: Int, limit: Int, facts: I64) -> Int:
    facts[0] = offset
    facts[1] = multiple
    facts[2] = limit
    return MRAM_OFFSET


@compiled
def _add_product_4(vram: F32, mram: F32, acc: F32, row: Int, tile: Int, column: Int, mlen: Int) -> None:
    """ACC += rows @ four columns of the tile, with the four sums in registers."""
    for i in range(4):
        s0 = s1 = s2 = s3 = np.float32(0)
        for k in range(mlen):
            a = vram[row + i, k]
            s0 += a * mram[tile, k, column]
            s1 += a * mram[tile, k, column + 1]
            s2 += a * mram[tile, k, column + 2]
            s3 += a * mram[tile, k, column + 3]
        acc[i, 0] += s0
        acc[i, 1] += s1
        acc[i, 2] += s2
        acc[i, 3] += s3


@compiled
def _add_transposed_4(vram: F32, mram: F32, acc: F32, row: Int, tile: Int, line: Int, mlen: Int) -> None:
    """ACC += rows @ four rows of the tile transposed."""
    for i in range(4):
        s0 = s1 = s2 = s3 = np.float32(0)
        for k in range(mlen):
            a = vram[row + i, k]
            s0 += a * mram[tile, line, k]
            s1 += a * mram[tile, line + 1, k]
            s2 += a * mram[tile, line + 2, k]
            s3 += a * mram[tile, line + 3, k]
        acc[i, 0] += s0
        acc[i, 1] += s1
        acc[i, 2] += s2
        acc[i, 3] += s3


@compiled
def add_row_product(
    vram: F32, mram: F32, acc: F32, sums: F32, row: Int, tile: Int, column: Int, blen: Int, mlen: Int
) -> None:
    """acc[BLEN] += one row @ BLEN columns of the tile."""
    for j in range(blen):
        sums[j] = np.float32(0)
    for k in range(mlen):
        a = vram[row, k]
        for j in range(blen):
            sums[j] += a * mram[tile, k, column + j]
    for j in range(blen):
        acc[j] += sums[j]


@compiled
def add_row_transposed(
    vram: F32, mram: F32, acc: F32, row: Int, tile: Int, line: Int, blen: Int, mlen: Int
) -> None:
    """acc[BLEN] += one row @ BLEN rows of the tile transposed."""
    for j in range(blen):
        total = np.float32(0)
        for k in range(mlen):
            total += vram[row, k] * mram[tile, line + j, k]
        acc[j] += total


@compiled
def m_mm(
    vram: F32, mram: F32, acc: F32, sums: F32, mat: Int, vec: Int, blen: Int, mlen: Int, facts: I64
) -> Int:
    """M_MM: ACC_MM += BLEN rows at ``vec`` @ BLEN columns from column (offset / MLEN) of the tile."""
    offset = mat % (mlen * mlen)
    if offset % (blen * mlen):
        return _bad_offset(offset, blen * mlen, mlen * mlen, facts)
    tile = tile_of(mat, mlen, mram.shape[0], facts)
    if tile < 0:
        return -tile
    row = rows_of(vec, blen, mlen, vram.shape[0], facts)
    if row < 0:
        return -row
    if blen == 4:
        _add_product_4(vram, mram, acc, row, tile, offset // mlen, mlen)
    else:
        for i in range(blen):
            add_row_product(vram, mram, acc[i], sums, row + i, tile, offset // mlen, blen, mlen)
    return OK


@compiled
def m_tmm(vram: F32, mram: F32, acc: F32, vec: Int, mat: Int, blen: Int, mlen: Int, facts: I64) -> Int:
    """M_TMM: ACC_MM += BLEN rows at ``vec`` @ BLEN rows from row (offset / MLEN) of the tile, transposed."""
    offset = mat % (mlen * mlen)
    if offset % (blen * mlen):
        return _bad_offset(offset, blen * mlen, mlen * mlen, facts)
    tile = tile_of(mat, mlen, mram.shape[0], facts)
    if tile < 0:
        return -tile
    row = rows_of(vec, blen, mlen, vram.shape[0], facts)
    if row < 0:
        return -row
    if blen == 4:
        _add_transposed_4(vram, mram, acc, row, tile, offset // mlen, mlen)
    else:
        for i in range(blen):
            add_row_transposed(vram, mram, acc[i], row + i, tile, offset // mlen, blen, mlen)
    return OK


@compiled
def m_mv(
    vram: F32, mram: F32, acc: F32, sums: F32, mat: Int, vec: Int, blen: Int, mlen: Int, facts: I64
) -> Int:
    """M_MV: ACC_V += the row at ``vec`` @ BLEN columns; the offset counts columns, unlike that of M_MM."""
    offset = mat % (mlen * mlen)
    if offset % blen or offset >= mlen:
        return _bad_offset(offset, blen, mlen, facts)
    tile = tile_of(mat, mlen, mram.shape[0], facts)
    if tile < 0:
        return -tile
    row = row_of(vec, mlen, vram.shape[0], facts)
    if row < 0:
        return -row
    add_row_product(vram, mram, acc, sums, row, tile, offset, blen, mlen)
    return OK


@compiled
def m_tmv(vram: F32, mram: F32, acc: F32, mat: Int, vec: Int, blen: Int, mlen: Int, facts: I64) -> Int:
    """M_TMV: ACC_V += the row at ``vec`` @ the first BLEN rows of the tile, transposed."""
    if mat % (mlen * mlen):
        return _bad_offset(mat % (mlen * mlen), mlen * mlen, mlen * mlen, facts)
    tile = tile_of(mat, mlen, mram.shape[0], facts)
    if tile < 0:
        return -tile
    row = row_of(vec, mlen, vram.shape[0], facts)
    if row < 0:
        return -row
    add_row_transposed(vram, mram, acc, row, tile, 0, blen, mlen)
    return OK


@compiled
def m_mm_wo(
    vram_bits: U32,
    touched: U8,
    acc: F32,
    acc_bits: U32,
    dst: Int,
    stride: Int,
    blen: Int,
    mlen: Int,
    facts: I64,
) -> Int:
    """M_MM_WO: ACC_MM to a BLEN x BLEN block at ``dst``, rows ``stride`` rows apart; clears ACC_MM."""
    lane = dst % mlen
    if lane % blen:
        facts[0] = lane
        facts[1] = blen
        return WO_LANE
    for i in range(blen):
        address = (dst - lane + i * stride * mlen) & 0xFFFFFFFF
        row = row_of(address, mlen, vram_bits.shape[0], facts)
        if row < 0:
            return -row
        for j in range(blen):
            vram_bits[row, lane + j] = round_bits(acc_bits[i, j])
        touched[row] = 1
    acc[:, :] = np.float32(0)
    return OK


@compiled
def m_mv_wo(
    vram_bits: U32, touched: U8, acc: F32, acc_bits: U32, dst: Int, blen: Int, mlen: Int, facts: I64
) -> Int:
    """M_MV_WO: ACC_V to BLEN lanes at ``dst``; clears ACC_V."""
    lane = dst % mlen
    if lane % blen:
        facts[0] = lane
        facts[1] = blen
        return WO_LANE
    row = row_of(dst - lane, mlen, vram_bits.shape[0], facts)
    if row < 0:
        return -row
    for j in range(blen):
        vram_bits[row, lane + j] = round_bits(acc_bits[j])
    touched[row] = 1
    acc[:] = np.float32(0)
    return OK
