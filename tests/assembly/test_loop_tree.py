"""Hardware loops of flat programs."""

from __future__ import annotations

import pytest

from plena.assembly import parse_asm
from plena.assembly.loop_tree import StaticLoop, static_loops
from plena.errors import PlenaError


def test_nested_loops_in_program_order() -> None:
    program = parse_asm(
        "C_BREAK\nC_LOOP_START gp1, 4\nC_LOOP_START gp2, 3\nC_LOOP_END gp2\nC_LOOP_END gp1\n"
        "C_LOOP_START gp1, 9\nC_LOOP_END gp1"
    )
    assert static_loops(program) == [
        StaticLoop(1, 4, 4, 0, 1),
        StaticLoop(2, 3, 3, 1, 2),
        StaticLoop(5, 6, 9, 0, 1),
    ]


def test_a_loop_that_never_ends_runs_once() -> None:
    program = parse_asm("C_LOOP_START gp1, 4\nC_LOOP_START gp2, 3\nC_LOOP_END gp2\nC_BREAK")
    assert [(loop.trips, loop.end) for loop in static_loops(program)] == [(1, 3), (3, 2)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("C_LOOP_END gp1", "instruction 0 .*ends no loop: the innermost open one does not exist"),
        ("C_LOOP_START gp1, 2\nC_LOOP_END gp2", "instruction 1 .*innermost open one counts in gp1"),
        ("C_BREAK\nC_LOOP_START gp1, 0", "instruction 1 .*0 trips"),
    ],
)
def test_loops_that_do_not_nest(text: str, what: str) -> None:
    with pytest.raises(PlenaError, match=what):
        static_loops(parse_asm(text))
