"""Kernels of row reductions and expert ranking (plena_isa.md sections 2.7 and 3.5)."""

from __future__ import annotations

import math

import numpy as np

from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.emulator.aborts import FP_SRAM_RANGE, INT_SRAM_RANGE, OK
from plena.emulator.rounding import round_bits, row_of, set_register
from plena.emulator.state import F32, I64, U32
from plena.emulator.vector_unit import head_selected
from plena.jit import Float, Int, compiled

_SHAPES = tuple(TOPK_SHAPES[policy] for policy in range(len(TOPK_SHAPES)))
"""Experts and how many are kept, by policy."""

_WIDTH = 8
"""Lanes that libtorch sums side by side; rows shorter than this are summed one lane at a time."""


@compiled
def _ceil_log2(n: Int) -> Int:
    bits = 0
    while (1 << bits) < n:
        bits += 1
    return bits


@compiled
def _sum_groups(x: F32, groups: Int, width: Int, partial: F32) -> None:
    """partial[4 * width] = sums of ``groups`` consecutive groups of 4 * width values, in a cascade of 4 levels."""
    lanes = 4 * width
    power = max(4, _ceil_log2(groups) // 4)
    step = 1 << power
    levels = np.zeros((4, lanes), np.float32)
    i = 0
    while i + step <= groups:
        for _ in range(step):
            for lane in range(lanes):
                levels[0, lane] += x[i * lanes + lane]
            i += 1
        for level in range(1, 4):
            for lane in range(lanes):
                levels[level, lane] += levels[level - 1, lane]
                levels[level - 1, lane] = np.float32(0)
            if i & ((step - 1) << (level * power)):
                break
    while i < groups:
        for lane in range(lanes):
            levels[0, lane] += x[i * lanes + lane]
        i += 1
    for lane in range(lanes):
        partial[lane] = ((levels[0, lane] + levels[1, lane]) + levels[2, lane]) + levels[3, lane]


@compiled
def row_sum(x: F32, n: Int) -> Float:
    """Float32 sum of ``x[:n]`` in the order of libtorch's vectorised cascade."""
    width = _WIDTH if n >= _WIDTH else 1
    vectors = n // width
    groups = vectors // 4
    partial = np.zeros(4 * width, np.float32)
    _sum_groups(x, groups, width, partial)
    for i in range(4 * groups, vectors):
        for lane in range(width):
            partial[lane] += x[i * width + lane]
    for part in range(1, 4):
        for lane in range(width):
            partial[lane] += partial[part * width + lane]
    total = np.float32(0)
    for i in range(width * vectors, n):
        total += x[i]
    for lane in range(width):
        total += partial[lane]
    return total


@compiled
def v_red_sum(
    vram: F32,
    fp: F32,
    fp_bits: U32,
    scratch: F32,
    acc: Int,
    a: Int,
    masked: Int,
    mask: Int,
    hlen: Int,
    vlen: Int,
    facts: I64,
) -> Int:
    """V_RED_SUM: f[acc] += sum of the row. Masked, each selected head counts HLEN times (a defect kept)."""
    row = row_of(a, vlen, vram.shape[0], facts)
    if row < 0:
        return -row
    if masked == 0:
        total = row_sum(vram[row], vlen)
    else:
        for lane in range(vlen):
            scratch[lane] = vram[row, lane]
        for head in range(vlen // hlen):
            if head_selected(mask, head):
                head_sum = row_sum(vram[row, head * hlen : (head + 1) * hlen], hlen)
                for lane in range(head * hlen, (head + 1) * hlen):
                    scratch[lane] = head_sum
        total = row_sum(scratch, vlen)
    set_register(fp, fp_bits, acc, fp[acc] + total)
    return OK


@compiled
def _largest_zero(row: F32, vlen: Int) -> Float:
    """The zero that libtorch's maximum of a row gives when zeros of both signs are largest.

    It compares 8 lanes side by side, then halves; on a tie the later side wins each time. So of every column of 8 its
    last zero counts, and of the columns the first with a zero in the order 7, 3, 5, 1, 6, 2, 4, 0.
    """
    width = _WIDTH if vlen >= _WIDTH else 1
    for place in range(width):
        lane = 0
        for bit in range(3):
            lane |= (~place >> bit & 1) << (2 - bit)
        if width == 1:
            lane = 0
        last = lane + (vlen - 1 - lane) // width * width
        while last >= 0:
            if row[last] == np.float32(0):
                return row[last]
            last -= width
    return np.float32(0)


@compiled
def v_red_max(vram: F32, fp: F32, acc: Int, a: Int, vlen: Int, facts: I64) -> Int:
    """V_RED_MAX: f[acc] = max(f[acc], row). A NaN on one side is ignored; the row wins a tie of zeros."""
    row = row_of(a, vlen, vram.shape[0], facts)
    if row < 0:
        return -row
    largest = vram[row, 0]
    for lane in range(vlen):
        value = vram[row, lane]
        if np.isnan(value):
            return OK
        if not value <= largest:
            largest = value
    if largest == np.float32(0):
        largest = _largest_zero(vram[row], vlen)
    if not largest < fp[acc]:
        fp[acc] = largest
    return OK


@compiled
def _rank_key(bits: Int) -> Int:
    """An integer that orders float32 bits as IEEE total order does; NaN ranks as minus infinity."""
    if bits & 0x7FFFFFFF > 0x7F800000:
        bits = 0xFF800000
    return bits if bits < 0x80000000 else 0x7FFFFFFF - bits


@compiled
def v_topk(
    vram: F32,
    vram_bits: U32,
    fp_sram: F32,
    int_sram: U32,
    row_bits: U32,
    scratch: F32,
    fp_base: Int,
    logits: Int,
    int_base: Int,
    policy: Int,
    vlen: Int,
    facts: I64,
) -> Int:
    """V_TOPK: ids of the best experts to INT SRAM, their softmax weights to FP SRAM."""
    experts, kept = _SHAPES[policy]
    keys = np.empty(experts, np.int64)
    values = np.empty(experts, np.float32)
    for expert in range(experts):
        row = row_of((logits + expert // vlen * vlen) & 0xFFFFFFFF, vlen, vram.shape[0], facts)
        if row < 0:
            return -row
        keys[expert] = _rank_key(np.int64(vram_bits[row, expert % vlen]))
        value = vram[row, expert % vlen]
        values[expert] = -np.float32(np.inf) if np.isnan(value) else value
    order = np.empty(kept, np.int64)
    weights = np.empty(kept, np.float32)
    for i in range(kept):
        best = 0
        for expert in range(experts):
            if keys[expert] > keys[best]:
                best = expert
        order[i] = best
        keys[best] = -(1 << 62)
    total = np.float32(0)
    for i in range(kept):
        difference = values[order[i]] - values[order[0]]
        weights[i] = np.float32(math.exp(np.float64(difference)))
        total += weights[i]
    usable = np.isfinite(total) and total > 0
    for i in range(kept):
        word = (int_base + i) & 0xFFFFFFFF
        if word >= int_sram.shape[0]:
            facts[0] = word
            facts[1] = int_sram.shape[0]
            return INT_SRAM_RANGE
        int_sram[word] = order[i]
    for i in range(kept):
        word = (fp_base + i) & 0xFFFFFFFF
        if word >= fp_sram.shape[0]:
            facts[0] = word
            facts[1] = fp_sram.shape[0]
            return FP_SRAM_RANGE
        scratch[0] = weights[i] / total if usable else np.float32(0)
        row_bits[0] = round_bits(row_bits[0])
        fp_sram[word] = scratch[0]
    return OK
