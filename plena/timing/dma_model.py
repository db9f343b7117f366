"""Time of HBM transfers without running them: the target's latency and bandwidth model (plena_isa.md section 5.6).

Assumes rows that start on 64-byte words; the emulator counts the words really touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plena.assembly import AsmInstruction
from plena.dialects.derived import derived
from plena.dialects.plena_isa import INSTRUCTIONS, InstructionSpec, Integer, Memory
from plena.machine.constants import HBM_WORD
from plena.machine.number_formats import Mx, NumberFormat
from plena.machine.target import Target

PICOSECONDS = 1000
"""In one cycle."""

_ARITHMETIC: dict[Integer, Callable[[int, int], int]] = {
    Integer.ADD: lambda a, b: a + b,
    Integer.SUBTRACT: lambda a, b: a - b,
    Integer.MULTIPLY: lambda a, b: a * b,
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
    transfer = INSTRUCTIONS[mnemonic].transfer
    if transfer is None:
        return 0
    number_format, rows = transfer.number_format(target, precision), transfer.rows(target)
    if not transfer.is_load:
        return store_picoseconds(number_format, rows, target)
    return load_picoseconds(number_format, rows, stride if rstride == 1 else target.vlen, target)


def stream_picoseconds(instructions: Sequence[AsmInstruction], target: Target) -> NDArray[np.int64]:
    """Time of one execution of every instruction of a flat program, int64[n]; 0 where it is no transfer."""
    times = np.zeros(len(instructions), np.int64)
    if not any(i.spec.transfer is not None for i in instructions):
        return times
    strides = _Strides(_written_in_loops(instructions))
    memo: dict[tuple[str, int, int, int | None], int] = {}
    for position, instruction in enumerate(instructions):
        if instruction.spec.transfer is not None:
            precision, rstride = (instruction.values[p] for p in _flag_places(instruction.mnemonic))
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
        spec, values, cells = instruction.spec, instruction.values, self.cells
        what = spec.integer
        if what is None:
            self._unfollowed(spec, values)
        elif what is Integer.ADD_IMMEDIATE:
            a = cells[values[1]]
            cells[values[0]] = None if a is None else (a + values[2]) & 0xFFFFFFFF
        elif what is Integer.SET_STICKY:
            if spec.may_write(Memory.STRIDE):
                cells[_STRIDE] = cells[values[0]]
        elif what is Integer.LOOP_START:
            cells.update(dict.fromkeys(self.written_in_loop.get(position, ())))
        elif what is Integer.LOAD_UPPER:
            cells[values[0]] = values[1] << 12 & 0xFFFFFFFF
        elif what in _ARITHMETIC:
            a, b = cells[values[1]], cells[values[2]]
            cells[values[0]] = None if a is None or b is None else _ARITHMETIC[what](a, b) & 0xFFFFFFFF
        elif spec.writes_gp:
            cells[values[0]] = None

    def _unfollowed(self, spec: InstructionSpec, values: tuple[int, ...]) -> None:
        if spec.writes_gp:
            self.cells[values[0]] = None
        if spec.may_write(Memory.STRIDE):
            self.cells[_STRIDE] = None


@derived
def _flag_places(mnemonic: str) -> tuple[int, int]:
    """Positions of the precision flag and the pitch flag among the slots of a transfer."""
    names = [slot.name for slot in INSTRUCTIONS[mnemonic].slots]
    return names.index("precision"), names.index("rstride")


def _written_in_loops(instructions: Sequence[AsmInstruction]) -> dict[int, set[int]]:
    """The registers that the body of each loop writes, by the position of its start."""
    written: dict[int, set[int]] = {}
    opened: list[int] = []
    for position, instruction in enumerate(instructions):
        spec = instruction.spec
        if spec.integer is Integer.LOOP_START:
            opened.append(position)
            written[position] = set()
        if not opened:
            continue
        if spec.may_write(Memory.STRIDE):
            written[opened[-1]].add(_STRIDE)
        if spec.writes_gp:
            written[opened[-1]].add(instruction.values[0])
        if spec.integer is Integer.LOOP_END:
            inner = opened.pop()
            if opened:
                written[opened[-1]] |= written[inner]
    return written
