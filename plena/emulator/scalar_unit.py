"""Kernels of the scalar unit (plena_isa.md section 3.6). f0 destinations never get here: they are no-ops."""

from __future__ import annotations

import numpy as np

from plena.emulator.aborts import FP_SRAM_RANGE, INT_SRAM_RANGE, OK
from plena.emulator.rounding import set_register
from plena.emulator.state import F32, I64, U32
from plena.jit import Int, compiled


@compiled
def word_address(gp: U32, base: Int, imm: Int) -> Int:
    """``gp[base] + imm`` modulo 2^32."""
    return (np.int64(gp[base]) + imm) & 0xFFFFFFFF


@compiled
def s_max_fp(fp: F32, dst: Int, a: Int, b: Int) -> None:
    """f[dst] = b if b > a else a: a NaN in ``b`` and a tie of zeros give ``a``."""
    fp[dst] = fp[b] if fp[b] > fp[a] else fp[a]


@compiled
def s_reci_fp(fp: F32, fp_bits: U32, dst: Int, a: Int) -> None:
    """f[dst] = 1 / f[a]."""
    set_register(fp, fp_bits, dst, np.float32(1) / fp[a])


@compiled
def s_sqrt_fp(fp: F32, fp_bits: U32, dst: Int, a: Int) -> None:
    """f[dst] = square root of f[a]."""
    set_register(fp, fp_bits, dst, np.sqrt(fp[a]))


@compiled
def s_exp_fp(fp: F32, fp_bits: U32, exponential: F32, dst: Int, a: Int) -> None:
    """f[dst] = exp(clamp(f[a], -88, 88))."""
    fp[dst] = exponential[fp_bits[a] >> np.uint32(16)]


@compiled
def s_ld_fp(fp: F32, fp_sram: F32, dst: Int, word: Int, facts: I64) -> Int:
    """f[dst] = FP SRAM word; also into f0."""
    if word >= fp_sram.shape[0]:
        facts[0] = word
        facts[1] = fp_sram.shape[0]
        return FP_SRAM_RANGE
    fp[dst] = fp_sram[word]
    return OK


@compiled
def s_st_fp(fp: F32, fp_sram: F32, src: Int, word: Int, facts: I64) -> Int:
    """FP SRAM word = f[src]."""
    if word >= fp_sram.shape[0]:
        facts[0] = word
        facts[1] = fp_sram.shape[0]
        return FP_SRAM_RANGE
    fp_sram[word] = fp[src]
    return OK


@compiled
def s_ld_int(gp: U32, int_sram: U32, dst: Int, word: Int, facts: I64) -> Int:
    """gp[dst] = INT SRAM word."""
    if word >= int_sram.shape[0]:
        facts[0] = word
        facts[1] = int_sram.shape[0]
        return INT_SRAM_RANGE
    gp[dst] = int_sram[word]
    return OK


@compiled
def s_st_int(gp: U32, int_sram: U32, src: Int, word: Int, facts: I64) -> Int:
    """INT SRAM word = gp[src]."""
    if word >= int_sram.shape[0]:
        facts[0] = word
        facts[1] = int_sram.shape[0]
        return INT_SRAM_RANGE
    int_sram[word] = gp[src]
    return OK
