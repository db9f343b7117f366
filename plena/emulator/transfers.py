"""Kernels of the HBM transfers (plena_isa.md section 5). Addresses and pitches are bytes."""

from __future__ import annotations

import numpy as np

from plena.emulator.aborts import (
    HBM_WRITE_RANGE,
    MRAM_RANGE,
    MRAM_UNALIGNED,
    OK,
)
from plena.emulator.kernels import Kernel
from plena.emulator.rounding import row_of, rows_of, store_row
from plena.emulator.state import (
    BYTES_READ,
    BYTES_WRITTEN,
    DMA_PS,
    F32,
    I64,
    SCALE,
    STRIDE,
    U8,
    U16,
    U32,
    Sizes,
    State,
)
from plena.emulator.transfer_tables import (
    BLOCK,
    ELEMENT_BYTES,
    M_WEIGHT,
    RATIO,
    SCALE_BYTES,
    V_ACT,
    TransferTables,
)
from plena.host.mapped_image import PAGE
from plena.jit import Int, compiled
from plena.machine.constants import HBM_WORD


@compiled
def _words(address: Int, length: Int) -> Int:
    """Words that cover ``length`` bytes."""
    if length == 0:
        return 0
    return np.int64((address % np.uint64(HBM_WORD)) + np.uint64(length - 1)) // HBM_WORD + 1


@compiled
def _byte(hbm: U8, address: Int) -> Int:
    """A byte of HBM; past the end reads zero."""
    if address >= np.uint64(hbm.shape[0]):
        return 0
    return np.int64(hbm[np.int64(address)])


@compiled
def _code(hbm: U8, address: Int, width: Int) -> Int:
    """A little-endian code of one or two bytes."""
    code = _byte(hbm, address)
    if width == 2:
        code |= _byte(hbm, address + np.uint64(1)) << 8
    return code


@compiled
def _scale(hbm: U8, first: Int, address: Int, width: Int) -> Int:
    """A scale code of a row whose scales start at ``first``: only that 64-byte word is fetched, the rest is 0."""
    code = 0
    for i in range(width):
        at = address + np.uint64(i)
        if at // np.uint64(HBM_WORD) == first // np.uint64(HBM_WORD):
            code |= _byte(hbm, at) << (8 * i)
    return code


@compiled
def _load_row(
    hbm: U8, layout: I64, element: F32, factor: F32, at: Int, scales: Int, out: F32, dim: Int
) -> None:
    """Decode one row of ``dim`` elements to float32."""
    block, width = layout[BLOCK], layout[ELEMENT_BYTES]
    if block == 0:
        for i in range(dim):
            out[i] = element[_code(hbm, at + np.uint64(i * width), width)]
        return
    inside = at < np.uint64(hbm.shape[0]) and np.uint64(hbm.shape[0]) - at >= np.uint64(dim * width)
    scale_width = layout[SCALE_BYTES]
    for b in range(dim // block):
        scale = factor[_scale(hbm, scales, scales + np.uint64(b * scale_width), scale_width)]
        first = b * block
        if inside and width == 1:
            base = np.int64(at) + first
            for i in range(block):
                out[first + i] = element[hbm[base + i]] * scale
        else:
            for i in range(first, first + block):
                out[i] = element[_code(hbm, at + np.uint64(i * width), width)] * scale


@compiled
def _store_row(
    hbm: U8,
    layout: I64,
    codes: U16,
    scale_codes: U16,
    inverse: F32,
    row: F32,
    row_bits: U32,
    y: F32,
    y_bits: U32,
    at: Int,
    scales: Int,
    dim: Int,
) -> None:
    """Encode one row of bf16 values; both ranges lie inside HBM."""
    block, width = layout[BLOCK], layout[ELEMENT_BYTES]
    if block == 0:
        for i in range(dim):
            _put(hbm, at + np.uint64(i * width), np.int64(codes[row_bits[i] >> np.uint32(16)]), width)
        return
    scale_width = layout[SCALE_BYTES]
    for b in range(dim // block):
        largest = np.uint32(0)
        for i in range(b * block, (b + 1) * block):
            magnitude = row_bits[i] & np.uint32(0x7FFFFFFF)
            if magnitude <= np.uint32(0x7F800000) and magnitude > largest:
                largest = magnitude
        prefix = largest >> np.uint32(16)
        _put(hbm, scales + np.uint64(b * scale_width), np.int64(scale_codes[prefix]), scale_width)
        for i in range(b * block, (b + 1) * block):
            index = 0
            if largest > 0:
                y[0] = row[i] * inverse[prefix]
                index = np.int64(y_bits[0] >> np.uint32(16))
                if index & 0x7FFF == 0 and y[0] != np.float32(0):
                    index |= 1
            _put(hbm, at + np.uint64(i * width), np.int64(codes[index]), width)


@compiled
def _put(hbm: U8, address: Int, code: Int, width: Int) -> None:
    """Write a little-endian code of one or two bytes."""
    hbm[np.int64(address)] = np.uint8(code & 0xFF)
    if width == 2:
        hbm[np.int64(address) + 1] = np.uint8(code >> 8)


@compiled
def _row_offset(row: Int, pitch: Int) -> Int:
    """Byte offset of an element row: wraps at 32 bits."""
    return np.uint64((row * pitch) & 0xFFFFFFFF)


@compiled
def _scale_offset(row: Int, pitch: Int, ratio: Int) -> Int:
    """Byte offset of a scale row: computed in float32 on the machine."""
    return np.uint64(np.float32(row) * np.float32(np.float32(pitch) / np.float32(ratio)))


@compiled
def _count_load(traffic: I64, sizes: Sizes, layout: I64, first: Int, rows: Int, pitch: Int, dim: Int) -> None:
    """Byte counters and time of a load of ``rows`` rows."""
    length = dim * layout[ELEMENT_BYTES]
    words = 0
    gaps = 0
    for i in range(rows):
        words += _words(first + _row_offset(i, pitch), length)
        if i > 0 and pitch != length:
            gaps += 1
    if layout[BLOCK] > 0:
        words += rows
    traffic[BYTES_READ] += words * HBM_WORD
    traffic[DMA_PS] += sizes.load_latency_ps + words * sizes.load_word_ps + gaps * sizes.load_gap_ps


@compiled
def h_prefetch_m(
    hbm: U8,
    mram: F32,
    touched: U8,
    transfer: TransferTables,
    kind: Int,
    traffic: I64,
    sizes: Sizes,
    dst: Int,
    offset: Int,
    base: Int,
    scale: Int,
    pitch: Int,
    facts: I64,
) -> Int:
    """H_PREFETCH_M: consecutive HBM rows to whole tiles, kept unrounded."""
    mlen = sizes.mlen
    tile = dst // (mlen * mlen)
    facts[0] = dst
    if tile * mlen * mlen != dst:
        facts[1] = mlen * mlen
        return MRAM_UNALIGNED
    if tile + sizes.m_prefetch_tiles > mram.shape[0]:
        facts[0] = max(dst, mram.shape[0] * mlen * mlen)
        facts[1] = mram.shape[0] * mlen * mlen
        return MRAM_RANGE
    layout = transfer.layout[kind]
    first = base + np.uint64(offset)
    scales = base + np.uint64(scale) + np.uint64(offset // layout[RATIO])
    rows = sizes.m_prefetch_tiles * mlen
    for i in range(rows):
        _load_row(
            hbm,
            layout,
            transfer.element[kind],
            transfer.factor[kind],
            first + _row_offset(i, pitch),
            scales + _scale_offset(i, pitch, layout[RATIO]),
            mram[tile + i // mlen, i % mlen],
            mlen,
        )
    for i in range(sizes.m_prefetch_tiles):
        touched[tile + i] = 1
    _count_load(traffic, sizes, layout, first, rows, pitch, mlen)
    return OK


@compiled
def h_prefetch_v(
    hbm: U8,
    vram_bits: U32,
    touched: U8,
    out: F32,
    out_bits: U32,
    transfer: TransferTables,
    kind: Int,
    traffic: I64,
    sizes: Sizes,
    dst: Int,
    offset: Int,
    base: Int,
    scale: Int,
    pitch: Int,
    facts: I64,
) -> Int:
    """H_PREFETCH_V: HBM rows to consecutive vector rows; rows past the end of the memory are dropped."""
    vlen = sizes.vlen
    row = row_of(dst, vlen, vram_bits.shape[0], facts)
    if row < 0:
        return -row
    layout = transfer.layout[kind]
    first = base + np.uint64(offset)
    scales = base + np.uint64(scale) + np.uint64(offset // layout[RATIO])
    for i in range(min(sizes.v_prefetch_rows, vram_bits.shape[0] - row)):
        _load_row(
            hbm,
            layout,
            transfer.element[kind],
            transfer.factor[kind],
            first + _row_offset(i, pitch),
            scales + _scale_offset(i, pitch, layout[RATIO]),
            out,
            vlen,
        )
        store_row(vram_bits, touched, row + i, out_bits, vlen)
    _count_load(traffic, sizes, layout, first, sizes.v_prefetch_rows, pitch, vlen)
    return OK


@compiled
def _touch(touched: U8, address: Int, length: Int) -> None:
    """Flags the pages of ``length`` bytes that are written."""
    if length == 0:
        return
    first = np.int64(address) // PAGE
    for page in range(first, (np.int64(address) + length - 1) // PAGE + 1):
        touched[page] = 1


@compiled
def _outside(address: Int, length: Int, size: Int, facts: I64) -> bool:
    """Whether a write of ``length`` bytes reaches past the end of HBM."""
    if address <= np.uint64(size) and np.uint64(length) <= np.uint64(size) - address:
        return False
    facts[0] = np.int64(address)
    facts[1] = length
    facts[2] = size
    return True


@compiled
def h_store_v(
    hbm: U8,
    touched: U8,
    vram: F32,
    vram_bits: U32,
    scratch: F32,
    scratch_bits: U32,
    transfer: TransferTables,
    kind: Int,
    traffic: I64,
    sizes: Sizes,
    src: Int,
    offset: Int,
    base: Int,
    scale: Int,
    pitch: Int,
    facts: I64,
) -> Int:
    """H_STORE_V: consecutive vector rows, quantised, to HBM rows; every touched word is read and written."""
    vlen, rows = sizes.vlen, sizes.v_writeback_rows
    if rows == 0:
        return OK
    row = rows_of(src, rows, vlen, vram.shape[0], facts)
    if row < 0:
        return -row
    layout = transfer.layout[kind]
    first = base + np.uint64(offset)
    scales = base + np.uint64(scale) + np.uint64(offset // layout[RATIO])
    length = vlen * layout[ELEMENT_BYTES]
    scale_length = 0 if layout[BLOCK] == 0 else vlen // layout[BLOCK] * layout[SCALE_BYTES]
    for i in range(rows):
        at = first + _row_offset(i, pitch)
        scales_at = scales + _scale_offset(i, pitch, layout[RATIO])
        if _outside(at, length, hbm.shape[0], facts) or (
            scale_length > 0 and _outside(scales_at, scale_length, hbm.shape[0], facts)
        ):
            return HBM_WRITE_RANGE
        _store_row(
            hbm,
            layout,
            transfer.code[kind],
            transfer.scale_code[kind],
            transfer.inverse[kind],
            vram[row + i],
            vram_bits[row + i],
            scratch,
            scratch_bits,
            at,
            scales_at,
            vlen,
        )
        _touch(touched, at, length)
        _touch(touched, scales_at, scale_length)
        words = _words(at, length) + _words(scales_at, scale_length)
        traffic[BYTES_READ] += words * HBM_WORD
        traffic[BYTES_WRITTEN] += words * HBM_WORD
        traffic[DMA_PS] += words * sizes.store_word_ps
    return OK


@compiled
def transfer(s: State, k: Int, rd: Int, rs1: Int, rs2: Int, rstride: Int, precision: Int) -> Int:
    """Any of the DMA instructions, with its fields."""
    dst, offset, base = np.int64(s.gp[rd]), np.int64(s.gp[rs1]), s.hb[rs2]
    scale = np.int64(s.sticky[SCALE])
    kind = (M_WEIGHT if k == Kernel.H_PREFETCH_M else V_ACT) + (precision != 0)
    pitch = np.int64(s.sticky[STRIDE]) if rstride == 1 else s.sizes.vlen
    if k == Kernel.H_PREFETCH_M:
        return h_prefetch_m(
            s.hbm,
            s.mram,
            s.mram_touched,
            s.transfer,
            kind,
            s.traffic,
            s.sizes,
            dst,
            offset,
            base,
            scale,
            pitch,
            s.facts,
        )
    if k == Kernel.H_PREFETCH_V:
        return h_prefetch_v(
            s.hbm,
            s.vram_bits,
            s.vram_touched,
            s.row,
            s.row_bits,
            s.transfer,
            kind,
            s.traffic,
            s.sizes,
            dst,
            offset,
            base,
            scale,
            pitch,
            s.facts,
        )
    return h_store_v(
        s.hbm,
        s.hbm_touched,
        s.vram,
        s.vram_bits,
        s.row,
        s.row_bits,
        s.transfer,
        kind,
        s.traffic,
        s.sizes,
        dst,
        offset,
        base,
        scale,
        pitch,
        s.facts,
    )
