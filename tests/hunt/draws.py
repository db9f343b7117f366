"""Cases drawn independently of each other: hypothesis repeats itself on purpose, which a count of modules must not."""

from __future__ import annotations

from random import Random
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.control import BuildContext
from hypothesis.errors import StopTest
from hypothesis.internal.conjecture.data import ConjectureData

from tests.fixed_draws import forget_own_constants
from tests.hunt.case import BlockCase, Case, blocks, cases, special_cases

T = TypeVar("T")

forget_own_constants()


def drawn(strategy: st.SearchStrategy[T], number: int) -> T:
    """What a strategy gives for a number; equal numbers give equal values."""
    for attempt in range(100):
        data = ConjectureData(random=Random(f"{number}.{attempt}"))
        try:
            with BuildContext(data, is_final=False, wrapped_test=lambda: None):
                return data.draw(strategy)
        except StopTest:
            continue
    raise ValueError(f"no value for {number}")


def numbered(number: int, steps: int, kind: str | None = None) -> Case | BlockCase:
    """The case of a number: half of them of special kinds, or all of one kind."""
    if kind is not None:
        return drawn(special_cases(max(1, steps // 2), kind), number)
    match Random(number).randrange(8):
        case 0 | 1 | 2:
            return drawn(cases(steps), number)
        case 3:
            return drawn(blocks, number)
        case _:
            return drawn(special_cases(max(1, steps // 2)), number)
