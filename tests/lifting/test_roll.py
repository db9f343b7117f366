"""Lifted programs rolled before there is IR keep their effect, and expanded programs become short again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from plena.assembly import encode
from plena.assembly.stream import instructions_from_module
from plena.driver import context, run_pipeline
from plena.errors import PlenaError
from plena.lifting import FlatProgram, LiftedProgram, Preloaded, lifted_program
from plena.lifting.build import module_of
from plena.lifting.roll import rolled
from plena.passes.unroll_loops import UnrollLoops
from tests.corpus import programs as corpus
from tests.lifting.affine_machine import assert_same_effect
from tests.lifting.flat_programs import (
    INT_FIRST,
    INT_HIGH,
    INT_LOW,
    ROWS,
    SETUP,
    SPILLS,
    WORDS,
    flat_programs,
)
from tests.lifting.machines import SMALL, machine

PREFIX = len(SETUP) + len(ROWS) + len(WORDS) + sum(len(slots) for slots in SPILLS.values())
"""Lines of a random program before its own code."""

SLOW = {"matmul_pointers", "attention_head"}
"""Thousands of dynamic instructions: rolled again here, but not run."""


def size(program: LiftedProgram) -> int:
    return sum(1 for _ in program.instructions())


@pytest.mark.parametrize("name", corpus.NAMES)
def test_expanded_programs_roll_again(name: str) -> None:
    preloaded = Preloaded.of(corpus.PRELOADED)
    given_program = lifted_program(FlatProgram.of(corpus.text(name)), corpus.TARGET, preloaded)
    module = module_of(given_program)
    UnrollLoops(full=True).apply(context(), module)
    run_pipeline(module, ("set-state", "materialize-addresses", "allocate-registers"))
    expanded = lifted_program(FlatProgram(encode(instructions_from_module(module))), corpus.TARGET, preloaded)
    again = rolled(expanded)
    assert size(again) <= max(1.25 * size(given_program), size(given_program) + 10)
    if name not in SLOW:
        rebuilt = module_of(again)
        rebuilt.verify()
        assert_same_effect(expanded.code.words, rebuilt, (corpus.machine(), corpus.machine()))


@given(flat_programs(depth=1, most=8))
@settings(max_examples=40)
def test_repeated_programs_keep_their_effect(text: str) -> None:
    lines = text.splitlines()
    repeated = FlatProgram.of("\n".join(lines + lines[PREFIX:] * 3))
    preloaded = Preloaded.of({"int": [(INT_FIRST, 1024, INT_LOW, INT_HIGH)]})
    try:
        module = module_of(rolled(lifted_program(repeated, SMALL, preloaded)))
    except PlenaError:
        return
    module.verify()
    numbers = [0] * INT_FIRST + [INT_LOW + n % (INT_HIGH - INT_LOW) for n in range(1024 - INT_FIRST)]
    machines = machine(int_sram=numbers), machine(int_sram=numbers)
    assert_same_effect(repeated.words, module, machines)
