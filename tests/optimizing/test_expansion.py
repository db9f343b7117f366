"""Rolled against expanded programs."""

from __future__ import annotations

import pytest
import torch

from plena.api.program import Program
from plena.assembly import parse_asm
from plena.assembly.stream import Provenance, module_from_instructions
from plena.errors import PlenaError
from plena.optimizing.expansion import compare, expanded
from tests.program_samples import LINEAR, SMALL, linear_program, weights


def with_module() -> Program:
    program = linear_program(weights())
    program.provenance = tuple(Provenance("", "load" if i < 7 else "product") for i in range(13))
    program.module = module_from_instructions(parse_asm(LINEAR), program.provenance)
    SMALL.attach(program.module)
    return program


def test_the_expanded_program_computes_the_same_without_loops() -> None:
    program, x = with_module(), torch.randn(4, 16)
    straight = expanded(program)
    assert straight.stats().loop_starts == 0 and "C_LOOP_START" not in straight.asm
    assert torch.equal(straight.run(x), program.run(x))


def test_rows_add_up_to_the_sum() -> None:
    program = with_module()
    rows = list(compare(program, expanded(program)))
    *steps, total = rows
    assert [row.name for row in steps] == ["load", "product"] and total.name == "sum"
    for figure in ("static", "dynamic", "dma_cycles"):
        for side in ("rolled", "expanded"):
            parts = sum(getattr(getattr(row, side), figure) for row in steps)
            assert abs(parts - getattr(getattr(total, side), figure)) <= (figure == "dma_cycles")
    assert steps[1].rolled_loops == total.rolled_loops == 1 and total.expanded_loops == 0
    assert total.rolled.static == 13 < total.expanded.static


def test_what_cannot_be_expanded() -> None:
    with pytest.raises(PlenaError, match="no IR to expand"):
        expanded(linear_program(weights()))
    program = with_module()
    program.stats().dynamic = 3_000_000
    with pytest.raises(PlenaError, match="3,000,000 dynamic instructions is too much"):
        expanded(program)
