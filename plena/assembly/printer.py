"""Programs to assembly text (plena_isa.md section 6.4)."""

from __future__ import annotations

from collections.abc import Iterable

from plena.assembly.instruction import AsmInstruction, format_instruction


def print_asm(instructions: Iterable[AsmInstruction]) -> str:
    """The assembly text of a program, one instruction a line; `parse_asm` reads the instructions back."""
    lines = [format_instruction(i) for i in instructions]
    lines.append("")
    return "\n".join(lines)
