"""The assembly syntax, and an error with line and column for everything that is not it."""

from __future__ import annotations

import pytest

from plena.assembly import AsmInstruction, encode, parse_asm, print_asm
from plena.dialects.plena_isa import INSTRUCTIONS
from plena.errors import AssemblyError
from tests.calls import counted_calls


def read(text: str, upstream_quirks: bool = False) -> list[tuple[str, tuple[int, ...]]]:
    return [(i.mnemonic, i.values) for i in parse_asm(text, upstream_quirks)]


def test_comments_blank_lines_and_spaces_do_not_matter() -> None:
    text = """
        // a comment
    ; another
    S_ADDI_INT gp1, gp0, 5;
    \tM_MM 0,gp1 ,\tgp2 // V_ADD_VV
    C_BREAK ; S_ADDI_INT gp1, gp0, 1

    """
    assert read(text) == [("S_ADDI_INT", (1, 0, 5)), ("M_MM", (0, 1, 2)), ("C_BREAK", ())]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_newline_convention(newline: str) -> None:
    assert read(f"C_BREAK{newline}C_LOOP_END gp3{newline}") == [("C_BREAK", ()), ("C_LOOP_END", (3,))]


@pytest.mark.parametrize(
    "mnemonic", ["V_ADD_VV", "V_SUB_VV", "V_MUL_VV", "V_ADD_VF", "V_MUL_VF", "V_MAX_VF", "V_MIN_VF", "V_TOPK"]
)
def test_the_final_mask_may_be_left_out(mnemonic: str) -> None:
    third = "f3" if mnemonic.endswith("F") else "gp3"
    assert read(f"{mnemonic} gp1, gp2, {third}") == [(mnemonic, (1, 2, 3, 0))]
    assert read(f"{mnemonic} gp1, gp2, {third}, 1") == [(mnemonic, (1, 2, 3, 1))]


def test_the_mask_of_a_row_sum_may_be_left_out() -> None:
    assert read("V_RED_SUM f1, gp2") == read("V_RED_SUM f1, gp2, 0") == [("V_RED_SUM", (1, 2, 0))]


@pytest.mark.parametrize(
    "text", ["V_EXP_V gp1, gp2", "V_RECI_V gp1, gp2", "V_RED_MAX f1, gp2", "M_MM_WO gp1, gp0"]
)
def test_other_operands_may_not(text: str) -> None:
    with pytest.raises(AssemblyError, match="is missing"):
        parse_asm(text)


def test_leading_zeros_are_decimal() -> None:
    assert read("S_ADDI_INT gp01, gp00, 0010") == [("S_ADDI_INT", (1, 0, 10))]


def test_the_largest_values_fit() -> None:
    text = "S_ADDI_INT gp15, gp15, 262143\nS_LUI_INT gp1, 4194303\nV_SUB_VF gp1, gp2, f7, 15, 15\n"
    assert [hex(w) for w in encode(parse_asm(text)).tolist()] == ["0xffffffe2", "0xfffffc65", "0x3fdc850"]


ERRORS = [
    ("FOO gp1", 1, "unknown mnemonic 'FOO'"),
    ("  s_addi_int gp1, gp0, 1", 3, "Did you mean S_ADDI_INT"),
    ("S_ADDI_INT gp16, gp0, 1", 12, "there is no register 'gp16'"),
    ("S_ADD_FP f1, f99999999999999999999, f2", 14, "there is no register"),
    ("S_ADDI_INT gp1, gp0", 20, "operand imm is missing"),
    ("S_ADDI_INT", 11, "operand dst is missing"),
    ("S_ADDI_INT gp1, , 3", 17, "operand a is missing"),
    ("S_ADDI_INT gp1, gp0, 262144", 22, "imm = '262144' does not fit: at most 262143"),
    ("S_ADDI_INT gp1, gp0, -1", 22, "imm = '-1' is negative"),
    ("S_ADDI_INT gp1, gp0, 0x10", 22, "must be a decimal number"),
    ("S_ADDI_INT gp1, gp0, 1_0", 22, "must be a decimal number"),
    ("S_ADDI_INT gp1, gp0, ٣", 22, "must be a decimal number"),
    ("S_ADDI_INT gp1, gp0, gp2", 22, "must be a decimal number"),
    ("S_ADDI_INT gp1, f0, 2", 17, "a must be a register gp0 .. gp15"),
    ("V_ADD_VF gp1, gp2, gp3", 20, "b must be a register f0 .. f15"),
    ("H_PREFETCH_V gp1, gp2, gp3, 1, 0", 24, "base must be a register a0"),
    ("S_ADD_INT gp1, gp2, 3", 21, "must be a register"),
    ("S_ADD_INT gp1, gp2, gp3, 4, 5, 6, 7", 35, "too many operands"),
    ("C_BREAK 0, 0, 0, 0, 0, 0, 1", 27, "too many operands"),
    ("V_ADD_VV gp1, gp2, gp3, 16", 25, "mask = '16' does not fit: at most 15"),
    ("S_ADDI_INT gp1 gp0 3", 12, "a comma is missing"),
    ("C_LOOP_START gp1, 4194304", 19, "does not fit"),
    ("M_MM_WO gp1, 0, 0", 14, "stride must be a register"),
    (".word 12", 7, ".word takes one number"),
    (".word 0x100000000", 7, ".word takes one number"),
    (".word", 6, ".word takes one number"),
    (".text", 1, "unknown mnemonic '.text'"),
]


@pytest.mark.parametrize(("line", "column", "message"), ERRORS)
def test_an_error_names_line_and_column(line: str, column: int, message: str) -> None:
    with pytest.raises(AssemblyError, match=message) as raised:
        parse_asm(f"C_BREAK\n\n{line}\nC_BREAK\n")
    error = raised.value
    assert error.line == 3
    assert error.column == column
    assert str(error).startswith(f"line 3:{error.column}: ")


def test_an_error_names_the_file() -> None:
    with pytest.raises(AssemblyError, match=r"^a\.asm:1:1: unknown"):
        parse_asm("X", file="a.asm")


def test_literal_words() -> None:
    lines = [".word 0x8244D700", ".word 0x00010801", ".word 0x9C15D46D"]
    program = parse_asm("\n".join(lines))
    assert print_asm(program).splitlines() == [
        ".word 0x8244D700",
        "M_MM 0, gp2, gp4",
        ".word 0x9C15D46D ; C_SET_STRIDE_REG gp1",
    ]
    assert encode(program).tolist() == [0x8244D700, 0x00010801, 0x9C15D46D]


@pytest.mark.parametrize(
    ("upstream", "machine"),
    [
        ("V_EXP_V gp1, gp2, 5", "V_EXP_V gp1, gp2, 0"),
        ("V_EXP_V gp1, gp2, 16", "V_EXP_V gp1, gp2, 1"),
        ("V_RED_MAX f1, gp2, 32", "V_RED_MAX f1, gp2, 2"),
        ("V_RED_SUM f1, gp2, 9", "V_RED_SUM f1, gp2, 0"),
        ("M_BMM_WO gp1, 64", "M_BMM_WO gp1, 4"),
        ("M_MV_WO gp1, 5", "M_MV_WO gp1, 0"),
        ("M_MM_WO gp1, gp2, 5", "M_MM_WO gp1, gp2, 5"),
        ("S_ADD_INT gp1, gp2, gp3, 7, 8, 9", "S_ADD_INT gp1, gp2, gp3"),
        ("M_BTMM gp0, gp2, gp3", "M_BTMM 0, gp2, gp3"),
    ],
)
@pytest.mark.filterwarnings("ignore::plena.errors.AssemblyWarning")
def test_upstream_text_has_the_effect_of_the_public_assemblers_word(upstream: str, machine: str) -> None:
    assert read(upstream, upstream_quirks=True) == read(machine)


@pytest.mark.filterwarnings("ignore::plena.errors.AssemblyWarning")
def test_upstream_text_keeps_the_words_junk() -> None:
    (instruction,) = parse_asm("V_EXP_V gp1, gp2, 5", upstream_quirks=True)
    assert instruction == AsmInstruction(INSTRUCTIONS["V_EXP_V"], (1, 2, 0), 0x00014853)
    assert encode([instruction]).tolist() == [0x00014853]


@pytest.mark.parametrize(
    "text", ["S_ADDI_INT gp16, gp0, 1", "S_ADDI_INT gp1, gp0, 262144", "S_ADD_INT gp1, gp2, gp3, 1, 2, 3, 4"]
)
def test_upstream_text_with_silent_corruption_is_still_refused(text: str) -> None:
    with pytest.raises(AssemblyError):
        parse_asm(text, upstream_quirks=True)


def test_a_line_takes_few_calls() -> None:
    lines = [f"S_ADDI_INT gp{i % 16}, gp0, {i}\nM_MM 0, gp{i % 16}, gp3\n" for i in range(1000)]
    with counted_calls() as calls:
        assert len(parse_asm("".join(lines))) == 2000
    assert calls() < 2000 * 10
