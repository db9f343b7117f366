"""Kernels of the lane-wise vector instructions (plena_isa.md section 3.5).

All lanes are computed into a scratch row before the destination is written, so rows may alias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from plena.emulator.aborts import FP_SRAM_RANGE, OK
from plena.emulator.rounding import row_of, store_row
from plena.emulator.state import F32, I64, U8, U32
from plena.jit import Float, Int, compiled

_LOW = np.float32(-88)
_HIGH = np.float32(88)


@compiled
def _add(a: Float, b: Float) -> Float:
    return a + b


@compiled
def _sub(a: Float, b: Float) -> Float:
    return a - b


@compiled
def _sub_reversed(a: Float, b: Float) -> Float:
    return -(a - b)


@compiled
def _mul(a: Float, b: Float) -> Float:
    return a * b


@compiled
def _max(a: Float, f: Float) -> Float:
    """The larger; a NaN on either side wins, and ``a`` wins a tie of zeros."""
    return f if a < f or np.isnan(f) else a


@compiled
def _min(a: Float, f: Float) -> Float:
    return f if a > f or np.isnan(f) else a


@compiled
def head_selected(mask: Int, head: Int) -> bool:
    """Whether V_MASK enables a head; heads above 31 share bits."""
    return mask >> (head & 31) & 1 == 1


def _vector_vector(op: Callable[[Float, Float], Float]) -> Callable[..., Any]:
    @compiled
    def run(
        vram: F32,
        vram_bits: U32,
        touched: U8,
        out: F32,
        out_bits: U32,
        dst: Int,
        a: Int,
        b: Int,
        masked: Int,
        mask: Int,
        hlen: Int,
        vlen: Int,
        facts: I64,
    ) -> Int:
        row_a = row_of(a, vlen, vram.shape[0], facts)
        if row_a < 0:
            return -row_a
        row_b = row_of(b, vlen, vram.shape[0], facts)
        if row_b < 0:
            return -row_b
        row = row_of(dst, vlen, vram.shape[0], facts)
        if row < 0:
            return -row
        if masked == 0:
            for lane in range(vlen):
                out[lane] = op(vram[row_a, lane], vram[row_b, lane])
        else:
            for lane in range(vlen):
                out[lane] = vram[row_a, lane]
            for head in range(vlen // hlen):
                if head_selected(mask, head):
                    for lane in range(head * hlen, (head + 1) * hlen):
                        out[lane] = op(vram[row_a, lane], vram[row_b, lane])
        store_row(vram_bits, touched, row, out_bits, vlen)
        return OK

    return run


def _vector_scalar(op: Callable[[Float, Float], Float]) -> Callable[..., Any]:
    @compiled
    def run(
        vram: F32,
        vram_bits: U32,
        touched: U8,
        out: F32,
        out_bits: U32,
        dst: Int,
        a: Int,
        f: Float,
        masked: Int,
        mask: Int,
        hlen: Int,
        vlen: Int,
        facts: I64,
    ) -> Int:
        row_a = row_of(a, vlen, vram.shape[0], facts)
        if row_a < 0:
            return -row_a
        row = row_of(dst, vlen, vram.shape[0], facts)
        if row < 0:
            return -row
        if masked == 0:
            for lane in range(vlen):
                out[lane] = op(vram[row_a, lane], f)
        else:
            for lane in range(vlen):
                out[lane] = vram[row_a, lane]
            for head in range(vlen // hlen):
                if head_selected(mask, head):
                    for lane in range(head * hlen, (head + 1) * hlen):
                        out[lane] = op(vram[row_a, lane], f)
        store_row(vram_bits, touched, row, out_bits, vlen)
        return OK

    return run


v_add_vv = _vector_vector(_add)
v_sub_vv = _vector_vector(_sub)
v_mul_vv = _vector_vector(_mul)
v_add_vf = _vector_scalar(_add)
v_sub_vf = _vector_scalar(_sub)
v_sub_vf_reversed = _vector_scalar(_sub_reversed)
v_mul_vf = _vector_scalar(_mul)
v_max_vf = _vector_scalar(_max)
v_min_vf = _vector_scalar(_min)


@compiled
def v_exp_v(
    vram: F32,
    vram_bits: U32,
    touched: U8,
    out: F32,
    out_bits: U32,
    exponential: F32,
    dst: Int,
    a: Int,
    masked: Int,
    mask: Int,
    hlen: Int,
    vlen: Int,
    facts: I64,
) -> Int:
    """V_EXP_V; masked, the lanes that are not selected are written clamped to [-88, 88]."""
    row_a = row_of(a, vlen, vram.shape[0], facts)
    if row_a < 0:
        return -row_a
    row = row_of(dst, vlen, vram.shape[0], facts)
    if row < 0:
        return -row
    for lane in range(vlen):
        if masked == 0 or (lane < vlen // hlen * hlen and head_selected(mask, lane // hlen)):
            out[lane] = exponential[vram_bits[row_a, lane] >> np.uint32(16)]
        else:
            value = vram[row_a, lane]
            if value < _LOW:
                value = _LOW
            elif value > _HIGH:
                value = _HIGH
            out[lane] = value
    store_row(vram_bits, touched, row, out_bits, vlen)
    return OK


@compiled
def v_reci_v(
    vram: F32,
    vram_bits: U32,
    touched: U8,
    out: F32,
    out_bits: U32,
    dst: Int,
    a: Int,
    masked: Int,
    mask: Int,
    hlen: Int,
    vlen: Int,
    facts: I64,
) -> Int:
    """V_RECI_V: 1 / a, also of zeros."""
    row_a = row_of(a, vlen, vram.shape[0], facts)
    if row_a < 0:
        return -row_a
    row = row_of(dst, vlen, vram.shape[0], facts)
    if row < 0:
        return -row
    if masked == 0:
        for lane in range(vlen):
            out[lane] = np.float32(1) / vram[row_a, lane]
    else:
        for lane in range(vlen):
            out[lane] = vram[row_a, lane]
        for head in range(vlen // hlen):
            if head_selected(mask, head):
                for lane in range(head * hlen, (head + 1) * hlen):
                    out[lane] = np.float32(1) / vram[row_a, lane]
    store_row(vram_bits, touched, row, out_bits, vlen)
    return OK


@compiled
def v_shft_v(
    vram: F32,
    vram_bits: U32,
    touched: U8,
    out: F32,
    out_bits: U32,
    dst: Int,
    a: Int,
    amount: Int,
    vlen: Int,
    facts: I64,
) -> Int:
    """V_SHFT_V: lanes move up by ``amount``, zeros come in below."""
    row_a = row_of(a, vlen, vram.shape[0], facts)
    if row_a < 0:
        return -row_a
    row = row_of(dst, vlen, vram.shape[0], facts)
    if row < 0:
        return -row
    shift = min(amount, vlen)
    for lane in range(shift):
        out[lane] = np.float32(0)
    for lane in range(shift, vlen):
        out[lane] = vram[row_a, lane - shift]
    store_row(vram_bits, touched, row, out_bits, vlen)
    return OK


@compiled
def s_map_v_fp(vram: F32, vram_touched: U8, fp_sram: F32, dst: Int, word: Int, vlen: Int, facts: I64) -> Int:
    """S_MAP_V_FP: VLEN words of FP SRAM to a row."""
    if word + vlen > fp_sram.shape[0]:
        facts[0] = word + vlen - 1
        facts[1] = fp_sram.shape[0]
        return FP_SRAM_RANGE
    row = row_of(dst, vlen, vram.shape[0], facts)
    if row < 0:
        return -row
    for lane in range(vlen):
        vram[row, lane] = fp_sram[word + lane]
    vram_touched[row] = 1
    return OK
