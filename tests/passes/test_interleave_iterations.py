"""interleave-iterations: what a program leaves stays, and latencies are hidden."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

import plena
from plena.assembly import print_asm
from plena.dialects.loop.nests import loops_in
from plena.dialects.plena_isa import Memory, RegisterOp
from plena.loops.effects import EffectTable
from plena.loops.scheduling.tiles import untouched_part
from plena.machine.target import Target
from plena.passes.emission import counted
from plena.passes.interleave_iterations import InterleaveIterations
from tests.affine.programs import Program, parse
from tests.affine.uninterpreted import TINY, UninterpretedMachine
from tests.lifting.affine_machine import memories
from tests.lifting.machines import machine

ROW = 8
TARGET = Target().with_settings({"VECTOR_SRAM_SIZE": 1 << 12, "HBM_SIZE": 1 << 18})

CELLS = """
  %f0 = plena_isa.register : !plena_isa.f<f0>
  %f = plena_isa.register : !plena_isa.f{0}
  %g = plena_isa.register : !plena_isa.f{1}
  %h = plena_isa.register : !plena_isa.f{2}
"""


class Named(UninterpretedMachine):
    """A machine that calls virtual cells by the names they have in the text."""

    def run(self, module: ModuleOp) -> dict[object, int]:
        declared = [op.results[0] for op in module.walk() if isinstance(op, RegisterOp)]
        self.names = {cell: cell.name_hint or "new" for cell in declared}
        self._block(module.body.block, dict[SSAValue, int]())
        return {cell: value for cell, value in self.state.items() if value != self.term(("initial", cell))}


def final_state(module: ModuleOp, terms: dict[object, int]) -> dict[object, int]:
    terms.setdefault("zero", 0)
    run = Named(TINY)
    run.terms = terms
    return run.run(module)


@st.composite
def chains(draw: st.DrawFn) -> Program:
    """Loops of vector and scalar instructions on rows of their own, scratch, and sometimes rows of other iterations."""
    zeros = "a(%f0 : !plena_isa.f<f0>) b(%f0 : !plena_isa.f<f0>)"
    physical = draw(st.booleans())
    registers = ("<f1>", "<f2>", "<f5>") if physical else ("", "", "")
    lines = [CELLS.format(*registers)]
    for number in range(draw(st.integers(1, 2))):
        trips = draw(st.sampled_from((4, 5, 8, 12)))
        pitch = draw(st.sampled_from((ROW, ROW, ROW, 0, 4)))
        rows = [
            f"0 + {pitch} * %i{number}",
            f"0 + {pitch} * %i{number}",
            "400",
            "408",
            f"{ROW} + {pitch} * %i{number}",
        ]
        body: list[str] = []
        inner = draw(st.sampled_from((0, 0, 2)))
        for at in range(draw(st.integers(1, 7))):
            name = f"%r{number}_{at}"
            dst, a, b = (draw(st.sampled_from(rows)) for _ in range(3))
            cell, other = (draw(st.sampled_from(("f", "f", "g", "h"))) for _ in range(2))
            if inner and at == 1:
                dst += f" + {ROW} * %k{number}"
            kind = f" : !plena_isa.f{registers['fgh'.index(cell)]}"
            second = f" : !plena_isa.f{registers['fgh'.index(other)]}"
            body.append(
                draw(
                    st.sampled_from(
                        (
                            f"{name}d = loop.affine {dst}\n{name}a = loop.affine {a}\n{name}b = loop.affine {b}\n"
                            f"plena_isa.v_add_vv dst({name}d) a({name}a) b({name}b)",
                            f"{name}d = loop.affine {dst}\n{name}a = loop.affine {a}\n"
                            f"plena_isa.v_mul_vf dst({name}d) a({name}a) b(%{cell}{kind})",
                            f"{name}d = loop.affine {dst}\nplena_isa.v_exp_v dst({name}d) a({name}d)",
                            f"{name}a = loop.affine {a}\nplena_isa.v_red_sum acc(%{cell}{kind}) a({name}a)",
                            f"{name}k = loop.affine 3\nplena_isa.s_ld_fp dst(%{cell}{kind}) base({name}k)",
                            f"{name}k = loop.affine 5\nplena_isa.s_st_fp src(%{cell}{kind}) base({name}k)",
                            f"plena_isa.s_add_fp dst(%{cell}{kind}) {zeros}",
                            f"plena_isa.s_reci_fp dst(%{cell}{kind}) a(%{other}{second})",
                        )
                    )
                )
            )
        text = "\n".join(body)
        if inner:
            text = f"loop.for %k{number} = 0 to {inner} {{\n{text}\n}}"
        lines.append(f"loop.for %i{number} = 0 to {trips} {{\n{text}\n}}")
    return Program(parse("\n".join(lines)))


@settings(max_examples=80, deadline=None)
@given(chains(), st.booleans())
def test_what_a_program_leaves_is_the_same(program: Program, spare_rows: bool) -> None:
    module, terms = program.module, dict[object, int]()
    spare = untouched_part(
        module, EffectTable(TINY), Memory.VECTOR, TINY.vector_sram_size * TINY.vlen, TINY.vlen
    )
    before = final_state(module, terms)
    TINY.attach(module)
    InterleaveIterations("rtl-v1", spare_rows).apply(Context(), module)
    module.verify()
    after = final_state(module, terms)
    after.pop("new", None)
    new_registers = {f"!plena_isa.f<f{n}>" for n in (3, 4, 6, 7)}
    after = {cell: value for cell, value in after.items() if cell not in new_registers}
    if spare_rows:
        for address in range(spare.start, spare.stop):
            after.pop((Memory.VECTOR, address), None)
    assert after == before


SOFTMAX = (
    CELLS.format("", "", "")
    + """
  loop.for %i = 0 to 64 {
    %x = loop.affine 64 + 64 * %i
    %s = loop.affine 0
    %k = loop.affine 3
    plena_isa.s_ld_fp dst(%f : !plena_isa.f) base(%k)
    plena_isa.v_red_max acc(%f : !plena_isa.f) a(%x)
    plena_isa.s_add_fp dst(%g : !plena_isa.f) a(%f0 : !plena_isa.f<f0>) b(%f0 : !plena_isa.f<f0>)
    plena_isa.v_sub_vf dst(%s) a(%x) b(%f : !plena_isa.f)
    plena_isa.v_exp_v dst(%s) a(%s)
    plena_isa.v_red_sum acc(%g : !plena_isa.f) a(%s)
    plena_isa.s_reci_fp dst(%g : !plena_isa.f) a(%g : !plena_isa.f)
    plena_isa.v_mul_vf dst(%x) a(%s) b(%g : !plena_isa.f)
  }
"""
)


def cycles(module: ModuleOp) -> int:
    TARGET.attach(module)
    return counted(module.clone(), "rtl-v1").cycles


def test_rows_of_a_softmax_hide_each_others_latencies() -> None:
    module = parse(SOFTMAX)
    before = cycles(module)
    InterleaveIterations().apply(Context(), module)
    assert cycles(module) < 0.8 * before


def test_iterations_in_one_body_are_reordered_too() -> None:
    chain = "plena_isa.v_exp_v dst(%x{0}) a(%x{0})\nplena_isa.v_reci_v dst(%x{0}) a(%x{0})\n"
    body = "".join(f"%x{n} = loop.affine {64 * n} + 256 * %i\n" + chain.format(n) for n in range(4))
    module = parse(f"loop.for %i = 0 to 8 {{\n{body}}}")
    before = cycles(module)
    InterleaveIterations(room=0).apply(Context(), module)
    (loop,) = loops_in(module)
    assert loop.trips == 8 and cycles(module) < 0.5 * before


def test_a_profile_without_latencies_changes_nothing() -> None:
    module = parse(SOFTMAX)
    text = str(module)
    for timing in ("transactional", "pipelined", "serialized"):
        InterleaveIterations(timing).apply(Context(), module)
    assert str(module) == text


def test_room_is_kept() -> None:
    module = parse(SOFTMAX)
    InterleaveIterations(room=7).apply(Context(), module)
    (loop,) = loops_in(module)
    assert loop.trips == 64
    InterleaveIterations(room=8).apply(Context(), module)
    (loop,) = loops_in(module)
    assert loop.trips == 32


def test_rows_that_follow_from_each_other_stay_in_their_order() -> None:
    text = """
  loop.for %i = 0 to 64 {
    %x = loop.affine 0 + 64 * %i
    %y = loop.affine 64 + 64 * %i
    plena_isa.v_exp_v dst(%y) a(%x)
    plena_isa.v_reci_v dst(%y) a(%y)
  }
"""
    module = parse(text)
    InterleaveIterations().apply(Context(), module)
    assert str(module) == str(parse(text))


def test_foreign_programs_are_interleaved_too() -> None:
    body = "V_EXP_V gp1, gp1, 0\nV_ADD_VF gp1, gp1, f1, 0\nV_RECI_V gp1, gp1, 0\nS_ADDI_INT gp1, gp1, 64\n"
    more = "".join(f"S_LD_FP f2, gp0, {n * n % 101}\nS_ST_FP f2, gp0, {n**3 % 89 + 200}\n" for n in range(60))
    text = f"{more}S_LD_FP f1, gp0, 1\nC_LOOP_START gp2, 96\n{body}C_LOOP_END gp2\n"
    plain, hidden = (plena.optimize(text, TARGET, timing=timing) for timing in ("transactional", "rtl-v1"))
    before, after = (program.stats().latency["rtl-v1"] for program in (plain, hidden))
    assert before is not None and after is not None and after < 0.6 * before
    machines = machine(TARGET), machine(TARGET)
    machines[0].run(text)
    machines[1].run(hidden.words)
    for name, expected in memories(machines[0]).items():
        assert np.array_equal(expected.view(np.uint8), memories(machines[1])[name].view(np.uint8)), name


@pytest.mark.parametrize("timing", ["rtl-v1"])
def test_a_gate_is_compiled_so_and_stays_right(timing: str) -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.SiLU(), torch.nn.Linear(256, 64))
    x = torch.randn(64, 64)
    program = plena.compile(module, (x,), timing=timing)
    assert "interleave-iterations" in program.pipeline
    assert program.check(x).passed
    plain = plena.compile(module, (x,))
    assert program.pipeline != plain.pipeline and "interleave" not in plain.pipeline


def test_assembly_of_an_interleaved_loop_uses_no_more_than_the_registers() -> None:
    module = parse(SOFTMAX)
    TARGET.attach(module)
    InterleaveIterations().apply(Context(), module)
    text = print_asm(counted(module, "rtl-v1").instructions)
    assert "S_ST_FP" not in text, "nothing is spilled"


@pytest.mark.slow
def test_a_layer_comes_near_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    from plena.compiler import beside_work
    from tests.models.builders import layer, public

    built = layer(public("clm-60m", 1), 256)
    program = plena.compile(built.module, built.inputs, timing="rtl-v1")
    timeline = program.timeline()
    assert timeline.cycles <= 1.15 * max(timeline.bounds.values())
    monkeypatch.setattr(beside_work, "_side_by_side", lambda *_: [])
    monkeypatch.setattr(beside_work, "_loading_ahead", lambda *_: [])
    plain = plena.compile(built.module, built.inputs, timing="rtl-v1")
    assert program.stats().static <= 1.3 * plain.stats().static
