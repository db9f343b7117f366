"""What a timing profile is: a table from cost keys to formulas, or a simulation of the instructions in their order.

Both kinds have a name, a line for documentation, cycles of a single instruction (`cycles`: kernels and the loop choice
compare code that does not exist yet) and cycles of a program (`line_cycles`: everything that is reported, and the last
word when lowered programs are compared).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plena.dialects.plena_isa import INSTRUCTIONS, OPCODES
from plena.dialects.plena_isa.sizes import NO_FIELDS, Fields
from plena.dialects.plena_isa.spec import Cost, InstructionSpec, Kind
from plena.errors import PlenaError
from plena.machine.target import Target
from plena.timing.latencies import Formula
from plena.timing.recorder import Recorder
from plena.timing.run import Run
from plena.timing.work import Work

MOST_CYCLES = 1 << 62
"""Cycles of a program from which it is refused: int64 counts them."""


@dataclass(frozen=True, eq=False)
class TableProfile:
    """Instructions one after the other, each with its own cycles; waits for HBM are apart.

    Attributes:
        summary: what its cycles are, without a full stop.
        table: a formula for every cost key.
        skips_f0: scalar FP operations and reductions into f0 are free no-ops.
        unsupported: mnemonics that it has cycles for, but that its machine does not execute right.
        overlaps: whether transfers run beside other instructions; here never.
        beside_products: whether they run beside products; here never.

    Raises:
        PlenaError: the table lacks a cost key.
    """

    name: str
    summary: str
    table: Mapping[Cost, Formula] = field(repr=False)
    skips_f0: bool = False
    unsupported: Callable[[Target], frozenset[str]] = field(default=lambda _: frozenset(), repr=False)
    overlaps: ClassVar[bool] = False
    beside_products: ClassVar[bool] = False
    work: ClassVar[None] = None

    def __post_init__(self) -> None:
        missing = [cost.name for cost in Cost if cost not in self.table]
        if missing:
            raise PlenaError(
                f"it has no formula for {', '.join(missing)}",
                f"timing profile {self.name}",
                "Start from LATENCIES of plena.timing.latencies, or from the table of another profile.",
            )

    @property
    def missing(self) -> tuple[str, ...]:
        """Mnemonics that it has no cycles for: none."""
        return ()

    def missing_in(self, run: Run) -> tuple[str, ...]:
        """No instruction is without a formula."""
        return ()

    def cycles(
        self, spec: InstructionSpec, target: Target, *, rd: int = 1, fields: Fields = NO_FIELDS
    ) -> int:
        """Cycles of one execution of an instruction.

        Args:
            rd: the destination field: 0 is f0 where it names a scalar FP register.
            fields: the numbers in flag slots, 0 where not given.
        """
        if self.skips_f0 and spec.free_if_f0 and rd == 0:
            return 0
        return self.table[spec.cost](target, _work(spec, target, fields))

    def line_cycles(self, run: Run) -> NDArray[np.int64]:
        """Cycles of each line over the whole run, int64[n].

        Raises:
            PlenaError: more cycles than can be counted.
        """
        once = self.once(run)
        if (run.executions.astype(np.float64) * once).sum() > MOST_CYCLES:
            raise PlenaError("the loops take more cycles than can be counted")
        return run.executions * once

    def line_latency(self, run: Run) -> NDArray[np.int64] | None:
        """Cycles of each line with waits for HBM, where everything waits for everything.

        Returns:
            None if an address in HBM hangs on data, or the run is not simulated (`Run.unsimulated`).
        """
        from plena.timing.serial_run import transfer_cycles

        once = self.once(run)
        once[transfers_of(run)] = 0
        waits = transfer_cycles(run, once)
        return None if waits is None else run.executions * once + waits

    def once(self, run: Run) -> NDArray[np.int64]:
        """Cycles of one execution of each line, int64[n]."""
        of_opcode = np.zeros(64, np.int64)
        for opcode, spec in OPCODES.items():
            of_opcode[opcode] = self.cycles(spec, run.target)
        once = of_opcode[run.opcodes]
        for opcode, spec in OPCODES.items():
            if spec.free_if_f0:
                into_f0 = (run.opcodes == opcode) & (run.values[:, 0] == 0)
                once[into_f0] = self.cycles(spec, run.target, rd=0)
            elif spec.work is not None:
                self._add_work(once, run, spec)
        return once

    def _add_work(self, once: NDArray[np.int64], run: Run, spec: InstructionSpec) -> None:
        """Fills in the cycles of an instruction whose cost hangs on its flags."""
        at = np.flatnonzero(run.opcodes == spec.opcode)
        places = [position for position, slot in enumerate(spec.slots) if slot.kind is Kind.FLAG]
        values = run.values[at][:, places]
        for flags in np.unique(values, axis=0).tolist():
            chosen = at[(values == flags).all(axis=1)]
            fields = {spec.slots[p].name: value for p, value in zip(places, flags, strict=True)}
            once[chosen] = self.cycles(spec, run.target, fields=fields)


@dataclass(frozen=True, eq=False)
class StreamProfile:
    """Cycles that hang on what ran before: scoreboards, transfers in the background.

    Attributes:
        summary: what its cycles are, without a full stop.
        estimate: what stands for it where single instructions are compared, before there is a program.
        simulate: the cycles of each line over the whole run, int64[n], n above 0, every transfer at a cycle; they add
            up to the length of the run. A wait counts at the instruction that waits, one after the end at the last
            instruction.
        latency: the same with the time that transfers take, None if that hangs on data; by default `simulate` and all
            transfers one after the other.
        missing: mnemonics that it has no cycles for; a program that runs one has none.
        unsupported: mnemonics that it has cycles for, but that the machine it was measured on does not execute right.
        overlaps: whether transfers run beside other instructions: the compiler then moves loads ahead of what needs
            them, and what it compares are latencies.
        beside_products: whether loads of matrix tiles also run beside products with other tiles.
        record: `latency` that writes down for a timeline what happened.
        bounds: by what bounds it, the cycles that a run takes at least in any order, transfers apart.
        work: what a scheduler may know of an instruction, if independent instructions can hide each other's latencies.
    """

    name: str
    summary: str
    estimate: TableProfile
    simulate: Callable[[Run], NDArray[np.int64] | None] = field(repr=False)
    latency: Callable[[Run], NDArray[np.int64] | None] | None = field(default=None, repr=False)
    missing: tuple[str, ...] = ()
    unsupported: Callable[[Target], frozenset[str]] = field(default=lambda _: frozenset(), repr=False)
    overlaps: bool = False
    beside_products: bool = False
    record: Callable[[Run, Recorder], NDArray[np.int64] | None] | None = field(default=None, repr=False)
    bounds: Callable[[Run], dict[str, int]] | None = field(default=None, repr=False)
    work: Callable[[InstructionSpec, Target], Work] | None = field(default=None, repr=False)

    def cycles(
        self, spec: InstructionSpec, target: Target, *, rd: int = 1, fields: Fields = NO_FIELDS
    ) -> int:
        """What one execution of an instruction is taken to cost; arguments as of `TableProfile.cycles`."""
        return self.estimate.cycles(spec, target, rd=rd, fields=fields)

    def missing_in(self, run: Run) -> tuple[str, ...]:
        """The instructions of a program that it has no cycles for."""
        return tuple(m for m in self.missing if (run.opcodes == INSTRUCTIONS[m].opcode).any())

    def line_cycles(self, run: Run) -> NDArray[np.int64] | None:
        """Cycles of each line over the whole run, int64[n], as simulated.

        Returns:
            None if they hang on data, it lacks an instruction, or the run is not simulated (`Run.unsimulated`).

        Raises:
            PlenaError: the simulation gives something else.
        """
        if self.missing_in(run):
            return None
        return self._simulated(self.simulate, run)

    def line_latency(self, run: Run) -> NDArray[np.int64] | None:
        """Cycles of each line with waits for HBM.

        Returns:
            None if that hangs on data, it lacks an instruction, or the run is not simulated (`Run.unsimulated`).

        Raises:
            PlenaError: the simulation gives something else.
        """
        if self.missing_in(run):
            return None
        if self.latency is not None:
            return self._simulated(self.latency, run)
        from plena.timing.serial_run import transfer_cycles

        cycles = self.line_cycles(run)
        if cycles is None:
            return None
        waits = transfer_cycles(run, cycles // np.maximum(run.executions, 1))
        return None if waits is None else cycles + waits

    def _simulated(
        self, simulation: Callable[[Run], NDArray[np.int64] | None], run: Run
    ) -> NDArray[np.int64] | None:
        if not run.opcodes.size:
            return np.zeros(0, np.int64)
        if run.unsimulated():
            return None
        cycles = simulation(run)
        if cycles is None:
            return None
        if cycles.shape != run.opcodes.shape or cycles.dtype != np.int64 or (cycles < 0).any():
            raise PlenaError(
                f"the simulation gave {cycles.dtype}{list(cycles.shape)} for {len(run.opcodes)} instructions",
                f"timing profile {self.name}",
                "It must give the cycles of every line, int64, not negative.",
            )
        return cycles


Profile: TypeAlias = TableProfile | StreamProfile


def _work(spec: InstructionSpec, target: Target, fields: Fields) -> int:
    if spec.work is None:
        return 1
    return spec.work(target, {slot.name: fields.get(slot.name, 0) for slot in spec.flags})


def transfers_of(run: Run) -> NDArray[np.bool_]:
    """Which lines are HBM transfers, bool[n]."""
    return np.isin(run.opcodes, [spec.opcode for spec in INSTRUCTIONS.values() if spec.transfer is not None])
