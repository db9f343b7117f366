"""Text is a faithful form of every module of `loop` and `plena_isa`; so are assembly and words of flat programs."""

from __future__ import annotations

from contextlib import suppress
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.parser import Parser
from xdsl.printer import Printer

from plena.assembly import (
    AsmInstruction,
    decode,
    encode,
    format_instruction,
    parse_asm,
    parse_mem,
    print_asm,
    print_mem,
)
from plena.assembly.stream import instructions_from_module, module_from_instructions
from plena.dialects.loop import ForOp, Loop
from plena.dialects.plena_isa import INSTRUCTIONS, OP_OF_MNEMONIC, Instruction, PlenaISA
from plena.errors import AssemblyError, PlenaError
from tests.properties.strategies_isa import (
    AFFINE,
    DRAWN_ELSEWHERE,
    REGISTER,
    Text,
    affine_modules,
    asm_programs,
    modules_with,
    register_modules,
)


def text_of(module: ModuleOp, generic: bool = False) -> str:
    stream = StringIO()
    Printer(stream, print_generic_format=generic).print_op(module)
    return stream.getvalue()


def parse(text: str) -> ModuleOp:
    context = Context()
    for dialect in (Builtin, Loop, PlenaISA):
        context.load_dialect(dialect)
    return Parser(context, text).parse_module()


def check_round_trips(module: ModuleOp) -> None:
    module.verify()
    for generic in (False, True):
        text = text_of(module, generic)
        again = parse(text)
        again.verify()
        assert module.is_structurally_equivalent(again)
        assert text_of(again, generic) == text


def test_every_operation_has_a_strategy() -> None:
    flat_loops = {OP_OF_MNEMONIC[m] for m in ("C_LOOP_START", "C_LOOP_END")}
    drawn = {op.name for op in {*AFFINE, *REGISTER, *flat_loops}} | set(DRAWN_ELSEWHERE)
    assert {op.name for op in (*Loop.operations, *PlenaISA.operations)} == drawn


@pytest.mark.parametrize("mnemonic", INSTRUCTIONS)
@settings(max_examples=5)
@given(data=st.data())
def test_every_instruction_round_trips(mnemonic: str, data: st.DataObject) -> None:
    op = OP_OF_MNEMONIC[mnemonic]
    module = data.draw(modules_with(op)).module
    assert isinstance(module.body.block.last_op, op)
    check_round_trips(module)


@given(affine_modules())
def test_the_affine_form_round_trips(text: Text) -> None:
    check_round_trips(text.module)
    assert all(op.is_affine or "gp0" in str(op) for op in text.module.walk() if isinstance(op, Instruction))


@given(register_modules())
def test_the_register_form_round_trips(text: Text) -> None:
    check_round_trips(text.module)


def operations(module: ModuleOp) -> int:
    """Lines of the flat program."""
    loops = sum(isinstance(op, ForOp) for op in module.walk())
    return sum(isinstance(op, Instruction) for op in module.walk()) + 2 * loops


@given(register_modules(allocated=True))
def test_allocated_modules_have_one_flat_form(text: Text) -> None:
    stream = instructions_from_module(text.module)
    assert len(stream) == operations(text.module)
    flat = module_from_instructions(stream)
    flat.verify()
    assert instructions_from_module(flat) == stream
    assert parse_asm(print_asm(stream)) == stream


@given(register_modules())
def test_other_modules_are_refused_or_printed(text: Text) -> None:
    try:
        stream = instructions_from_module(text.module)
    except PlenaError:
        assert "!plena_isa.gp " in str(text) or ": !plena_isa" in str(text)
    else:
        assert len(stream) == operations(text.module)


@given(asm_programs())
def test_text_to_words_to_text_is_the_identity(program: list[AsmInstruction]) -> None:
    text = print_asm(program)
    assert parse_asm(text) == program
    words = encode(program)
    assert decode(words) == program
    assert print_asm(decode(parse_mem(print_mem(words)))) == text


@given(
    st.lists(
        st.integers(0, (1 << 32) - 1)
        | st.builds(lambda junk, op: junk << 6 | op, st.integers(0, 255), st.integers(0, 63))
    )
)
def test_words_to_text_to_words_is_the_identity(words: list[int]) -> None:
    program = decode(words)
    assert encode(program).tolist() == words
    assert encode(parse_asm(print_asm(program))).tolist() == words


@given(asm_programs())
@pytest.mark.filterwarnings("ignore::plena.errors.AssemblyWarning")
def test_the_public_assemblers_words_are_read_as_it_wrote_them(program: list[AsmInstruction]) -> None:
    words = encode(program, upstream_quirks=True)
    assert (encode(parse_asm(print_asm(program), upstream_quirks=True)) == words).all()


TOKENS = [
    *INSTRUCTIONS,
    ".word",
    "gp1",
    "gp16",
    "f3",
    "a2",
    "0",
    "-1",
    "262144",
    "0x10",
    ",",
    ";",
    "//",
    " ",
    "\t",
    "\n",
    "\r",
    "²",
]


@given(
    st.text()
    | st.lists(st.sampled_from(TOKENS)).map(" ".join)
    | st.lists(st.sampled_from(TOKENS)).map("".join),
    st.booleans(),
)
@settings(max_examples=300)
def test_any_text_is_read_or_refused_with_a_place(text: str, upstream_quirks: bool) -> None:
    try:
        program = parse_asm(text, upstream_quirks)
    except AssemblyError as error:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1
    else:
        assert encode(parse_asm(print_asm(program))).tolist() == encode(program).tolist()


@given(asm_programs(6), st.data())
@settings(max_examples=200)
def test_damaged_assembly_is_read_or_refused(program: list[AsmInstruction], data: st.DataObject) -> None:
    text = print_asm(program)
    place = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 4))
    damaged = (
        text[:place] + data.draw(st.sampled_from(["", ",", "1", "gp", "-", "x", " "])) + text[place + cut :]
    )
    with suppress(AssemblyError):
        parse_asm(damaged)


@given(st.text() | st.text("0x19afAFzZ_- \n"))
def test_any_machine_code_text_is_read_or_refused(text: str) -> None:
    try:
        words = parse_mem(text)
    except AssemblyError as error:
        assert error.line <= text.count("\n") + 1
    else:
        assert parse_mem(print_mem(words)).tolist() == words.tolist()


def test_a_line_without_operands_prints_without_a_space() -> None:
    assert format_instruction(AsmInstruction(INSTRUCTIONS["C_BREAK"])) == "C_BREAK"
