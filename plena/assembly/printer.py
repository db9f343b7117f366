"""Instructions to assembly text (plena_isa.md section 6.4)."""

from __future__ import annotations

from collections.abc import Iterable

from plena.assembly.instruction import INVALID, AsmInstruction
from plena.dialects.plena_isa.spec import InstructionSpec, Kind

_PREFIX = {Kind.GP: "gp", Kind.F: "f", Kind.A: "a"}

_TEMPLATES: dict[str, str] = {}


def format_instruction(instruction: AsmInstruction) -> str:
    """The line of one instruction, without a newline; `.word` for a word that has no other form."""
    spec = instruction.spec
    template = _TEMPLATES.get(spec.mnemonic)
    if template is None:
        template = _TEMPLATES[spec.mnemonic] = _template(spec)
    if instruction.word is None:
        return template % instruction.values
    literal = f".word 0x{instruction.word:08X}"
    return literal if spec is INVALID else f"{literal} ; {template % instruction.values}"


def print_asm(instructions: Iterable[AsmInstruction]) -> str:
    """The assembly text of a program, one instruction a line; `parse_asm` reads the instructions back."""
    lines = [format_instruction(i) for i in instructions]
    lines.append("")
    return "\n".join(lines)


def _template(spec: InstructionSpec) -> str:
    operands = ", ".join(_PREFIX.get(slot.kind, "") + "%d" for slot in spec.slots)
    return f"{spec.mnemonic} {operands}" if operands else spec.mnemonic
