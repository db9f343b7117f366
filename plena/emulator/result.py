"""What a run leaves behind and what it counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LoopCount:
    """What a hardware loop did in a run, inner loops included, DMA waits not."""

    iterations: int
    instructions: int
    cycles: int


@dataclass(frozen=True, repr=False, eq=False)
class EmulationResult:
    """The machine after a run, and what the run counted.

    Attributes:
        vram_bits: uint16 ``[rows, VLEN]``, bf16 bits.
        mram_bits: uint16 ``[tiles, MLEN, MLEN]``, bf16 bits of what the matrix memory dump shows.
        hbm: uint8 ``[HBM_SIZE]``; large memories are mapped lazily, look only at the parts you need.
        fp_sram_bits: uint16 ``[1024]``, bf16 bits.
        int_sram: uint32 ``[1024]``.
        gp, fp, hb: final registers: uint32 ``[16]``, float32 ``[8]`` holding bf16 values, uint64 ``[16]``.
        cycles: of all instructions but DMA, exact.
        dma_cycles: waits for HBM by the model stated in ``Target``.
        executed: dynamic instructions.
        counters: mnemonic -> dynamic instructions, only those that ran.
        hbm_bytes_read, hbm_bytes_written: 64 for each word access.
        loops: index of the C_LOOP_START -> what the loop did.
        executed_at: int64 ``[n]`` executions of each instruction.
        cycles_at: int64 ``[n]`` cycles of one execution of each instruction (0 for DMA).
        dma_cycles_at: float64 ``[n]`` DMA waits of each instruction over the run.
        hbm_written: pages of HBM (`plena.host.mapped_image.PAGE` bytes) that the run may have written, ascending.
        vram_touched: indices of the vector rows ever written, preload included.
        latency: cycles of the run with waits for HBM by timing profile, computed when they are asked for.
    """

    vram_bits: NDArray[np.uint16]
    mram_bits: NDArray[np.uint16]
    hbm: NDArray[np.uint8]
    fp_sram_bits: NDArray[np.uint16]
    int_sram: NDArray[np.uint32]
    gp: NDArray[np.uint32]
    fp: NDArray[np.float32]
    hb: NDArray[np.uint64]
    cycles: int
    dma_cycles: int
    executed: int
    counters: dict[str, int]
    hbm_bytes_read: int
    hbm_bytes_written: int
    loops: dict[int, LoopCount]
    executed_at: NDArray[np.int64]
    cycles_at: NDArray[np.int64]
    dma_cycles_at: NDArray[np.float64]
    hbm_written: NDArray[np.int64]
    vram_touched: NDArray[np.int64]
    latency: Mapping[str, int | None]

    def __repr__(self) -> str:
        return (
            f"EmulationResult(executed={self.executed}, cycles={self.cycles}, dma_cycles={self.dma_cycles}, "
            f"counters={self.counters})"
        )
