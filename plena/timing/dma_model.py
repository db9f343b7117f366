"""Time of HBM transfers without running them: the target's latency and bandwidth model (plena_isa.md section 5.6).

Assumes rows that start on 64-byte words; the emulator counts the words really touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plena.assembly import AsmInstruction
from plena.dialects.plena_isa.spec import Cost, Kind, Mode
from plena.machine.constants import HBM_WORD
from plena.machine.number_formats import Mx, NumberFormat
from plena.machine.target import Target

_GP_WRITERS = {
    "S_ADD_INT": lambda a, b: a + b,
    "S_ADDI_INT": lambda a, b: a + b,
    "S_SUB_INT": lambda a, b: a - b,
    "S_MUL_INT": lambda a, b: a * b,
}


def load_picoseconds(number_format: NumberFormat, rows: int, pitch: int | None, target: Target) -> int:
    """Time of loading `rows` rows of VLEN elements `pitch` bytes apart; None = not known, taken as strided."""
    length = number_format.element_bytes(target.vlen)
    words = rows * (-(-length // HBM_WORD) + isinstance(number_format, Mx))
    gaps = 0 if pitch == length else rows - 1
    return target.dma_load_latency_ps + words * target.dma_load_word_ps + gaps * target.dma_load_gap_ps


def store_picoseconds(number_format: NumberFormat, rows: int, target: Target) -> int:
    """Time of storing `rows` rows of VLEN elements: every word is read and written back."""
    length = number_format.element_bytes(target.vlen)
    scales = number_format.scale_bytes(target.vlen)
    return rows * (-(-length // HBM_WORD) - (-scales // HBM_WORD)) * target.dma_store_word_ps


def transfer_picoseconds(
    mnemonic: str, precision: int, rstride: int, stride: int | None, target: Target
) -> int:
    """Time of one H_* instruction; `stride` is the content of STRIDE, None if not known."""
    pitch = stride if rstride == 1 else target.vlen
    match mnemonic:
        case "H_PREFETCH_M":
            number_format = target.precision["HBM_M_KV_TYPE" if precision else "HBM_M_WEIGHT_TYPE"]
            return load_picoseconds(number_format, target.m_prefetch_tiles * target.mlen, pitch, target)
        case "H_PREFETCH_V":
            number_format = target.precision["HBM_V_KV_TYPE" if precision else "HBM_V_ACT_TYPE"]
            return load_picoseconds(number_format, target.hbm_v_prefetch_amount, pitch, target)
        case "H_STORE_V":
            number_format = target.precision["HBM_V_KV_TYPE" if precision else "HBM_V_ACT_TYPE"]
            return store_picoseconds(number_format, target.hbm_v_writeback_amount, target)
        case _:
            return 0


def stream_picoseconds(instructions: Sequence[AsmInstruction], target: Target) -> NDArray[np.int64]:
    """Time of one execution of every instruction of a flat program, int64[n]; 0 where it is no transfer."""
    times = np.zeros(len(instructions), np.int64)
    if not any(i.spec.cost is Cost.HBM for i in instructions):
        return times
    strides = _Strides(_written_in_loops(instructions))
    memo: dict[tuple[str, int, int, int | None], int] = {}
    for position, instruction in enumerate(instructions):
        if instruction.spec.cost is Cost.HBM:
            rstride, precision = instruction.values[3:5]
            key = (instruction.mnemonic, precision, rstride, strides.stride)
            if key not in memo:
                memo[key] = transfer_picoseconds(*key, target)
            times[position] = memo[key]
        else:
            strides.step(position, instruction)
    return times


_STRIDE = 16
"""The sticky pitch register, numbered behind the gp registers."""


@dataclass(slots=True)
class _Strides:
    """Follows the constants in gp registers, to know what is in STRIDE; None = not known."""

    written_in_loop: dict[int, set[int]]
    cells: dict[int, int | None] = field(default_factory=lambda: {**dict.fromkeys(range(16), 0), _STRIDE: 1})

    @property
    def stride(self) -> int | None:
        return self.cells[_STRIDE]

    def step(self, position: int, instruction: AsmInstruction) -> None:
        values = instruction.values
        match instruction.mnemonic:
            case "C_SET_STRIDE_REG":
                self.cells[_STRIDE] = self.cells[values[0]]
            case "C_LOOP_START":
                self.cells.update(dict.fromkeys(self.written_in_loop.get(position, set())))
            case "S_LUI_INT":
                self.cells[values[0]] = values[1] << 12 & 0xFFFFFFFF
            case "S_ADD_INT" | "S_ADDI_INT" | "S_SUB_INT" | "S_MUL_INT" as mnemonic:
                a = self.cells[values[1]]
                b = values[2] if mnemonic == "S_ADDI_INT" else self.cells[values[2]]
                known = a is not None and b is not None
                self.cells[values[0]] = _GP_WRITERS[mnemonic](a, b) & 0xFFFFFFFF if known else None
            case "S_LD_INT" | "C_LOOP_END":
                self.cells[values[0]] = None
            case _:
                pass


def _written_in_loops(instructions: Sequence[AsmInstruction]) -> dict[int, set[int]]:
    """The registers that the body of each loop writes, by the position of its start."""
    written: dict[int, set[int]] = {}
    opened: list[int] = []
    for position, instruction in enumerate(instructions):
        mnemonic = instruction.mnemonic
        if mnemonic == "C_LOOP_START":
            opened.append(position)
            written[position] = set()
        if not opened:
            continue
        if mnemonic == "C_SET_STRIDE_REG":
            written[opened[-1]].add(_STRIDE)
        slots = instruction.spec.slots
        if slots and slots[0].kind is Kind.GP and Mode.WRITE in slots[0].mode:
            written[opened[-1]].add(instruction.values[0])
        if mnemonic == "C_LOOP_END":
            inner = opened.pop()
            if opened:
                written[opened[-1]] |= written[inner]
    return written
