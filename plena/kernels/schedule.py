"""The choices that kernels take from outside: what to minimise and which schedules are allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plena.machine.choices import AttentionChoice, Machine, MatmulChoice, Objective, Staging
from plena.timing.registry import DEFAULT_TIMING

LoopOrder = Literal["heads", "queries"]


@dataclass(frozen=True)
class Schedule:
    """How kernels are to be tiled.

    `query_block` is the number of query rows that attention takes through all steps at a time (0: the kernel's
    choice). `order` says whether attention's loop over heads or over query blocks is outermost: heads load every
    key and value tile once, queries keep the iterations of the outermost loop short (the watchdog). `parts` is into
    how many pieces its loops over samples and heads are expanded, for the watchdog as well. `sections` bounds how many
    pieces of code treat query blocks apart that see differently many keys (objective "cycles"). With `pairing`
    linear layers in the M_MM schedule make two column blocks of the output at a time wherever that is possible, so
    that a register serves both memories (docs/matmul_schedules.md). Products of
    repeated layers that M_BTMV would make are made by M_BTMM instead where `shortening` asks for so many fewer
    instructions in an iteration (the watchdog). Without `row_groups` M_BTMV makes
    only products whose rows it takes at once; with `by_matrices` M_BTMM makes so many of the others, which takes less
    text. `staging` is how the host rounds what it puts into HBM. Unless
    `allow_unsupported`, what "auto" compares leaves out instructions that the machine behind the timing profile
    does not execute right. With `machine` "rtl" products are made by M_MM alone, and what the public RTL does not do as
    the emulator is refused.
    """

    objective: Objective = "cycles"
    timing: str = DEFAULT_TIMING
    matmul: MatmulChoice = "auto"
    attention: AttentionChoice = "auto"
    query_block: int = 0
    order: LoopOrder = "heads"
    parts: int = 1
    sections: int = 4
    pairing: bool = False
    shortening: int = 0
    row_groups: bool = True
    by_matrices: int = 0
    staging: Staging = "public"
    machine: Machine = "emulator"
    allow_unsupported: bool = False
