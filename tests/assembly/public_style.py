"""Assembly as other people's tools write it, and the words that the public assembler makes of it.

`public_word` is written from the text of plena_isa.md section 6.4 alone: operands by position, one packing group for
each mnemonic. Nothing of `plena` takes part in it but opcode numbers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.plena_isa.spec import InstructionSpec, Kind, Slot

GROUPS = {
    "I18": "S_ADDI_INT M_MM_WO S_LD_FP S_ST_FP S_LD_INT S_ST_INT S_MAP_V_FP V_RED_MAX V_RECI_V V_EXP_V",
    "I22": "S_LUI_INT C_LOOP_START M_MV_WO M_BMM_WO M_BMV_WO",
    "RD1": "S_RECI_FP S_EXP_FP S_SQRT_FP V_RED_SUM",
    "RD0": "C_SET_SCALE_REG C_SET_STRIDE_REG C_SET_V_MASK_REG C_LOOP_END",
    "RF": "H_PREFETCH_M H_PREFETCH_V H_STORE_V V_SUB_VF",
    "RM": "V_ADD_VV V_ADD_VF V_SUB_VV V_MUL_VV V_MUL_VF V_MAX_VF V_MIN_VF V_TOPK",
}
GROUP_OF = {mnemonic: group for group, names in GROUPS.items() for mnemonic in names.split()}

PREFIX = {Kind.GP: "gp", Kind.F: "f", Kind.A: "a"}


def public_word(line: str) -> int:
    """The word of one line without a comment."""
    mnemonic, _, rest = line.strip().partition(" ")
    operands = [operand.strip() for operand in rest.split(",")] if rest.strip() else []
    assert len(operands) <= 6, "more than six are treated as none"
    rd = rs1 = rs2 = imm = rs3 = funct1 = 0
    for position, operand in enumerate(operands):
        digits = operand.removeprefix("gp").lstrip("fa").strip()
        is_register = digits != operand
        number = int(digits) if digits.isdigit() else 0
        if position == 0:
            rd = number
        elif position == 1 and is_register:
            rs1 = number
        elif position == 2 and is_register:
            rs2 = number
        elif position in (1, 2):
            imm = number
        elif position == 3:
            rs3 = number
        elif position == 4:
            funct1 = number
    match GROUP_OF.get(mnemonic, "R3"):
        case "I18":
            fields = imm << 14 | rs1 << 10 | rd << 6
        case "I22":
            fields = imm << 10 | rd << 6
        case "RD1":
            fields = rs1 << 10 | rd << 6
        case "RD0":
            fields = rd << 6
        case "RF":
            fields = funct1 << 22 | rs3 << 18 | rs2 << 14 | rs1 << 10 | rd << 6
        case "RM":
            fields = rs3 << 18 | rs2 << 14 | rs1 << 10 | rd << 6
        case _:
            fields = rs2 << 14 | rs1 << 10 | rd << 6
    return fields | INSTRUCTIONS[mnemonic].opcode


def operand(slot: Slot, value: int) -> str:
    """An operand as the declaration prints it."""
    return f"{PREFIX.get(slot.kind, '')}{value}"


def some_values(spec: InstructionSpec, chance: random.Random) -> list[int]:
    """Values for every slot; 0 where the public assembler misplaces what is not."""
    return [
        0
        if slot.kind is Kind.ZERO or slot.upstream is not None or slot.upstream_drops
        else chance.randrange(16 if slot.is_register or slot.kind is Kind.FLAG else slot.field.limit)
        for slot in spec.slots
    ]


def in_public_style(
    spec: InstructionSpec, values: Sequence[int], chance: random.Random, surplus: Sequence[str] = ()
) -> str:
    """One line: literal zeros or `surplus` behind the last operand, any spacing that the public assembler takes."""
    operands = [operand(slot, value) for slot, value in zip(spec.slots, values, strict=True)]
    if operands and spec.slots[0].kind is Kind.ZERO and chance.random() < 0.5:
        operands[0] = f"gp{values[0]}"
    operands += surplus
    gaps = ("", " ", "  ", "\t")
    joined = ",".join(f"{chance.choice(gaps)}{text}{chance.choice(gaps)}" for text in operands)
    return f"{chance.choice(gaps)}{spec.mnemonic}{chance.choice((' ', '  ', chr(9)))}{joined}{chance.choice(gaps)}"
