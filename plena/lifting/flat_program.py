"""A flat program as columns of decoded fields: what the symbolic and the concrete runs read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Attribute

from plena.assembly import AsmInstruction, decode, encode, parse_asm
from plena.assembly.lines import source_lines, statement_of
from plena.dialects.derived import derived
from plena.dialects.plena_isa import INSTRUCTIONS, OPCODES, Field, InstructionSpec, Kind
from plena.errors import PlenaError
from plena.machine.constants import F_REGISTERS

OPCODE_MASK = 63

Program = str | Sequence[int] | NDArray[np.integer] | Sequence[AsmInstruction]
"""What a caller may hand over: assembly text, words, or parsed instructions."""


@dataclass(eq=False)
class FlatProgram:
    """Words with the fields decoded, and the text they came from for messages.

    Attributes:
        words: uint32[n], one per instruction.
        text: the assembly text, None for machine words.
        attributes: what the op of every instruction carries (where it comes from), if known.
        line_numbers: 1-based line of every instruction, if known without the text.
        texts: every instruction as the user sees it, if that is not assembly.
    """

    words: NDArray[np.uint32]
    text: str | None = None
    file: str | None = None
    attributes: Sequence[dict[str, Attribute]] | None = None
    line_numbers: Sequence[int] | None = None
    texts: Sequence[str] | None = None
    op: list[int] = field(init=False)
    rd: list[int] = field(init=False)
    rs1: list[int] = field(init=False)
    rs2: list[int] = field(init=False)
    rs3: list[int] = field(init=False)
    imm: list[int] = field(init=False)

    def __post_init__(self) -> None:
        words = self.words.astype(np.int64)
        self.op = (words & OPCODE_MASK).tolist()
        self.rd, self.rs1, self.rs2, self.rs3 = (
            self._column(words, f) for f in (Field.RD, Field.RS1, Field.RS2, Field.RS3)
        )
        wide = np.isin(words & OPCODE_MASK, _wide_immediates())
        self.imm = np.where(wide, words >> Field.IMM22.lsb, words >> Field.IMM18.lsb).tolist()

    @staticmethod
    def _column(words: NDArray[np.int64], bits: Field) -> list[int]:
        return ((words >> bits.lsb) & (bits.limit - 1)).tolist()

    def __len__(self) -> int:
        return len(self.op)

    def field(self, bits: Field) -> list[int]:
        """The decoded column of a register field."""
        return self._columns[bits]

    def spec(self, pc: int) -> InstructionSpec | None:
        """The declaration of an instruction, None for a word that decodes to nothing."""
        return OPCODES.get(self.op[pc])

    def number(self, pc: int, bits: Field) -> int:
        """Any field of one instruction."""
        return bits.extract(int(self.words[pc]))

    @cached_property
    def lines(self) -> Sequence[int] | None:
        """1-based line of every instruction, None for machine words."""
        return self.line_numbers if self.text is None else statement_lines(self.text)

    @cached_property
    def _columns(self) -> dict[Field, list[int]]:
        funct1 = self._column(self.words.astype(np.int64), Field.FUNCT1)
        return {
            Field.RD: self.rd,
            Field.RS1: self.rs1,
            Field.RS2: self.rs2,
            Field.RS3: self.rs3,
            Field.FUNCT1: funct1,
        }

    @cached_property
    def flags(self) -> list[int]:
        """The bits of every word that flags are in, where they are (`InstructionSpec.flag_bits`)."""
        return (self.words & _flag_bits()[self.words & np.uint32(OPCODE_MASK)]).tolist()

    def line(self, pc: int) -> int | None:
        """1-based line of an instruction in the text, None for words."""
        return self.lines[pc] if self.lines is not None else None

    def shown(self, pc: int) -> str:
        """The instruction as assembly or IR."""
        if self.texts is not None:
            return self.texts[pc]
        return str(decode(self.words[pc : pc + 1])[0])

    def where(self, pc: int) -> str:
        """The place of an instruction, for messages."""
        prefix = f"{self.file}, " if self.file else ""
        place = f"instruction {pc}" if self.lines is None else f"line {self.line(pc)}"
        return f"{prefix}{place} ({self.shown(pc)})"

    def error(self, pc: int, what: str, hint: str | None = None) -> PlenaError:
        """A PlenaError at an instruction."""
        return PlenaError(what, self.where(pc), hint)

    @staticmethod
    def of(program: Program | FlatProgram, file: str | None = None) -> FlatProgram:
        """The columns of assembly text, words or instructions; columns are handed back.

        Raises:
            AssemblyError: the text cannot be parsed.
            PlenaError: not words.
        """
        if isinstance(program, FlatProgram):
            return program
        if isinstance(program, str):
            return FlatProgram(encode(parse_asm(program, file=file)), program, file)
        if not hasattr(program, "__iter__"):
            raise PlenaError(f"a program is assembly text or a list of words, not {type(program).__name__}")
        if not isinstance(program, np.ndarray) and any(isinstance(i, AsmInstruction) for i in program):
            return FlatProgram(encode([i for i in program if isinstance(i, AsmInstruction)]), None, file)
        words = np.asarray(program)
        decode(words)
        return FlatProgram(words.astype(np.uint32), None, file)

    def bad_f_registers(self) -> list[int]:
        """The instructions that name f8..f15 and are not free no-ops, in order (plena_isa.md section 1.3)."""
        words = self.words.astype(np.int64)
        opcodes = words & OPCODE_MASK
        bad = np.zeros(len(words), np.bool_)
        for spec in INSTRUCTIONS.values():
            at = opcodes == spec.opcode
            for slot in spec.slots:
                if slot.kind is Kind.F and at.any():
                    bad |= at & ((words >> slot.field.lsb & slot.field.limit - 1) >= F_REGISTERS)
            if spec.free_if_f0:
                bad &= ~(at & ((words >> Field.RD.lsb & Field.RD.limit - 1) == 0))
        return np.flatnonzero(bad).tolist()


def statement_lines(text: str) -> list[int]:
    """1-based line of every instruction of an assembly text."""
    return [n for n, line in enumerate(source_lines(text), 1) if statement_of(line).strip()]


@derived
def _wide_immediates() -> NDArray[np.int64]:
    """The opcodes with the longer immediate."""
    wide = [s.opcode for s in INSTRUCTIONS.values() if any(slot.field is Field.IMM22 for slot in s.slots)]
    return np.array(wide, np.int64)


@derived
def _flag_bits() -> NDArray[np.uint32]:
    """`InstructionSpec.flag_bits` by opcode."""
    bits = np.zeros(OPCODE_MASK + 1, np.uint32)
    for spec in INSTRUCTIONS.values():
        bits[spec.opcode] = spec.flag_bits
    return bits


def opcode(mnemonic: str) -> int:
    """The opcode of a mnemonic."""
    return INSTRUCTIONS[mnemonic].opcode
