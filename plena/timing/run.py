"""A flat program as timing profiles see it: which instructions, how often, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from plena.assembly import Columns
from plena.dialects.derived import derived
from plena.dialects.plena_isa import OPCODES
from plena.errors import PlenaError
from plena.machine.target import Target


class HardwareLoop(Protocol):
    """A loop from the line `start` (its C_LOOP_START) to the line `end` (its C_LOOP_END), counted from 0."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def trips(self) -> int: ...


MOST_EXECUTIONS = 1 << 40
"""Dynamic instructions up to which 64-bit sums of picoseconds do not overflow."""


@derived
def _gp_writers() -> list[int]:
    """The opcodes that write a gp register."""
    return [opcode for opcode, spec in OPCODES.items() if spec.writes_gp]


MOST_SIMULATED = 100_000_000
"""Dynamic instructions up to which a program is simulated: a quarter of a minute."""


@dataclass(frozen=True, slots=True, eq=False)
class Registers:
    """Integers that a program begins with, all int64, -1 where nobody knows them; by default those of a reset and any
    words in INT SRAM.

    Attributes:
        gp: [16]. bases: [16], HBM addresses. sticky: [2], SCALE and STRIDE. int_sram: [words].
    """

    gp: NDArray[np.int64] = field(default_factory=lambda: np.zeros(16, np.int64))
    bases: NDArray[np.int64] = field(default_factory=lambda: np.zeros(16, np.int64))
    sticky: NDArray[np.int64] = field(default_factory=lambda: np.array([0, 1], np.int64))
    int_sram: NDArray[np.int64] = field(default_factory=lambda: np.full(Target.int_sram_size, -1, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A program of n lines with what its loops make of it; C_BREAK is taken to leave no loop early.

    Attributes:
        opcodes: uint8[n]; 0 for words that decode to nothing.
        values: int64[n, slots]; numbers in the operand slots of the assembly, 0 behind the last one.
        executions: int64[n]; how often each line runs, at most 2^40 in sum.
        loops: in the order of their starts.
        registers: what addresses are computed from, before the run.
    """

    opcodes: NDArray[np.uint8]
    values: NDArray[np.int64]
    executions: NDArray[np.int64]
    loops: Sequence[HardwareLoop]
    target: Target
    registers: Registers = field(default_factory=Registers)

    @staticmethod
    def of(table: Columns, loops: Sequence[HardwareLoop], target: Target) -> Run:
        """A program whose loops say how often each line runs, begun from reset.

        Raises:
            PlenaError: more than 2^40 dynamic instructions.
        """
        executions = np.ones(len(table.opcodes), np.int64)
        magnitude = np.ones(len(table.opcodes))
        for loop in loops:
            executions[loop.start + 1 : loop.end + 1] *= loop.trips
            magnitude[loop.start + 1 : loop.end + 1] *= loop.trips
        if magnitude.sum() > MOST_EXECUTIONS:
            raise PlenaError(f"the loops run {magnitude.sum():.1e} instructions, too many to count")
        return Run(table.opcodes, table.values, executions, loops, target)

    def with_zeros(self) -> Run:
        """The same with zeros in INT SRAM, where the host puts what addresses hang on: as good as any numbers for
        comparing programs that move the same data."""
        zeros = np.zeros(self.target.int_sram_size, np.int64)
        return replace(self, registers=replace(self.registers, int_sram=zeros))

    def unsimulated(self) -> str | None:
        """Why no simulation follows it, None if one can: it would take too long, or not end."""
        if int(self.executions.sum()) > MOST_SIMULATED:
            return f"more than {MOST_SIMULATED:,} instructions are not simulated"
        if any(self._writes_counter(loop) for loop in self.loops):
            return "it writes the counter of a loop"
        return None

    def _writes_counter(self, loop: HardwareLoop) -> bool:
        """Whether the body of a loop writes the register that it counts in, so that it runs another number of times."""
        body = slice(loop.start + 1, loop.end)
        same = self.values[body, 0] == self.values[loop.start, 0]
        return bool((same & np.isin(self.opcodes[body], _gp_writers())).any())

    def order(self) -> Iterator[int]:
        """The lines in the order they run, loops followed: as many as `executions` has in sum."""
        left = {loop.end: loop.trips - 1 for loop in self.loops if loop.trips > 1}
        starts = {loop.end: (loop.start, loop.trips - 1) for loop in self.loops if loop.trips > 1}
        line = 0
        while line < len(self.opcodes):
            yield line
            if not left.get(line, 0):
                if line in left:
                    left[line] = starts[line][1]
                line += 1
            else:
                left[line] -= 1
                line = starts[line][0] + 1
