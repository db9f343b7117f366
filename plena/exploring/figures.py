"""The figures of a point: what a program costs on a machine that differs in timing alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

from plena.api.program import Program
from plena.api.sample_errors import Function, Loss, SampleErrors, error_of
from plena.api.samples import Call
from plena.assembly import AsmInstruction, decode
from plena.errors import PlenaError, SettingsError
from plena.exploring.objectives import Objectives
from plena.machine.silicon.area import area
from plena.machine.target import CONFIG_FIELDS, SHIPPED_LATENCY, Target
from plena.optimizing.memory_use import rows_used, sram_bits
from plena.statistics.statistics import statistics_of
from plena.timing.registry import profile_named

Figures: TypeAlias = dict[str, float | int | str | None]
"""By name; the objectives are among them."""

TIMING_SETTINGS: frozenset[str] = frozenset(
    {
        "DC_EN",
        *SHIPPED_LATENCY,
        *(k for k in CONFIG_FIELDS if k.startswith("DMA_") or k in ("HBM_CHANNELS", "HBM_GEN")),
    }
)
"""Settings that change how long instructions and transfers take, and nothing of what they do."""


def untimed(target: Target, base: Target) -> Target:
    """The machine with the timing of another one: a program compiled for it runs on both."""
    own = {key: value for key, value in target.settings().items() if key not in TIMING_SETTINGS}
    shared = {key: value for key, value in base.settings().items() if key in TIMING_SETTINGS}
    return Target().with_settings(own | shared)


@dataclass
class Measured:
    """A program with what is known of it whatever the timing."""

    program: Program
    instructions: Sequence[AsmInstruction]
    samples: Sequence[Call] = ()
    _errors: SampleErrors | None = None
    _simulated: Function | None = None
    _losses: list[Loss] = field(default_factory=list[Loss])

    @staticmethod
    def of(program: Program, samples: Sequence[Call]) -> Measured:
        """A program whose error is that on samples, or on its example inputs if there are none."""
        return Measured(program, decode(program.words), samples)

    def error(self, samples: int | None) -> float:
        """What its formats lose on the first samples, all of them if nothing is said; each is run once."""
        if self._errors is None or self._simulated is None:
            source = self.program.source
            assert source is not None
            inputs = [self.program.input_tensors(*call, source.signature) for call in self.samples]
            self._errors = SampleErrors(self.program, inputs or [tuple(self.program.example_inputs or ())])
            self._simulated = source.simulated()
        count = len(self._errors.inputs) if samples is None else samples
        for sample in range(len(self._losses), count):
            self._losses.append(self._errors.loss(self._simulated, sample))
        return error_of(self._losses[:count])

    def figures(self, target: Target, objectives: Objectives, samples: int | None = None) -> Figures:
        """What it costs on a machine with other timing.

        Args:
            samples: that the error is of, the first ones; by default all.

        Raises:
            PlenaError: an objective has no figure: a format without an area, a latency that hangs on data.
        """
        profiles = dict.fromkeys((*objectives.profiles("cycles"), self.program.timing))
        counted = statistics_of(
            self.instructions,
            target,
            useful_macs=self.program.useful_macs,
            profiles=[profile_named(p) for p in profiles],
        )
        found: Figures = {"static": counted.static, "dynamic": counted.dynamic}
        for profile in profiles:
            if profile in counted.cycles:
                found[f"cycles:{profile}"] = counted.cycles[profile]
        for profile in objectives.profiles("latency"):
            found[f"latency:{profile}"] = counted.latency[profile]
        found["bytes"] = sum(counted.hbm_bytes.values())
        found["bytes_per_row"] = found["bytes"] / _rows(self.program)
        found["utilization"] = counted.utilization.get(self.program.timing)
        found["sram_bytes"] = sram_bits(target, self.program.memory_map) // 8
        found |= _area(target, self.program)
        found["error"] = self.error(samples) if "error" in objectives.figures else None
        for name in objectives.figures:
            if found.get(name) is None:
                raise PlenaError(f"there is no {name}: {_why_none(name, counted.unavailable)}", "objectives")
        return found


def _rows(program: Program) -> int:
    """Rows of the first output: tokens, of a language model."""
    return max(1, prod(program.outputs[0].shape[:-1])) if program.outputs else 1


def _area(target: Target, program: Program) -> Figures:
    matrix_rows, vector_rows = rows_used(target, program.memory_map)
    try:
        found = area(target, matrix_rows=matrix_rows, vector_rows=vector_rows)
    except SettingsError as error:
        return {"area": None, "area_note": str(error)}
    return {"area": found.mm2, "area_note": "extrapolated" if found.extrapolated else ""}


def _why_none(name: str, unavailable: Mapping[str, str]) -> str:
    if name == "area":
        return "model B has no synthesis of these formats"
    return unavailable.get(name.partition(":")[2], "an address hangs on data")
