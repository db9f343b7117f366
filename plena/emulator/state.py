"""The machine's state as the arrays that compiled kernels work on (plena_isa.md sections 1.3 and 1.4)."""

from __future__ import annotations

import mmap
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from plena.emulator.transfer_tables import TransferTables, transfer_tables
from plena.errors import EmulatorError, SettingsError
from plena.host.mapped_image import PAGE
from plena.integers import ceil_div
from plena.machine.scalar_codes import bf16_from_bits, bf16_round
from plena.machine.target import Target

F32: TypeAlias = NDArray[np.float32]
I64: TypeAlias = NDArray[np.int64]
U8: TypeAlias = NDArray[np.uint8]
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]

SCALE, STRIDE, V_MASK = 0, 1, 2
"""Positions in ``State.sticky``."""

BYTES_READ, BYTES_WRITTEN, DMA_PS = 0, 1, 2
"""Positions in ``State.traffic``."""

LOOP_PC, LOOP_REGISTER, LOOP_BEGAN, LOOP_ENTERED, LOOP_CYCLES = 0, 1, 2, 3, 4
"""Columns of ``State.loops``: the loop's START, its counter register, and the executed instructions when the
current iteration began; executed instructions and cycles when the loop was entered."""

_LAZY_BYTES = 1 << 24


class Sizes(NamedTuple):
    """The dimensions that kernels use, in the units of ``Target``."""

    mlen: int
    vlen: int
    blen: int
    hlen: int
    broadcast: int
    m_prefetch_tiles: int
    v_prefetch_rows: int
    v_writeback_rows: int
    max_loop_instructions: int
    load_latency_ps: int
    load_word_ps: int
    load_gap_ps: int
    store_word_ps: int


class State(NamedTuple):
    """Registers, memories and accumulators. bf16 data is kept as float32 that bf16 can hold exactly.

    ``*_bits`` are views of the same memory as uint32. ``vram[rows, VLEN]``, ``mram[tiles, MLEN, MLEN]`` (unrounded
    float32), ``acc_bmm[BROADCAST, MLEN, MLEN]`` with ``acc_bmm_rows`` and its bits as ``[BROADCAST * MLEN, MLEN]``;
    ``*_touched`` flags what was ever written, ``hbm_touched`` by pages, preloads apart. ``row`` and
    ``columns`` are scratch. ``facts`` takes the values that an abort message names.
    """

    gp: U32
    fp: F32
    fp_bits: U32
    hb: U64
    sticky: U32
    vram: F32
    vram_bits: U32
    vram_touched: U8
    mram: F32
    mram_touched: U8
    fp_sram: F32
    int_sram: U32
    hbm: U8
    hbm_touched: U8
    acc_mm: F32
    acc_mm_bits: U32
    acc_v: F32
    acc_v_bits: U32
    acc_bmm: F32
    acc_bmm_rows: F32
    acc_bmm_bits: U32
    acc_bmv: F32
    acc_bmv_bits: U32
    row: F32
    row_bits: U32
    columns: F32
    exponential: F32
    transfer: TransferTables
    traffic: I64
    facts: I64
    sizes: Sizes


def lazy_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """A zero array whose pages come into being when they are written, however large it is."""
    count = int(np.prod(shape, dtype=np.int64))
    size = count * np.dtype(dtype).itemsize
    if size < _LAZY_BYTES or not hasattr(mmap, "MAP_ANONYMOUS"):
        return np.zeros(shape, dtype)
    no_reserve: int = getattr(mmap, "MAP_NORESERVE", 0x4000)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
    return np.frombuffer(memory, dtype, count).reshape(shape)


@lru_cache(maxsize=1)
def _exponential() -> F32:
    """exp of every bf16 value, clamped to [-88, 88] and rounded to bf16 (section 2.7)."""
    with np.errstate(invalid="ignore"):
        arguments = bf16_from_bits(np.arange(1 << 16, dtype=np.uint16)).astype(np.float64)
        return bf16_round(np.exp(np.clip(arguments, -88.0, 88.0)).astype(np.float32))


def reset_state(target: Target) -> State:
    """All registers and memories at their reset values.

    Raises:
        SettingsError: MLEN, VLEN and BLEN do not fit together.
        EmulatorError: HBM_SIZE is not a multiple of 64.
    """
    if target.vlen != target.mlen or target.mlen % target.blen:
        raise SettingsError(
            f"VLEN must equal MLEN and BLEN divide it (MLEN = {target.mlen}, VLEN = {target.vlen}, "
            f"BLEN = {target.blen})",
            "emulator",
        )
    if target.hbm_size % 64:
        raise EmulatorError("hbm-size-not-64", f"HBM_SIZE = {target.hbm_size} is not a multiple of 64")
    fp = np.zeros(8, np.float32)
    vram: F32 = lazy_zeros((target.vector_sram_size, target.vlen), np.float32)
    row = np.zeros(max(target.vlen, 128), np.float32)
    acc_mm = np.zeros((target.blen, target.blen), np.float32)
    acc_v = np.zeros(target.blen, np.float32)
    shape = (target.broadcast_amount, target.mlen) if target.has_broadcast else (1, 1)
    acc_bmm = np.zeros((*shape, shape[1]), np.float32)
    acc_bmm_rows = acc_bmm.reshape(-1, shape[1])
    acc_bmv = np.zeros(shape, np.float32)
    return State(
        gp=np.zeros(16, np.uint32),
        fp=fp,
        fp_bits=fp.view(np.uint32),
        hb=np.zeros(16, np.uint64),
        sticky=np.array([0, 1, 0], np.uint32),
        vram=vram,
        vram_bits=vram.view(np.uint32),
        vram_touched=lazy_zeros((target.vector_sram_size,), np.uint8),
        mram=lazy_zeros((target.matrix_tiles, target.mlen, target.mlen), np.float32),
        mram_touched=np.zeros(target.matrix_tiles, np.uint8),
        fp_sram=np.zeros(target.fp_sram_size, np.float32),
        int_sram=np.zeros(target.int_sram_size, np.uint32),
        hbm=lazy_zeros((target.hbm_size,), np.uint8),
        hbm_touched=lazy_zeros((ceil_div(target.hbm_size, PAGE),), np.uint8),
        acc_mm=acc_mm,
        acc_mm_bits=acc_mm.view(np.uint32),
        acc_v=acc_v,
        acc_v_bits=acc_v.view(np.uint32),
        acc_bmm=acc_bmm,
        acc_bmm_rows=acc_bmm_rows,
        acc_bmm_bits=acc_bmm_rows.view(np.uint32),
        acc_bmv=acc_bmv,
        acc_bmv_bits=acc_bmv.view(np.uint32),
        row=row,
        row_bits=row.view(np.uint32),
        columns=np.zeros((target.hlen, target.mlen), np.float32),
        exponential=_exponential(),
        transfer=transfer_tables(target),
        traffic=np.zeros(3, np.int64),
        facts=np.zeros(3, np.int64),
        sizes=Sizes(
            target.mlen,
            target.vlen,
            target.blen,
            target.hlen,
            target.broadcast_amount,
            target.m_prefetch_tiles,
            target.hbm_v_prefetch_amount,
            target.hbm_v_writeback_amount,
            target.max_loop_instructions,
            target.dma_load_latency_ps,
            target.dma_load_word_ps,
            target.dma_load_gap_ps,
            target.dma_store_word_ps,
        ),
    )
