"""Other people's assembly: what the public assembler accepts is accepted, with its meaning."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import numpy as np
import pytest

import plena
from plena.assembly import AsmInstruction, decode_word, encode, parse_asm, print_asm
from plena.cli import plena_cli, plena_opt
from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.plena_isa.spec import Kind
from plena.errors import AssemblyError, AssemblyWarning
from tests.assembly.public_style import in_public_style, public_word, some_values

MOST = 6
"""Operands that the public assembler reads."""

FORMS = "S_EXP_FP f2, f2, 0\nS_RECI_FP f1, f1, 0\nV_EXP_V gp1, gp1, 0, 0\nV_RED_SUM f4, gp1, 0, 0\n"
"""What the newest public compiler writes."""


def is_replaced(mnemonic: str, position: int) -> bool:
    """Whether a number at a position behind the last operand takes the place of an immediate."""
    slots = INSTRUCTIONS[mnemonic].slots
    return position == 2 and len(slots) == 2 and slots[1].kind is Kind.IMMEDIATE


@pytest.mark.parametrize("mnemonic", INSTRUCTIONS)
@pytest.mark.parametrize("upstream_quirks", [False, True])
def test_zeros_behind_the_last_operand_mean_nothing(mnemonic: str, upstream_quirks: bool) -> None:
    spec, chance = INSTRUCTIONS[mnemonic], random.Random(mnemonic)
    for _ in range(50):
        values = some_values(spec, chance)
        count = chance.randint(0, MOST - len(spec.slots))
        if count and is_replaced(mnemonic, len(spec.slots)):
            values[1] = 0
        line = in_public_style(spec, values, chance, ["0"] * count)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            program = parse_asm(line + chance.choice(("", ";", "; 0, 0", " // gp1")), upstream_quirks)
        assert program == [AsmInstruction(spec, tuple(values))], line
        assert encode(program).tolist() == [public_word(line.replace("\t", " "))], line


@pytest.mark.parametrize("mnemonic", INSTRUCTIONS)
def test_what_else_is_dropped_is_named(mnemonic: str) -> None:
    spec, chance = INSTRUCTIONS[mnemonic], random.Random(mnemonic)
    for position in range(len(spec.slots), MOST):
        for token in ("gp3", "f0", "7", "-1", "gp 15"):
            values = some_values(spec, chance)
            surplus = ["0"] * (position - len(spec.slots)) + [token]
            if is_replaced(mnemonic, len(spec.slots)):
                values[1] = 0
                if position == 2 and token in ("7", "-1"):
                    continue
            line = in_public_style(spec, values, chance, surplus)
            with pytest.warns(AssemblyWarning) as caught:
                program = parse_asm(f"C_BREAK\n{line}\n{line}  ; again\n")
            (message,) = [str(w.message) for w in caught]
            assert f"{mnemonic}: operand {position + 1}, '{token}', is dropped" in message
            assert message.startswith("line 2:") and "(1 more like it)" in message
            read, public = program[1], decode_word(public_word(line.replace("\t", " ")))
            assert program[2] == read
            assert (read.spec, read.values) == (public.spec, public.values), line


@pytest.mark.parametrize("mnemonic", [m for m in INSTRUCTIONS if is_replaced(m, 2)])
def test_a_third_number_replaces_the_immediate(mnemonic: str) -> None:
    with pytest.warns(
        AssemblyWarning, match=r"= 5 is dropped: the public assembler takes the third operand, 16"
    ):
        (read,) = parse_asm(f"{mnemonic} gp1, 5, 16")
    assert read.values == (1, 16)
    assert public_word(f"{mnemonic} gp1, 5, 16") == public_word(f"{mnemonic} gp1, 16")
    with pytest.raises(AssemblyError, match="is negative"):
        parse_asm(f"{mnemonic} gp1, 5, -1")


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("S_EXP_FP f2, f2, 0, 0, 0, 0, 0", 30, "too many operands"),
        ("S_EXP_FP f2, f2, foo", 18, "'foo' is no operand"),
        ("C_SET_SCALE_REG gp1, gpx", 22, "'gpx' is no operand"),
        ("S_ADDI_INT gp1, gp0 0, 0", 17, "must be a register"),
    ],
)
def test_what_the_public_assembler_refuses_is_refused(line: str, column: int, message: str) -> None:
    with pytest.raises(AssemblyError, match=message) as raised:
        parse_asm(line)
    assert raised.value.column == column


def test_public_placement_says_what_becomes_of_an_operand() -> None:
    with pytest.warns(AssemblyWarning, match="mask = 5 has the effect of 0"):
        parse_asm("V_EXP_V gp1, gp2, 5", upstream_quirks=True)
    with pytest.warns(AssemblyWarning, match="imm = 64 has the effect of 4"):
        parse_asm("M_BMM_WO gp1, 64", upstream_quirks=True)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    text = "\ufeffS_ADDI_INT gp1, gp0, 5\r\n\ufeffC_BREAK\n"
    assert [i.mnemonic for i in parse_asm(text)] == ["S_ADDI_INT", "C_BREAK"]
    with pytest.raises(AssemblyError, match=r"^line 2:1: unknown"):
        parse_asm("\ufeff; joined\n\ufeffNOPE\n")
    (finding,) = [f for f in plena.verify(text.replace("C_BREAK", "C_LOOP_END gp2")) if f.is_error]
    assert finding.line == 2


CALLS = {
    "stats": lambda text: plena.stats(text).static,
    "lift": lambda text: str(plena.lift(text)),
    "verify": lambda text: [f.code for f in plena.verify(text)],
    "emulate": lambda text: plena.emulate(text).executed,
    "optimize": lambda text: plena.optimize(text).asm,
}


@pytest.mark.parametrize("call", CALLS)
def test_every_function_takes_it_and_warns_once(call: str) -> None:
    canonical = print_asm(parse_asm(FORMS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CALLS[call]("\ufeff" + FORMS) == CALLS[call](canonical)
    with pytest.warns(AssemblyWarning) as caught:
        assert CALLS[call](FORMS + "S_RECI_FP f1, f1, f3\n") == CALLS[call](canonical + "S_RECI_FP f1, f1\n")
    assert len(caught) == 1


@pytest.mark.parametrize("command", ["asm", "stats", "verify", "optimize"])
def test_the_command_line_takes_it_and_warns_once(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "public.asm"
    file.write_bytes(b"\xef\xbb\xbf" + FORMS.encode())
    assert plena_cli.main([command, str(file)]) == 0
    assert capsys.readouterr().err == ""
    file.write_text(FORMS + "S_RECI_FP f1, f1, f3\n")
    assert plena_cli.main([command, str(file)]) == 0
    assert capsys.readouterr().err.startswith(f"warning: {file}:5:19: S_RECI_FP: operand 3, 'f3', is dropped")


def test_plena_opt_takes_it_and_warns_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "public.asm"
    file.write_bytes(b"\xef\xbb\xbf" + FORMS.encode() + b"S_RECI_FP f1, f1, f3\n")
    assert plena_opt.main([str(file), "-t", "plena-asm"]) == 0
    printed = capsys.readouterr()
    assert printed.out == print_asm(parse_asm(FORMS + "S_RECI_FP f1, f1"))
    assert printed.err.count("warning: ") == 1
    (tmp_path / "ir.mlir").write_bytes(b"\xef\xbb\xbfbuiltin.module {\n}\n")
    assert plena_opt.main([str(tmp_path / "ir.mlir")]) == 0


def test_a_word_file_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "public.mem"
    file.write_bytes(b"\xef\xbb\xbf0x00000034\n")
    assert plena_cli.main(["disasm", str(file), "-o", str(tmp_path / "back.asm")]) == 0
    assert (tmp_path / "back.asm").read_text() == "C_BREAK\n"


def test_words_of_a_whole_program() -> None:
    chance = random.Random(11)
    lines = []
    for _ in range(2000):
        spec = INSTRUCTIONS[chance.choice(list(INSTRUCTIONS))]
        count = 0 if is_replaced(spec.mnemonic, 2) else chance.randint(0, MOST - len(spec.slots))
        lines.append(in_public_style(spec, some_values(spec, chance), chance, ["0"] * count))
    expected = np.array([public_word(line.replace("\t", " ")) for line in lines], np.uint32)
    np.testing.assert_array_equal(encode(parse_asm("\n".join(lines))), expected)
