"""Words of instructions, checked against the reference's encodings and the conformance programs."""

from __future__ import annotations

import numpy as np
import pytest

from plena.assembly import (
    INVALID,
    AsmInstruction,
    columns,
    decode,
    decode_word,
    encode,
    parse_asm,
    print_asm,
)
from plena.dialects.plena_isa import INSTRUCTIONS, OPCODES
from plena.errors import PlenaError

REFERENCE = {
    "M_MM 0, gp2, gp4": 0x00010801,
    "M_TMM 0, gp2, gp4": 0x00010802,
    "M_BTMM 0, gp0, gp3": 0x0000C004,
    "M_MM_WO gp1, gp2, 5": 0x00014846,
    "V_ADD_VV gp1, gp2, gp3, 1": 0x0004C84D,
    "V_SUB_VF gp1, gp2, f3, 1, 1": 0x0044C850,
    "V_TOPK gp1, gp2, gp3, 1": 0x0004C877,
    "V_SHFT_V gp1, gp2, gp3": 0x0000C872,
    "S_LD_FP f1, gp0, 7": 0x0001C05E,
    "S_ADDI_INT gp1, gp0, 262143": 0xFFFFC062,
    "S_LUI_INT gp1, 4194303": 0xFFFFFC65,
    "H_PREFETCH_M gp1, gp2, a3, 1, 1": 0x0044C868,
    "H_STORE_V gp1, gp2, a3, 1, 0": 0x0004C86A,
    "C_SET_ADDR_REG a1, gp2, gp3": 0x0000C86B,
    "C_LOOP_START gp4, 8": 0x0000212F,
    "C_LOOP_END gp4": 0x00000130,
    "C_BREAK": 0x00000034,
}
"""plena_isa.md section 10."""


@pytest.mark.parametrize(("text", "word"), REFERENCE.items())
def test_reference_encodings(text: str, word: int) -> None:
    assert encode(parse_asm(text)).tolist() == [word]
    assert print_asm(decode([word])) == text + "\n"


def test_there_are_55_mnemonics_of_which_53_execute() -> None:
    assert len(INSTRUCTIONS) == len(OPCODES) == 55
    assert sum(spec.executable for spec in INSTRUCTIONS.values()) == 53


def test_masks_are_where_the_machine_decodes_them() -> None:
    program = parse_asm("V_EXP_V gp1, gp2, 1\nV_RED_SUM f1, gp2, 1\nM_BMM_WO gp1, 1")
    assert encode(program).tolist() == [0x00040853, 0x00040855, 0x00004045]
    assert encode(program, upstream_quirks=True).tolist() == [0x00004853, 0x00000855, 0x00000445]


@pytest.mark.parametrize("opcode", sorted(set(range(64)) - set(OPCODES)))
def test_unknown_opcodes_stay_words(opcode: int) -> None:
    word = 0xABCDE000 | opcode
    assert decode_word(word) == AsmInstruction(INVALID, (), word)
    assert encode(decode([word])).tolist() == [word]


def test_junk_in_unused_fields_stays() -> None:
    (instruction,) = decode([0x9C15D46D])
    assert (instruction.mnemonic, instruction.values, instruction.word) == (
        "C_SET_STRIDE_REG",
        (1,),
        0x9C15D46D,
    )


def test_columns_hold_opcodes_and_values() -> None:
    table = columns(parse_asm("C_BREAK\nV_SUB_VF gp1, gp2, f3, 4, 5\n.word 0x0\nS_LUI_INT gp9, 7"))
    assert table.opcodes.tolist() == [0x34, 0x10, 0, 0x25]
    assert table.values.tolist() == [[0] * 5, [1, 2, 3, 4, 5], [0] * 5, [9, 7, 0, 0, 0]]


def test_the_empty_program() -> None:
    assert encode([]).tolist() == [] and encode([]).dtype == np.uint32
    assert decode([]) == [] and print_asm([]) == ""


@pytest.mark.parametrize("values", [(1, 0, 1 << 18), (16, 0, 0), (1, 0, -1)])
def test_values_that_do_not_fit_are_refused(values: tuple[int, ...]) -> None:
    program = [*parse_asm("C_BREAK"), AsmInstruction(INSTRUCTIONS["S_ADDI_INT"], values)]
    with pytest.raises(PlenaError, match=r"instruction 1: S_ADDI_INT: .* does not fit"):
        encode(program)


def test_the_wrong_number_of_values_is_refused() -> None:
    with pytest.raises(PlenaError, match="number of values"):
        encode([AsmInstruction(INSTRUCTIONS["S_ADDI_INT"], (1, 0))])


@pytest.mark.parametrize("words", [[-1], [1 << 32], [0.5], [[1, 2]]])
def test_what_is_not_words_is_refused(words: list[int]) -> None:
    with pytest.raises(PlenaError, match="32-bit"):
        decode(words)


def test_the_public_assembler_has_no_literal_words() -> None:
    with pytest.raises(PlenaError, match="instruction 1: the public assembler has no literal words"):
        encode(parse_asm("C_BREAK\n.word 0x0"), upstream_quirks=True)
