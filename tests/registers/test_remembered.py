"""Plans that are remembered are those that planning gives, for the loops of the module that asks."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from plena.registers.addressing.plan import BlockPlan
from plena.registers.addressing.planner import THOROUGH, Planner, plan_program
from plena.registers.addressing.program import Loop, Program, Read, Use, make_block
from plena.registers.addressing.values import CONSTANT, ClassTable

_NAMES = count()


def program(*, last: int = 4096, trips: int = 6, classes_first: int = 0) -> Program:
    """A loop in another one with more pointers than few registers hold, under indices that no other program has."""
    outer, inner = f"i{next(_NAMES)}", f"i{next(_NAMES)}"
    classes = ClassTable()
    for coefficient in range(classes_first):
        classes.of([(inner, 1000 + coefficient), (outer, 7)])

    def use(*values: tuple[int, int]) -> Use:
        return Use(tuple(Read(str(place), value) for place, value in enumerate(values)))

    walked = [(classes.of([(outer, 4096), (inner, 64 * n)]), 512 * n) for n in range(1, 5)]
    pinned = (classes.of([(outer, 256)]), 64)
    body = make_block([use(walked[0], walked[1], pinned), use(walked[2], walked[3])], classes)
    nest = Loop(outer, trips, make_block([Loop(inner, 8, body), use((CONSTANT, last), pinned)], classes))
    return Program(make_block([nest, use((CONSTANT, last))], classes), classes)


def said(plan: BlockPlan) -> list[object]:
    """All that a plan says of the code, in order."""
    own = [part.tolist() if isinstance(part, np.ndarray) else part for part in plan.log]
    return [*own, *(part for child in plan.children for part in (child.width, *said(child.body)))]


def planned_anew(asked: Program, registers: int) -> BlockPlan:
    plan = Planner(asked.classes, THOROUGH).block(asked.block, registers, None)
    assert plan is not None
    return plan


@pytest.mark.parametrize("registers", [5, 7, 15])
def test_equal_programs_have_the_plan_that_is_found_anew(registers: int) -> None:
    first = plan_program(program(), registers)
    other = program(classes_first=5)
    again, fresh = plan_program(other, registers), planned_anew(other, registers)
    assert said(first) == said(again) == said(fresh)
    assert again.children[0].loop is next(iter(other.block.loops()))
    assert again.children[0].body.head == fresh.children[0].body.head
    assert [code.actions for code in again.code] == [code.actions for code in fresh.code]


@pytest.mark.parametrize("change", [{"last": 8192 + 16}, {"trips": 7}])
def test_other_numbers_are_another_program(change: dict[str, int]) -> None:
    plan_program(program(), 7)
    other = program(**change)
    found = plan_program(other, 7)
    assert said(found) == said(planned_anew(other, 7))
    assert found.children[0].loop.trips == change.get("trips", 6)
