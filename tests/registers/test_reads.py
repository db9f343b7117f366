"""Blocks for estimates: reads in columns are planned as instructions one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plena.registers.addressing.planner import Planner
from plena.registers.addressing.program import Loop, Read, Use, block_of, make_block
from plena.registers.addressing.reads import Reads
from plena.registers.addressing.values import CONSTANT, ClassTable

VARIABLES = (
    frozenset[tuple[str, int]](),
    *(frozenset({("i", c), *t}) for c in (4, 64) for t in ((), (("o", 256),))),
)


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 4), st.sampled_from((0, 4, 64, 300_000)), st.booleans()), max_size=3
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(2, 8),
)
def test_columns_are_planned_as_instructions(code: list[list[tuple[int, int, bool]]], registers: int) -> None:
    classes = ClassTable()
    rows = [
        (time, classes.of(VARIABLES[number]), constant, flag)
        for time, reads in enumerate(code)
        for number, constant, flag in reads
    ]
    uses = [
        Use(tuple(Read(str(n), (cls, c), flag) for n, (t, cls, c, flag) in enumerate(rows) if t == time))
        for time in range(len(code))
    ]
    table = np.array(rows, np.int64).reshape(len(rows), 4)
    time, cls, constant, flag = (np.ascontiguousarray(column) for column in table.T)
    blocks = make_block(uses, classes), block_of(Reads(len(code), time, cls, constant, flag != 0))
    assert list(blocks[0].exposed.items()) == list(blocks[1].exposed.items())
    assert blocks[0].length == blocks[1].length
    plans = [Planner(classes, 100).loop(Loop("i", 16, block), registers) for block in blocks]
    assert (plans[0] is None) == (plans[1] is None)
    if plans[0] is not None and plans[1] is not None:
        assert plans[0].body.log.actions.tolist() == plans[1].body.log.actions.tolist()
        assert (plans[0].width, plans[0].body.head) == (plans[1].width, plans[1].body.head)
        assert CONSTANT not in blocks[1].exposed
