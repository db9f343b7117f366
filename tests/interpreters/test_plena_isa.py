"""Running modules in every form gives what the emulator gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.parser import Parser
from xdsl.utils.exceptions import InterpretationError

from plena.assembly import encode, parse_asm
from plena.assembly.stream import instructions_from_module, module_from_instructions
from plena.dialects.loop import Loop
from plena.dialects.plena_isa import INSTRUCTIONS, PlenaISA
from plena.emulator import EmulationResult, emulate
from plena.errors import EmulatorError
from plena.interpreters.plena_isa import run_module
from plena.machine.target import Target
from plena.passes.allocate_registers import AllocateRegisters
from plena.passes.materialize_addresses import MaterializeAddresses
from plena.passes.set_state import SetState
from plena.statistics.statistics import statistics_of
from tests.conformance.cases import Case, index
from tests.properties.strategies_isa import AFFINE, Text
from tests.properties.strategies_programs import (
    INSTRUCTIONS_DRAWN,
    NOT_DRAWN,
    SETTERS,
    SMALL,
    WORDS,
    inputs,
    runnable_modules,
)


def parse(text: str) -> ModuleOp:
    context = Context()
    for dialect in (Builtin, Loop, PlenaISA):
        context.load_dialect(dialect)
    module = Parser(context, text).parse_module()
    module.verify()
    return module


def assert_same_memories(a: EmulationResult, b: EmulationResult) -> None:
    assert (a.vram_bits == b.vram_bits).all()
    assert (a.mram_bits == b.mram_bits).all()
    assert (a.hbm == b.hbm).all()
    assert (a.fp_sram_bits[:WORDS] == b.fp_sram_bits[:WORDS]).all()
    assert (a.int_sram[:WORDS] == b.int_sram[:WORDS]).all()


AFFINE_TEXT = """
%z = plena_isa.register : !plena_isa.gp<gp0>
%f = plena_isa.register : !plena_isa.f
%one = loop.affine 1
plena_isa.s_ld_fp dst(%f : !plena_isa.f) base(%one)
loop.for %i = 0 to 3 {
  %word = loop.affine 4 + 1 * %i
  %step = plena_isa.s_ld_int base(%word)
  loop.for %j = 0 to 2 {
    %row = loop.affine 0 + 128 * %i + 64 * %j
    %out = loop.affine 640 + 64 * %step
    %mask = loop.affine 6
    plena_isa.v_mul_vf dst(%row) a(%row) b(%f : !plena_isa.f) v_mask(%mask) mask = 1
    plena_isa.v_add_vv dst(%out) a(%out) b(%row)
  }
}
"""


def test_the_affine_form_computes_what_it_says() -> None:
    rows = np.arange(1, 6 * 64 + 1, dtype=np.float32).reshape(6, 64) % 13
    result = run_module(
        parse(AFFINE_TEXT), Target(), fp_sram=[0, 2], int_sram=[0, 0, 0, 0, 1, 0, 1], vram=rows
    )
    doubled = rows.copy()
    doubled[:, 16:48] *= 2
    assert (result.vram_bits[:6] == emulate([], vram=doubled).vram_bits[:6]).all()
    sums = np.stack([doubled[2] + doubled[3], doubled[0] + doubled[1] + doubled[4] + doubled[5]])
    assert (result.vram_bits[10:12] == emulate([], vram=sums).vram_bits[:2]).all()
    assert result.executed == 1 + 3 * (1 + 2 * 2)
    assert result.counters["V_ADD_VV"] == 6


def test_sticky_operands_hold_for_one_instruction() -> None:
    text = """
%r = loop.affine 0
%mask = loop.affine 1
plena_isa.v_add_vv dst(%r) a(%r) b(%r) v_mask(%mask) mask = 1
plena_isa.v_add_vv dst(%r) a(%r) b(%r) mask = 1
"""
    result = run_module(parse(text), Target(), vram=np.ones(64, np.float32))
    expected = emulate([], vram=np.where(np.arange(64) < 16, 2, 1).astype(np.float32))
    assert (result.vram_bits[0] == expected.vram_bits[0]).all()


def test_counters_count_down_and_end_at_zero() -> None:
    text = """
%z = plena_isa.register : !plena_isa.gp<gp0>
%c = plena_isa.register : !plena_isa.gp
%p = plena_isa.register : !plena_isa.gp
plena_isa.s_addi_int dst(%p : !plena_isa.gp) a(%z : !plena_isa.gp<gp0>) imm = 8
loop.for %i = 0 to 3 counter(%c : !plena_isa.gp) {
  plena_isa.s_st_int src(%c : !plena_isa.gp) base(%p : !plena_isa.gp)
  plena_isa.s_addi_int dst(%p : !plena_isa.gp) a(%p : !plena_isa.gp) imm = 1
}
plena_isa.s_st_int src(%c : !plena_isa.gp) base(%p : !plena_isa.gp) imm = 1
"""
    result = run_module(parse(text), Target(), int_sram=[9] * 16)
    assert result.int_sram[8:14].tolist() == [3, 2, 1, 9, 0, 9]
    assert result.gp.tolist() == [0] * 16


def test_a_virtual_register_must_be_written_first() -> None:
    text = """
%f = plena_isa.register : !plena_isa.f
%r = loop.affine 0
plena_isa.v_red_sum acc(%f : !plena_isa.f) a(%r)
"""
    with pytest.raises(InterpretationError, match="virtual f register is read before it is written"):
        run_module(parse(text))


def test_negative_addresses_are_refused() -> None:
    with pytest.raises(InterpretationError, match="negative: -64"):
        run_module(parse("%r = loop.affine -64\nplena_isa.v_exp_v dst(%r) a(%r)"))


def test_aborts_are_the_emulators() -> None:
    with pytest.raises(EmulatorError, match="unaligned-vram"):
        run_module(parse("%r = loop.affine 3\nplena_isa.v_exp_v dst(%r) a(%r)"))


SMALL_CASES = [
    name
    for name, case in index().items()
    if case["expected"] == "state" and case["upstream_assembler_same"] is not None and case["executed"] < 400
]


@pytest.mark.parametrize("name", SMALL_CASES[::6])
def test_conformance_programs_run_as_modules(name: str) -> None:
    case = Case.named(name)
    program = parse_asm(case.info["assembly"])
    result = run_module(module_from_instructions(program), **case.inputs())
    direct = emulate(encode(program), **case.inputs())
    for memory in ("vram_bits", "mram_bits", "hbm", "fp_sram_bits", "int_sram", "gp", "hb"):
        assert (getattr(result, memory) == getattr(direct, memory)).all(), memory
    assert result.counters == direct.counters


def test_every_runnable_affine_instruction_is_drawn() -> None:
    affine = {op.SPEC.mnemonic for op in AFFINE}
    assert affine == {*INSTRUCTIONS_DRAWN, *NOT_DRAWN, *SETTERS}
    assert set(INSTRUCTIONS_DRAWN) <= set(INSTRUCTIONS)


@settings(max_examples=25)
@given(runnable_modules(), st.integers(0, 100), st.integers(6, 15), st.integers(3, 7))
def test_every_form_leaves_the_same_memories(text: Text, seed: int, gp: int, f: int) -> None:
    module = text.module
    module.verify()
    expected = run_module(module, **inputs(seed))
    for step in (SetState(), MaterializeAddresses(registers=gp), AllocateRegisters(gp=gp, f=f)):
        step.apply(Context(), module)
        module.verify()
        assert_same_memories(run_module(module, **inputs(seed)), expected)
    program = instructions_from_module(module)
    emulated = emulate(encode(program), **inputs(seed))
    assert_same_memories(emulated, expected)
    counted = statistics_of(program, SMALL)
    assert counted.dynamic == emulated.executed
    assert counted.cycles["transactional"] == emulated.cycles
    assert counted.dma_cycles >= emulated.dma_cycles  # a pitch that is not known counts as strided
    if "S_LD_INT" not in counted.opcodes:
        assert counted.dma_cycles == emulated.dma_cycles
