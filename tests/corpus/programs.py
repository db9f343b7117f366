"""The corpus: assembly programs as a compiler or a person writes them, and the machine they run on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from plena.emulator import Machine
from plena.machine.target import Target

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.asm"))
TARGET = Target().with_settings({"VECTOR_SRAM_SIZE": 4096, "HBM_SIZE": 1 << 17})

TABLE = list(range(0, 8 * 768, 768))
TABLE_START = 400
PRELOADED = {"int": [(TABLE_START, TABLE_START + len(TABLE), 0, 1 << 16)]}
"""gather_rows.asm reads a table of byte offsets."""


def text(name: str) -> str:
    """The assembly text of a program."""
    return (FOLDER / f"{name}.asm").read_text(encoding="utf-8")


def machine(seed: int = 0) -> Machine:
    """A machine with random contents that hold no infinities, and the table in INT SRAM."""
    rng = np.random.default_rng(seed)
    words = [0] * TABLE_START + TABLE
    made = Machine(
        TARGET,
        hbm=rng.integers(0x30, 0x48, TARGET.hbm_size, np.uint8),
        fp_sram=rng.uniform(0.5, 2, 1024).astype(np.float16),
        int_sram=words,
        vram=rng.uniform(-2, 2, TARGET.vector_sram_size * TARGET.vlen).astype(np.float32),
    )
    made.mram[:8] = rng.uniform(-1, 1, made.mram[:8].shape).astype(np.float32)
    return made
