"""One instruction of a flat program: its declaration and the numbers in its operand slots."""

from __future__ import annotations

from dataclasses import dataclass

from plena.dialects.plena_isa.spec import Cost, Field, InstructionSpec, Kind, Slot

INVALID = InstructionSpec(
    ".word", 0x00, (), Cost.NEVER, "a word that decodes to nothing", executable=False, touches=()
)
"""The declaration that stands for words whose opcode names no instruction."""


_PREFIX = {Kind.GP: "gp", Kind.F: "f", Kind.A: "a"}

_TEMPLATES: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class AsmInstruction:
    """An instruction of an assembly text or a machine program.

    Attributes:
        spec: its declaration; `INVALID` for a word whose opcode names no instruction.
        values: register numbers, immediates and flags, one per slot of `spec`, as the machine decodes them.
        word: the literal word when it is not the canonical encoding of `values` (bits set that the decoder
            ignores, or no instruction at all); None otherwise. Printed as `.word`.
    """

    spec: InstructionSpec
    values: tuple[int, ...] = ()
    word: int | None = None

    @property
    def mnemonic(self) -> str:
        return self.spec.mnemonic

    def value(self, slot: str) -> int:
        """The number in a slot, by the slot's name."""
        return self.values[self.spec.slots.index(self.spec.by_name[slot])]

    def __hash__(self) -> int:
        return hash((self.spec.opcode, self.values, self.word))  # the declaration itself is slow to hash

    def __str__(self) -> str:
        return format_instruction(self)


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


def _template(spec: InstructionSpec) -> str:
    operands = ", ".join(_PREFIX.get(slot.kind, "") + "%d" for slot in spec.slots)
    return f"{spec.mnemonic} {operands}" if operands else spec.mnemonic


def is_omissible(spec: InstructionSpec, slot: Slot) -> bool:
    """Whether the assembly syntax lets an operand be left out, then 0 (plena_isa.md section 6.4).

    It does for a final mask or policy, except where the public assembler takes the position for an immediate.
    """
    return (
        slot is spec.slots[-1]
        and slot.kind is Kind.FLAG
        and slot.field is Field.RS3
        and slot.upstream is None
    )
