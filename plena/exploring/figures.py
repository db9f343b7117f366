"""The figures of a point: what a program costs on a machine that differs in timing alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from plena.api.choosing_formats import error_measure
from plena.api.program import Program
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
    error: float | None = None

    @staticmethod
    def of(program: Program, objectives: Objectives) -> Measured:
        """Its error too, where that counts."""
        found = Measured(program, decode(program.words))
        if "error" in objectives.names:
            _, error_of = error_measure(program, [tuple(program.example_inputs or ())])
            assert program.source is not None
            found.error = error_of(program.source.simulated())
        return found

    def figures(self, target: Target, objectives: Objectives) -> Figures:
        """What it costs on a machine with other timing.

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
        found["error"] = self.error
        for name in objectives.names:
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
