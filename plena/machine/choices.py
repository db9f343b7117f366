"""The values of what can be chosen about a program, as types: kernels, loop choice, passes and functions name them."""

from __future__ import annotations

from typing import Literal, TypeAlias

Objective: TypeAlias = Literal["cycles", "size"]
MatmulChoice: TypeAlias = Literal["auto", "mm", "broadcast", "vector"]
AttentionChoice: TypeAlias = Literal["auto", "online", "rows"]
Staging: TypeAlias = Literal["public", "nearest", "calibrated"]
"""How the host rounds a tensor to its type: as the public staging tools do (plena_isa.md section 2.5: two fraction bits
first, no carry into the exponent), or to the nearest code, ties to even; calibrated weights are rounded beforehand,
everything else to the nearest code with the scale of each block that loses least."""

CHECKED_MACHINES = ("emulator", "rtl")
"""What `plena verify` can check a program for."""
