"""Every pass from the affine form to the affine form leaves what the program computes, bit for bit."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context

from plena.errors import PlenaError
from plena.interpreters.plena_isa import run_module
from plena.universe import load_pass
from tests.interpreters.test_plena_isa import assert_same_memories
from tests.properties.strategies_isa import Text
from tests.properties.strategies_programs import inputs, runnable_modules

AFFINE_PASSES = (
    "canonicalize-loops",
    "fuse-loops",
    "hoist-invariants",
    "interchange-loops",
    "peel-loops",
    "roll-loops",
    "schedule-transfers",
    "select-loops",
    "set-state",
    "strip-mine-loops",
    "unroll-and-jam",
    "unroll-loops",
)


@pytest.mark.parametrize("name", AFFINE_PASSES)
@settings(max_examples=12)
@given(text=runnable_modules(), seed=st.integers(0, 100))
def test_the_memories_are_the_same_behind_it(name: str, text: Text, seed: int) -> None:
    module = text.module
    expected = run_module(module, **inputs(seed))
    with suppress(PlenaError):  # a transformation that is not legal here says so
        load_pass(name)().apply(Context(), module)
    module.verify()
    assert_same_memories(run_module(module, **inputs(seed)), expected)
