"""The bridge between flat programs and modules in register form."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Attribute, Operation, SSAValue

from plena.assembly import parse_asm, print_asm
from plena.assembly.stream import (
    Provenance,
    instructions_from_module,
    module_from_instructions,
    stream_from_module,
)
from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa import GPRegister, Instruction, RegisterOp, build
from plena.dialects.plena_isa.control import CLoopStartOp
from plena.errors import PlenaError

PROGRAM = """S_ADDI_INT gp1, gp0, 5
C_SET_ADDR_REG a3, gp0, gp1
C_LOOP_START gp2, 7
M_MM 0, gp1, gp3
M_MM_WO gp3, gp0, 12
V_RED_SUM f1, gp3, 1
S_LD_INT gp4, gp0, 3
H_PREFETCH_V gp3, gp1, a3, 1, 1
C_LOOP_END gp2
C_BREAK
"""


def cell(number: int | None = None) -> RegisterOp:
    return RegisterOp(GPRegister.unallocated() if number is None else GPRegister.at(number))


def test_flat_programs_come_back() -> None:
    module = module_from_instructions(parse_asm(PROGRAM))
    module.verify()
    assert print_asm(instructions_from_module(module)) == PROGRAM


def test_every_physical_cell_is_declared_once() -> None:
    module = module_from_instructions(parse_asm(PROGRAM))
    cells = [op.cell.type for op in module.ops if isinstance(op, RegisterOp)]
    assert len(cells) == len(set(cells)) == 7
    assert any(isinstance(op, CLoopStartOp) for op in module.ops)


def structured_loop(counter: SSAValue | None, trips: int = 3) -> ForOp:
    zero = cell(0)
    loop = ForOp(trips, [zero, build("S_ADDI_INT", dst=zero.cell, a=zero.cell, imm=1)], counter)
    return loop


def test_a_structured_loop_becomes_start_and_end() -> None:
    counter = cell(5)
    module = ModuleOp([counter, structured_loop(counter.cell)])
    assert print_asm(instructions_from_module(module)).splitlines() == [
        "C_LOOP_START gp5, 3",
        "S_ADDI_INT gp0, gp0, 1",
        "C_LOOP_END gp5",
    ]


def test_what_is_not_register_form_is_refused() -> None:
    zero, virtual = cell(0), cell()
    constant = AffineOp(Linear(64))
    affine = build("V_ADD_VV", dst=constant.result, a=constant.result, b=constant.result)
    to_virtual = build("S_ADDI_INT", dst=virtual.cell, a=virtual.cell)
    cases: list[tuple[list[Operation], str]] = [
        ([constant, affine], "loop.affine is not an instruction"),
        ([structured_loop(None)], r"a loop.for has no counter register"),
        ([virtual, to_virtual], "is a virtual register"),
        ([zero, build("S_LD_INT", base=zero.cell)], "S_LD_INT has operands of the affine form"),
    ]
    for operations, what in cases:
        with pytest.raises(PlenaError, match=what) as raised:
            instructions_from_module(ModuleOp(operations))
        assert "not in allocated register form" in str(raised.value)
        assert "allocate-registers" in str(raised.value)


def test_an_index_operand_is_named() -> None:
    zero, constant = cell(0), AffineOp(Linear(64))
    module = ModuleOp([zero, build("S_ADD_INT", dst=zero.cell, a=zero.cell, b=zero.cell)])
    instruction = module.body.block.last_op
    assert instruction is not None
    instruction.operands = [zero.cell, zero.cell, constant.result]
    with pytest.raises(PlenaError, match=r"operand of plena_isa.s_add_int is of type index"):
        instructions_from_module(module)


def test_too_many_trips_are_refused() -> None:
    counter = cell(5)
    with pytest.raises(PlenaError, match="runs 4194304 times; the hardware counts to 4194303"):
        instructions_from_module(ModuleOp([counter, structured_loop(counter.cell, 1 << 22)]))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("C_BREAK\n.word 0x12345600", "instruction 1: the word 0x12345600 decodes to no instruction"),
        ("M_BTMM 1, gp1, gp2", "instruction 0: M_BTMM with a nonzero rd field does not load"),
    ],
)
def test_words_without_an_op_are_refused(text: str, what: str) -> None:
    with pytest.raises(PlenaError, match=what):
        module_from_instructions(parse_asm(text))


def test_ignored_bits_are_lost() -> None:
    module = module_from_instructions(parse_asm("M_MM 3, gp1, gp2\n.word 0x9C15D46D"))
    assert print_asm(instructions_from_module(module)) == "M_MM 0, gp1, gp2\nC_SET_STRIDE_REG gp1\n"


def test_provenance_travels_both_ways() -> None:
    program = parse_asm(PROGRAM)
    origins = [Provenance("layers.0", f"step{i // 4}") for i in range(len(program))]
    stream = stream_from_module(module_from_instructions(program, origins))
    assert stream.provenance == origins
    assert stream.instructions == program


def test_missing_provenance_is_the_loops_or_the_next_ones() -> None:
    def named(**names: str) -> dict[str, Attribute]:
        return {f"plena.{k}": StringAttr(v) for k, v in names.items()}

    def marked(imm: int, **names: str) -> tuple[RegisterOp, Instruction]:
        zero = cell(0)
        return zero, build("S_ADDI_INT", named(**names), dst=zero.cell, a=zero.cell, imm=imm)

    counter = cell(5)
    body = [*marked(1), *marked(2, step="inner"), *marked(3, module="other")]
    loop = ForOp(2, body, counter.cell, named(module="m", step="loop"))
    module = ModuleOp([counter, *marked(0), loop, *marked(4)])
    assert stream_from_module(module).provenance == [
        ("m", "loop"),  # set-up for the loop
        ("m", "loop"),  # C_LOOP_START
        ("m", "loop"),
        ("m", "inner"),
        ("other", "loop"),
        ("m", "loop"),  # C_LOOP_END
        ("m", "loop"),  # behind it
    ]
