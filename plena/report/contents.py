"""What is known of a program for a report, and what is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plena.assembly import AsmInstruction
from plena.assembly.loop_tree import static_loops
from plena.assembly.stream import Provenance
from plena.errors import PlenaError
from plena.host.layout import TensorPlacement
from plena.host.ports import Port, Region
from plena.machine.target import Target
from plena.optimizing.size_curve import SizeCurve
from plena.program.comparison import CheckReport
from plena.program.rationale import Rationale
from plena.statistics.statistics import Statistics, Weights, statistics_of
from plena.timing.registry import DEFAULT_TIMING, profile_named, timings


@dataclass(frozen=True)
class Missing:
    """A part of the report that cannot be shown: why, and what to do about it."""

    part: str
    why: str
    hint: str = ""

    @staticmethod
    def because(part: str, error: PlenaError) -> Missing:
        """The part that an error took away."""
        why = error.what if error.where in (None, part) else f"{error.where}: {error.what}"
        return Missing(part, why, error.hint or "")


@dataclass(frozen=True)
class ModelPart:
    """A submodule of a model: its path, class and own parameters, for programs that were not made."""

    path: str
    kind: str
    parameters: int


@dataclass
class Contents:
    """A program as far as it is known; `missing` says what is not.

    Attributes:
        title: the model's name, else that of the folder or file.
        origin: what the report was made from.
        timing: the profile that chose, perhaps none that is registered here; None if nobody knows.
        curve: measured on the code, if anybody asked for it.
        failure: why there is no program, if there is none.
        model, operators: the parts of the model and the calls of each operator, when there is no program.
    """

    title: str
    origin: str
    target: Target = field(default_factory=Target)
    instructions: Sequence[AsmInstruction] = ()
    provenance: Sequence[Provenance] = ()
    useful_macs: Mapping[str, int] | None = None
    timing: str | None = None
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    placements: tuple[TensorPlacement, ...] = ()
    memory_map: tuple[Region, ...] = ()
    hbm_size: int = 0
    decisions: tuple[str, ...] = ()
    rationale: Rationale | None = None
    check: CheckReport | None = None
    curve: SizeCurve | None = None
    failure: PlenaError | None = None
    model: tuple[ModelPart, ...] = ()
    operators: tuple[tuple[str, int], ...] = ()
    missing: list[Missing] = field(default_factory=list[Missing])

    @property
    def ranking(self) -> str:
        """The profile that orders tables: the one that chose if it is registered here, else the first one."""
        return self.timing if self.timing in timings() else DEFAULT_TIMING

    def statistics(self) -> Statistics | None:
        """The counts; None, and an entry in `missing`, if the program cannot be counted."""
        if not self.instructions:
            return None
        try:
            return statistics_of(self.instructions, self.target, self.provenance or None, self.useful_macs)
        except PlenaError as error:
            self.missing.append(Missing.because("counts", error))
            return None

    def weights(self) -> Weights:
        """Executions of every instruction and cycles of the profile that ranks; only for a program with statistics."""
        profiles = [profile_named(self.ranking)]
        return Weights.of(self.instructions, static_loops(self.instructions), self.target, profiles)
