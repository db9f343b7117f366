"""Spilled pointers disappear when their loads are gone; what INT SRAM holds at the end stays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from plena.errors import PlenaError
from plena.lifting import FlatProgram, Preloaded, lifted_program
from plena.lifting.build import module_of
from plena.lifting.stores import without_dead_stores
from tests.corpus import programs as corpus
from tests.lifting.affine_machine import assert_same_effect
from tests.lifting.flat_programs import INT_FIRST, INT_HIGH, INT_LOW, flat_programs
from tests.lifting.machines import SMALL, machine


def stored(text: str, preloaded: str = "") -> list[str]:
    """The stores that are left, with the depth of their loops."""
    program = without_dead_stores(lifted_program(FlatProgram.of(text), SMALL, Preloaded.of(preloaded)))
    lines = str(module_of(program)).splitlines()
    return [line.split(" src")[0].replace("plena_isa.", "") for line in lines if "s_st_int" in line]


def test_a_pointer_spilled_in_a_loop_is_stored_once_behind_it() -> None:
    assert len(stored(corpus.text("spilled_pointers"))) == 3
    assert not [line for line in stored(corpus.text("spilled_pointers")) if line.startswith("    ")]


def test_a_word_that_a_load_may_read_stays() -> None:
    text = """
    C_LOOP_START gp1, 4
    S_ST_INT gp1, gp0, 3
    S_LD_INT gp2, gp1, 0
    S_LD_FP f1, gp2, 0
    S_ADDI_INT gp3, gp0, 7
    S_ST_INT gp3, gp0, 3
    C_LOOP_END gp1
    """
    assert stored(text, "int:0-8=0..9") == ["    s_st_int", "  s_st_int"]


def test_a_word_carried_to_the_next_iteration_stays() -> None:
    text = """
    S_ADDI_INT gp1, gp0, 1
    S_ST_INT gp1, gp0, 3
    C_LOOP_START gp4, 4
    S_LD_INT gp2, gp4, 2
    S_LD_FP f1, gp2, 0
    S_ST_INT gp4, gp0, 3
    C_LOOP_END gp4
    """
    assert stored(text, "int:4-8=0..9") == ["  s_st_int", "    s_st_int"]


def test_overwritten_words_are_left_out() -> None:
    assert len(stored("S_ST_INT gp1, gp0, 3\nS_ST_INT gp0, gp0, 3\nS_ST_INT gp0, gp0, 4")) == 2


@pytest.mark.parametrize("name", ["spilled_pointers", "routed_experts", "gather_rows", "counter_addresses"])
def test_the_corpus_keeps_its_effect(name: str) -> None:
    text = corpus.text(name)
    program = lifted_program(FlatProgram.of(text), corpus.TARGET, Preloaded.of(corpus.PRELOADED))
    module = module_of(without_dead_stores(program))
    assert_same_effect(text, module, (corpus.machine(), corpus.machine()))


@given(flat_programs())
@settings(max_examples=60)
def test_random_programs_keep_their_effect(text: str) -> None:
    preloaded = Preloaded.of({"int": [(INT_FIRST, 1024, INT_LOW, INT_HIGH)]})
    try:
        program = lifted_program(FlatProgram.of(text), SMALL, preloaded)
    except PlenaError:
        return
    module = module_of(without_dead_stores(program))
    module.verify()
    numbers = [0] * INT_FIRST + [INT_LOW + n % (INT_HIGH - INT_LOW) for n in range(1024 - INT_FIRST)]
    assert_same_effect(text, module, (machine(int_sram=numbers), machine(int_sram=numbers)))
