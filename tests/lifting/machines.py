"""A small target and machines with random contents."""

from __future__ import annotations

import numpy as np

from plena.emulator import Machine
from plena.machine.target import Target

SMALL = Target().with_settings(
    {
        "MLEN": 8,
        "VLEN": 8,
        "BLEN": 4,
        "HLEN": 4,
        "BROADCAST_AMOUNT": 2,
        "MATRIX_SRAM_SIZE": 64,
        "VECTOR_SRAM_SIZE": 4096,
        "HBM_V_Prefetch_Amount": 2,
        "HBM_V_Writeback_Amount": 2,
        "HBM_M_Prefetch_Amount": 8,
        "HBM_SIZE": 1 << 16,
    }
)


def machine(target: Target = SMALL, seed: int = 0, int_sram: list[int] | None = None) -> Machine:
    """A machine with random contents in every memory the host can fill."""
    rng = np.random.default_rng(seed)
    made = Machine(
        target,
        hbm=rng.integers(0x30, 0x48, target.hbm_size, np.uint8),
        fp_sram=rng.uniform(-2, 2, 1024).astype(np.float16),
        int_sram=int_sram if int_sram is not None else (),
        vram=rng.uniform(-2, 2, target.vector_sram_size * target.vlen).astype(np.float32),
    )
    made.mram[:] = rng.uniform(-2, 2, made.mram.shape).astype(np.float32)
    return made
