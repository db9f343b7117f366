"""Programs to assembly text (plena_isa.md section 6.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from plena.assembly.instruction import AsmInstruction, format_instruction


def print_asm(instructions: Iterable[AsmInstruction], origins: Sequence[tuple[str, str]] = ()) -> str:
    """The assembly text of a program, one instruction a line; `parse_asm` reads the instructions back.

    Args:
        instructions: the program.
        origins: module path and kernel step of each instruction, "" where unknown; comments say what changes.
    """
    lines = [format_instruction(i) for i in instructions]
    if not origins:
        return "\n".join([*lines, ""])
    commented: list[str] = []
    for origin, group in groupby(zip(origins, lines, strict=True), key=lambda pair: pair[0]):
        name = ": ".join(part for part in origin if part)
        if name:
            commented.append(f"; {name}")
        commented.extend(line for _, line in group)
    return "\n".join([*commented, ""])
