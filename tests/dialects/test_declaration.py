"""An instruction that only this file declares is known everywhere, and is gone when it is withdrawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

import plena
from plena.assembly import INVALID, decode, encode, parse_asm, print_asm
from plena.cli.reference import dialects_page, instructions_page
from plena.dialects.loop import ForOp
from plena.dialects.plena_isa import (
    INSTRUCTIONS,
    Cost,
    Field,
    Instruction,
    Mode,
    instructions_in,
    withdraw,
)
from plena.dialects.plena_isa.demands import aligned
from plena.dialects.plena_isa.instruction import instruction
from plena.dialects.plena_isa.sizes import VLEN, of_target
from plena.dialects.plena_isa.spec import STICKY, Memory, f, gp
from plena.dialects.plena_isa.touches import reads_rows, writes_rows, writes_words
from plena.driver import context, run_pipeline
from plena.emulator import Machine, aborts, emulates, forget_kernel
from plena.emulator.rounding import row_of, store_row
from plena.emulator.state import State, reset_state
from plena.errors import AssemblyError, EmulatorError, PlenaError
from plena.interpreters.plena_isa import run_module
from plena.lifting.structure import RESET, STATE_SLOTS
from plena.loops.dependence import Legality
from plena.loops.effects import EVERYTHING, EffectTable
from plena.machine.scalar_codes import bf16_round
from plena.machine.target import Target
from plena.passes.pipelines import PIPELINES
from plena.passes.set_state import SetState

TARGET = Target().with_settings({"VECTOR_SRAM_SIZE": 64})
OPCODE = 0x3A
PAIR = of_target("2", lambda _: 2)


def declare() -> type[Instruction]:
    @instruction(
        "V_BLEND_V",
        OPCODE,
        Cost.V_MUL,
        *(gp("dst", Field.RD), gp("a", Field.RS1), f("b", Field.RS2)),
        touches=(reads_rows("a", PAIR), writes_rows("dst")),
        demands=(aligned("a", PAIR * VLEN, "unaligned-vram"),),
    )
    class VBlendVOp(Instruction):
        """V[dst] = V[a] + f[b] * V[a + VLEN]."""

    return VBlendVOp


def blend(state: State, fields: Mapping[str, int]) -> int:
    vlen, rows = state.sizes.vlen, len(state.vram)
    first = row_of(int(state.gp[fields["a"]]), vlen, rows, state.facts)
    to = row_of(int(state.gp[fields["dst"]]), vlen, rows, state.facts)
    if first < 0 or to < 0:
        return -min(first, to)
    scaled = bf16_round(state.fp[fields["b"]] * state.vram[first + 1])
    state.row[:vlen] = state.vram[first] + scaled
    store_row(state.vram_bits, state.vram_touched, to, state.row_bits, vlen)
    return aborts.OK


@pytest.fixture
def toy() -> Iterator[type[Instruction]]:
    op = declare()
    emulates("V_BLEND_V")(blend)
    yield op
    forget_kernel("V_BLEND_V")
    withdraw(op)


PROGRAM = """S_LD_FP f1, gp0, 0
S_ADDI_INT gp2, gp0, 2048
C_LOOP_START gp3, 4
V_BLEND_V gp2, gp1, f1
S_ADDI_INT gp1, gp1, 128
S_ADDI_INT gp2, gp2, 64
C_LOOP_END gp3
"""


def rows() -> np.ndarray:
    return bf16_round(np.random.default_rng(3).standard_normal((8, 64)).astype(np.float32))


def expected(scale: float) -> np.ndarray:
    x = rows()
    return bf16_round(x[0::2] + bf16_round(np.float32(scale) * x[1::2]))


def result_of(vram_bits: np.ndarray) -> np.ndarray:
    return (vram_bits[32:36].astype(np.uint32) << 16).view(np.float32)


def parsed(text: str) -> ModuleOp:
    module = Parser(context(), text).parse_module()
    module.verify()
    TARGET.attach(module)
    return module


@pytest.mark.usefixtures("toy")
def test_it_is_printed_parsed_encoded_and_decoded() -> None:
    instructions = parse_asm("V_BLEND_V gp2, gp1, f3")
    (word,) = encode(instructions).tolist()
    assert word == OPCODE | 2 << 6 | 1 << 10 | 3 << 14
    assert print_asm(decode([word])).split() == ["V_BLEND_V", "gp2,", "gp1,", "f3"]
    text = "builtin.module {\n  %0 = plena_isa.register : !plena_isa.f\n  %1 = loop.affine 128\n  "
    text += "plena_isa.v_blend_v dst(%1) a(%1) b(%0 : !plena_isa.f)\n}"
    assert str(Parser(context(), text).parse_module()) == text


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("a", "dst", "code", "operand"),
    [(64, 0, "unaligned-vram", "a"), (64 * 64, 0, "vram-range", "a"), (0, 96, "unaligned-vram", "dst")],
)
def test_violated_demands_are_found(a: int, dst: int, code: str, operand: str) -> None:
    text = f"S_ADDI_INT gp1, gp0, {a}\nS_ADDI_INT gp2, gp0, {dst}\nV_BLEND_V gp2, gp1, f0"
    found = plena.verify(text, TARGET, "vector:0-4096")
    assert [(e.code, e.operand, e.index) for e in found if e.is_error] == [(code, operand, 2)]
    unknown = f"{text.splitlines()[0]}\n{text.splitlines()[1]}\nS_LD_INT gp3, gp0, 0\nC_LOOP_START gp4, 1\n"
    unknown += "S_MUL_INT gp3, gp3, gp3\nC_LOOP_END gp4\nV_BLEND_V gp2, gp1, f0"
    found = plena.verify(unknown, TARGET, "vector:0-4096 int:0-1=0..3")
    assert [(e.code, e.operand) for e in found if e.is_error] == [(code, operand)], (
        "where nothing can be lifted"
    )


@pytest.mark.usefixtures("toy")
def test_reads_of_unwritten_rows_are_warned_about() -> None:
    found = plena.verify("V_BLEND_V gp0, gp0, f0", TARGET, "vector:0-64")
    assert [(w.code, w.message) for w in found] == [
        ("unwritten-vector", "it reads vector row 1, which nothing has written")
    ]
    assert plena.verify("V_BLEND_V gp0, gp0, f0", TARGET, "vector:0-128") == []


@pytest.mark.usefixtures("toy")
def test_it_is_executed_lifted_and_lowered_again() -> None:
    state = {"fp_sram": [0.5], "vram": rows()}
    direct = plena.emulate(PROGRAM, target=TARGET, **state)
    assert np.array_equal(result_of(direct.vram_bits), expected(0.5))
    assert direct.counters["V_BLEND_V"] == 4
    assert direct.cycles == plena.stats(PROGRAM, TARGET).cycles["transactional"]
    affine = plena.lift(PROGRAM, TARGET)
    assert "plena_isa.v_blend_v" in str(affine) and "loop.for" in str(affine)
    assert np.array_equal(run_module(affine, TARGET, **state).vram_bits, direct.vram_bits)
    run_pipeline(affine, PIPELINES["register"])
    assert np.array_equal(run_module(affine, TARGET, **state).vram_bits, direct.vram_bits)


NEST = """builtin.module {{
  %f = plena_isa.register : !plena_isa.f<f1>
  loop.for %i = 0 to 4 {{
    loop.for %j = 0 to 4 {{
      %dst = loop.affine {dst}
      %a = loop.affine {a}
      plena_isa.v_blend_v dst(%dst) a(%a) b(%f : !plena_isa.f<f1>)
    }}
  }}
}}"""


def outer(dst: str, a: str) -> ForOp:
    return next(op for op in parsed(NEST.format(dst=dst, a=a)).walk() if isinstance(op, ForOp))


@pytest.mark.usefixtures("toy")
def test_dependence_knows_its_rows() -> None:
    legality = Legality(EffectTable(TARGET))
    assert legality.can_interchange(outer("8192 + 256 * %i + 64 * %j", "0 + 512 * %i + 128 * %j"))
    assert not legality.can_interchange(outer("8192 + 64 * %i + 64 * %j", "0 + 512 * %i + 128 * %j"))
    second_rows_are_written_before = outer("448 + 512 * %i + 128 * %j", "0 + 512 * %i + 128 * %j")
    assert not legality.can_interchange(second_rows_are_written_before)


@pytest.mark.usefixtures("toy")
def test_it_is_documented() -> None:
    page = instructions_page()
    section = page[page.index("## Others") :]
    assert "    V_BLEND_V gpDst, gpA, fB\n" in section
    assert "V[dst] = V[a] + f[b] \\* V[a + VLEN]." in section
    assert (
        "Opcode 0x3A; cost `v_mul`; cycles: transactional 1, pipelined 1, serialized 1, rtl-v1 1." in section
    )
    assert "reads VECTOR[a : 2 x VLEN]; writes VECTOR[dst : VLEN]." in section
    assert "a is a multiple of 2 \\* VLEN; a and 2 rows from it on lie in vector SRAM; dst is" in section
    assert "### `plena_isa.v_blend_v`" in dialects_page()


def test_it_is_gone_without_its_declaration(toy: type[Instruction]) -> None:
    word = encode(parse_asm("V_BLEND_V gp0, gp0, f1"))
    forget_kernel("V_BLEND_V")
    with pytest.raises(EmulatorError, match="bad-opcode"):
        Machine(TARGET).run(word)
    withdraw(toy)
    try:
        with pytest.raises(AssemblyError, match="V_BLEND_V"):
            parse_asm("V_BLEND_V gp0, gp0, f1")
        assert decode(word)[0].spec is INVALID
        assert "V_BLEND_V" not in instructions_page() + dialects_page()
        with pytest.raises(PlenaError, match="decodes to no instruction"):
            plena.lift(word, TARGET)
    finally:
        declare()
        emulates("V_BLEND_V")(blend)


@pytest.fixture
def undeclared() -> Iterator[None]:
    @instruction("V_ODD", OPCODE, Cost.ONE, gp("x", Field.RD))
    class VOddOp(Instruction):
        """Nobody says what it does."""

    emulates("V_ODD")(lambda state, fields: aborts.OK)
    yield
    forget_kernel("V_ODD")
    withdraw(VOddOp)


@pytest.mark.usefixtures("undeclared")
def test_undeclared_effects_are_everything() -> None:
    module = parsed(
        """builtin.module {
  %f = plena_isa.register : !plena_isa.f<f1>
  %x = loop.affine 64
  plena_isa.v_exp_v dst(%x) a(%x)
  plena_isa.v_odd x(%x)
  plena_isa.s_ld_fp dst(%f : !plena_isa.f<f1>) base(%x)
  loop.for %i = 0 to 2 {
    plena_isa.v_odd x(%x)
  }
}"""
    )
    effects = EffectTable(TARGET)
    legality = Legality(effects)
    exp, odd, load, _ = instructions_in(module)
    loop = next(op for op in module.walk() if isinstance(op, ForOp))
    assert EVERYTHING in effects.of(odd) and EVERYTHING in effects.of(loop)
    assert not legality.can_reorder(exp, odd) and not legality.can_reorder(odd, load)
    assert legality.can_reorder(exp, load)
    assert not legality.can_hoist(loop.operations[0], loop)
    assert not legality.private(loop)
    assert "counts as touching everything" in instructions_page()


@pytest.mark.usefixtures("undeclared")
def test_the_static_check_does_not_know_what_undeclared_effects_wrote() -> None:
    read = "V_EXP_V gp1, gp0, 0\nS_LD_FP f1, gp0, 3\n"
    assert len([w for w in plena.verify(read, TARGET) if w.code.startswith("unwritten")]) == 2
    after = plena.verify("V_ODD gp0\n" + read, TARGET)
    assert not [w for w in after if w.code.startswith("unwritten")]


@pytest.mark.usefixtures("undeclared")
def test_the_lift_does_not_follow_numbers_through_undeclared_effects() -> None:
    text = "S_ADDI_INT gp1, gp0, 64\nS_ST_INT gp1, gp0, 5\n{}S_LD_INT gp2, gp0, 5\nV_EXP_V gp2, gp2, 0"
    forwarded = str(plena.lift(text.format(""), TARGET))
    assert "s_ld_int" not in forwarded
    assert "s_ld_int" in str(plena.lift(text.format("V_ODD gp0\n"), TARGET))
    with pytest.raises(PlenaError, match="V_ODD makes a number that is not linear"):
        plena.lift(
            "S_ADDI_INT gp1, gp0, 1\nC_SET_V_MASK_REG gp1\nV_ODD gp0\nV_ADD_VV gp0, gp0, gp0, 1", TARGET
        )


def test_numbers_that_nobody_follows_are_not_lifted() -> None:
    @instruction("S_ODD_INT", OPCODE, Cost.ONE, gp("dst", Field.RD, Mode.WRITE), touches=())
    class SOddOp(Instruction):
        """gp[dst] = some number."""

    try:
        with pytest.raises(PlenaError, match="S_ODD_INT makes a number that is not linear"):
            plena.lift("S_ODD_INT gp1\nV_EXP_V gp1, gp1, 0", TARGET)
    finally:
        withdraw(SOddOp)


def test_written_int_words_are_bounded_as_declared() -> None:
    limit = of_target("16", lambda _: 16)

    @instruction(
        "S_ODD_INT",
        OPCODE,
        Cost.ONE,
        gp("at", Field.RD),
        touches=(writes_words(Memory.INT, "at", PAIR, below=limit),),
    )
    class SOddOp(Instruction):
        """INT[at], INT[at + 1] = some numbers below 16."""

    try:
        text = "S_ODD_INT gp0\nS_LD_INT gp1, gp0, {}\nS_LD_FP f1, gp1, 0"
        assert "plena.range = [#builtin.int<0>, #builtin.int<15>]" in str(plena.lift(text.format(1), TARGET))
        with pytest.raises(PlenaError, match="that nothing wrote"):
            plena.lift(text.format(2), TARGET)
    finally:
        withdraw(SOddOp)


def test_a_taken_name_or_opcode_is_refused() -> None:
    for name, opcode in (("V_EXP_V", OPCODE), ("V_ODD", 0x01)):
        with pytest.raises(ValueError, match="declared already"):
            instruction(name, opcode, Cost.ONE, touches=())(type("Odd", (Instruction,), {}))


def test_sticky_registers_reset_as_declared() -> None:
    assert reset_state(TARGET).sticky.tolist() == [register.reset for register in STICKY.values()]
    assert [RESET[slot] for slot in STATE_SLOTS.values()] == [register.reset for register in STICKY.values()]


def test_every_instruction_says_what_it_touches() -> None:
    for spec in INSTRUCTIONS.values():
        assert spec.touches is not None or not spec.executable, spec.mnemonic
        assert all(requirement.code in aborts.CODES for requirement in spec.requirements), spec.mnemonic
        assert all(demand.code in aborts.CODES for demand in spec.demands), spec.mnemonic


@pytest.mark.parametrize(("rstride", "is_strided"), [(0, False), (1, True), (2, False)])
def test_only_one_selects_the_stride_register(rstride: int, is_strided: bool) -> None:
    text = f"S_ADDI_INT gp1, gp0, 128\nC_SET_STRIDE_REG gp1\nH_PREFETCH_V gp0, gp0, a0, {rstride}, 0"
    affine = plena.lift(text, TARGET)
    assert (" stride(" in str(affine)) is is_strided
    SetState().apply(context(), affine)
    assert ("c_set_stride_reg" in str(affine)) is is_strided
