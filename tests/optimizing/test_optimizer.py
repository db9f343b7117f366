"""Optimised programs do what the given ones do, and are not worse."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings

import plena
from plena.api.optimize import optimize
from plena.driver import run_pipeline
from plena.errors import CompileError, PlenaError, VerificationError
from plena.lifting import FlatProgram, Preloaded, lift_code
from plena.verification import verify
from tests.corpus import programs as corpus
from tests.lifting.affine_machine import memories
from tests.lifting.flat_programs import INT_FIRST, INT_HIGH, INT_LOW, flat_programs
from tests.lifting.machines import SMALL, machine

BUDGET = 300
LOADED = {"int": [(INT_FIRST, 1024, INT_LOW, INT_HIGH)]}
NUMBERS = [0] * INT_FIRST + np.random.default_rng(7).integers(
    INT_LOW, INT_HIGH + 1, 1024 - INT_FIRST
).tolist()


def assert_same_memories(machines: tuple[plena.emulator.Machine, ...]) -> None:
    left, right = (memories(m) for m in machines)
    for name, expected in left.items():
        assert np.array_equal(expected.view(np.uint8), right[name].view(np.uint8)), f"{name} differs"


@pytest.mark.parametrize("name", corpus.NAMES)
def test_the_corpus_keeps_its_effect_and_gets_no_slower(name: str) -> None:
    text = corpus.text(name)
    program = optimize(text, corpus.TARGET, max_instructions=BUDGET, preloaded=corpus.PRELOADED)
    machines = corpus.machine(), corpus.machine()
    before, after = machines[0].run(text), machines[1].run(program.words)
    assert_same_memories(machines)
    assert after.cycles <= before.cycles
    assert program.stats().static <= BUDGET
    assert [d for d in program.decisions if d.endswith("taken")]
    errors = [f for f in verify(program.words, corpus.TARGET, corpus.PRELOADED) if f.is_error]
    assert not errors


@given(flat_programs(depth=2, most=5))
@settings(max_examples=15)
def test_random_programs_keep_their_effect(text: str) -> None:
    try:
        program = optimize(text, SMALL, max_instructions=200, preloaded=LOADED)
    except CompileError as error:
        assert "was found" in error.what
        return
    except PlenaError as error:
        assert re.search(
            "loaded from INT SRAM|loaded at run time|takes turns|in every iteration|step that", error.what
        )
        return
    machines = machine(int_sram=NUMBERS), machine(int_sram=NUMBERS)
    machines[0].run(text)
    machines[1].run(program.words)
    assert_same_memories(machines)


def test_size_is_an_objective() -> None:
    text = corpus.text("expanded_matmul")
    small = optimize(text, corpus.TARGET, objective="size")
    fast = optimize(text, corpus.TARGET, objective="cycles", timing="pipelined")
    assert small.stats().static <= 30
    assert fast.stats().cycles["pipelined"] <= small.stats().cycles["pipelined"]
    assert fast.timing == "pipelined"


def test_a_long_program_becomes_short_without_taking_longer() -> None:
    text = corpus.text("expanded_matmul")
    before, program = plena.stats(text, target=corpus.TARGET), optimize(text, corpus.TARGET)
    after = program.stats()
    assert after.cycles["transactional"] <= before.cycles["transactional"]
    assert after.static < 0.5 * before.static
    machines = corpus.machine(), corpus.machine()
    machines[0].run(text)
    machines[1].run(program.words)
    assert_same_memories(machines)


def test_modules_of_both_forms_are_taken() -> None:
    text = corpus.text("softmax_rows")
    affine = lift_code(FlatProgram.of(text), corpus.TARGET, Preloaded())
    register = affine.clone()
    run_pipeline(register, ("set-state", "materialize-addresses", "allocate-registers"))
    before = str(affine)
    results = [optimize(p, max_instructions=100) for p in (affine, register)]
    results.append(optimize(text, corpus.TARGET, max_instructions=100))
    assert str(affine) == before, "the given module stays as it was"
    for program in results:
        machines = corpus.machine(), corpus.machine()
        machines[0].run(text)
        machines[1].run(program.words)
        assert_same_memories(machines)
        assert program.target == corpus.TARGET
    assert len({p.stats().cycles["transactional"] for p in results}) == 1


def test_it_is_a_public_name_and_prints_assembly() -> None:
    program = plena.optimize("S_ADDI_INT gp0, gp0, 0\nV_EXP_V gp0, gp0, 0")
    assert program.asm == "V_EXP_V gp0, gp0, 0\n"


def test_budgets_that_cannot_be_met() -> None:
    text = corpus.text("layer_norm")
    with pytest.raises(CompileError, match=r"no program of at most 9 instructions.*smallest has \d+"):
        optimize(text, corpus.TARGET, max_instructions=9)


def test_contradictory_options() -> None:
    for options in (
        {"objective": "speed"},
        {"timing": "real"},
        {"max_instructions": 0},
        {"max_instructions": True},
        {"max_instructions": 5.5},
    ):
        with pytest.raises(CompileError, match=next(iter(options))):
            optimize("V_EXP_V gp0, gp0, 0", **options)  # type: ignore[arg-type]


def test_programs_that_abort() -> None:
    text = "; nothing\nS_ADDI_INT gp1, gp0, 3\n\nS_ADDI_INT gp2, gp0, 0\nV_EXP_V gp1, gp2, 0"
    with pytest.raises(VerificationError, match=r"line 5 \(V_EXP_V gp1, gp2, 0\).*unaligned-vram"):
        optimize(text)


def test_what_cannot_be_lifted_names_its_line() -> None:
    with pytest.raises(PlenaError, match="line 2"):
        optimize("V_EXP_V gp0, gp0, 0\nS_LD_INT gp1, gp0, 9")


def test_spills_go_where_the_program_has_nothing() -> None:
    from plena.optimizing.optimization_task import Task
    from plena.registers.spill_region import SpillMemory, number_attribute

    text = "S_ST_INT gp0, gp0, 1000\nC_LOOP_START gp1, 50\nS_ST_FP f0, gp1, 899\nC_LOOP_END gp1"
    task = Task.of(text, SMALL, Preloaded.of({"int": 600}))
    task.reserve_spills()
    assert number_attribute(task.affine, SpillMemory.INT.base_attribute) == 600
    assert number_attribute(task.affine, SpillMemory.FP.base_attribute) == 0


def test_the_watchdog_counts_one_execution_of_an_inner_loop() -> None:
    target = plena.Target().with_settings({"MAX_LOOP_INSTRUCTIONS": 30})
    body = "V_EXP_V gp3, gp3, 0\nV_RECI_V gp3, gp3, 0\n"
    inner = f"C_LOOP_START gp2, 3\n{body}C_LOOP_END gp2\n"
    text = f"S_ADDI_INT gp3, gp0, 64\nC_LOOP_START gp1, 200\n{inner}V_EXP_V gp3, gp3, 0\nC_LOOP_END gp1\n"
    plena.emulate(text, target=target)  # runs: 200 iterations of 12 instructions
    assert optimize(text, target, objective="size").stats().static <= 8
