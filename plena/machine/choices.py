"""The values of what can be chosen about a program, as types: kernels, loop choice, passes and functions name them."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Objective: TypeAlias = Literal["cycles", "size"]
MatmulChoice: TypeAlias = Literal["auto", "mm", "broadcast", "vector"]
AttentionChoice: TypeAlias = Literal["auto", "online", "rows"]
Staging: TypeAlias = Literal["public", "nearest", "calibrated"]
"""How the host rounds a tensor to its type: as the public staging tools do (plena_isa.md section 2.5: two fraction bits
first, no carry into the exponent), or to the nearest code, ties to even; calibrated weights are rounded beforehand,
everything else to the nearest code with the scale of each block that loses least."""

Turned: TypeAlias = Literal["values", "residual", "all", "online"]
"""What orthogonal matrices turn, in weights alone: the values of attentions, what layers hand on, or both; online also
what the machine must turn: other inputs of linear layers."""

Rotation: TypeAlias = Literal["none", "values", "residual", "all", "online", "auto"]
"""What is turned, or whatever loses least."""

Machine: TypeAlias = Literal["emulator", "rtl"]
"""What runs a program: the public emulator, or the public RTL, whose rules leave out more (docs/rtl.md)."""

CHECKED_MACHINES: tuple[str, ...] = get_args(Machine)
"""What `plena verify` can check a program for."""
