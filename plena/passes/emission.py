"""From the affine form to allocated registers, and what the program costs then: the one way to lower and count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.assembly import AsmInstruction, columns
from plena.assembly.loop_tree import static_loops
from plena.assembly.stream import stream_from_module
from plena.driver import run_pipeline
from plena.machine.target import Target
from plena.passes.pipelines import REGISTER_PIPELINE
from plena.statistics.statistics import Statistics, statistics_of
from plena.timing.registry import profile_named
from plena.timing.run import Run

EMISSION: tuple[str, ...] = ("set-state", *REGISTER_PIPELINE)
"""Affine form to allocated registers. A module of AFFINE_PIPELINE needs REGISTER_PIPELINE alone: its state is set."""


@dataclass(frozen=True)
class Counted:
    """A program in allocated registers and what it costs.

    Args:
        statistics: exact counts, without counts by module and by step; cycles by the profile unless transfers run
            beside other work, when its latency counts.
        timing: the profile.
        target: the machine.
        instructions: the flat program.
        module: in allocated register form; None if the program was given as instructions.
    """

    statistics: Statistics
    timing: str
    target: Target = field(repr=False)
    instructions: Sequence[AsmInstruction] = field(repr=False)
    module: ModuleOp | None = field(default=None, repr=False)

    @staticmethod
    def of(instructions: Sequence[AsmInstruction], target: Target, timing: str) -> Counted:
        """A given program.

        Raises:
            PlenaError: loops that are not nested.
        """
        return Counted(_statistics(instructions, target, timing), timing, target, instructions)

    @property
    def static(self) -> int:
        """Instructions in the text."""
        return self.statistics.static

    @property
    def registers(self) -> ModuleOp:
        """The module of a program that was lowered."""
        assert self.module is not None
        return self.module

    @property
    def cycles(self) -> int:
        """Cycles by the profile; DMA waits are in them if transfers run beside other work and the program can be
        simulated, else apart. Addresses that hang on data are those of zeros.

        Raises:
            CompileError: it has none for an instruction of the program.
        """
        if profile_named(self.timing).overlaps:
            latency = self.statistics.latency[self.timing]
            latency = self._latency_of_zeros if latency is None else latency
            if latency is not None:
                return latency
        return self.without_waits.cycles_by(self.timing)

    @cached_property
    def _latency_of_zeros(self) -> int | None:
        """The latency of a run on zeros in INT SRAM; None if there is none either."""
        run = Run.of(columns(self.instructions), static_loops(self.instructions), self.target)
        lines = profile_named(self.timing).line_latency(run.with_zeros())
        return None if lines is None else int(lines.sum())

    @cached_property
    def without_waits(self) -> Statistics:
        """Counts with cycles by the profile, DMA waits apart."""
        profile = profile_named(self.timing)
        if not profile.overlaps:
            return self.statistics
        return statistics_of(self.instructions, self.target, profiles=[profile])

    @property
    def longest_iteration(self) -> int:
        """Dynamic instructions of one iteration of the longest loop, its C_LOOP_END included.

        That is a loop in no other one. Counts of inner loops are those of the whole run, not of one execution.
        """
        outermost = (loop for loop in self.statistics.loops if loop.depth == 0)
        return max((loop.dynamic // loop.trip_count for loop in outermost), default=0)

    def runs(self, target: Target) -> bool:
        """Whether the watchdog lets every loop finish its iterations (plena_isa.md section 4.4)."""
        return self.longest_iteration <= target.max_loop_instructions


def counted(
    module: ModuleOp, timing: str, passes: Sequence[str | ModulePass] = EMISSION, *, verified: bool = False
) -> Counted:
    """Lowers a module in the affine form in place, and counts it.

    Args:
        timing: the profile whose cycles to count.
        passes: what makes allocated registers of it.
        verified: as of `run_pipeline`.

    Raises:
        CompileError: registers or words to spill to do not suffice.
        PlenaError: a value that does not fit its field.
    """
    run_pipeline(module, passes, verified=verified)
    stream = stream_from_module(module)
    target = Target.from_module(module)
    statistics = _statistics(stream.instructions, target, timing)
    return Counted(statistics, timing, target, stream.instructions, module)


def _statistics(instructions: Sequence[AsmInstruction], target: Target, timing: str) -> Statistics:
    profile = profile_named(timing)
    return statistics_of(instructions, target, profiles=[] if profile.overlaps else [profile])
