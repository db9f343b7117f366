"""The Pareto front against its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plena.loops.selection.pareto import undominated

SMALL = st.integers(0, 6)


def beaten(thing: tuple[float, ...], others: list[tuple[float, ...]]) -> bool:
    """Whether another one is as good in everything and better in something."""
    return any(o != thing and all(a <= b for a, b in zip(o, thing, strict=True)) for o in others)


@given(st.lists(st.tuples(SMALL, SMALL), max_size=30))
def test_of_two_costs(things: list[tuple[int, int]]) -> None:
    front = undominated(([a for a, _ in things], [b for _, b in things])).tolist()
    assert [things[place] for place in front] == sorted({t for t in things if not beaten(t, [*things])})


@given(st.lists(st.tuples(SMALL, SMALL, SMALL), max_size=30))
def test_of_three_costs(things: list[tuple[int, int, int]]) -> None:
    front = undominated([[t[column] for t in things] for column in range(3)]).tolist()
    assert [things[place] for place in front] == sorted({t for t in things if not beaten(t, [*things])})


@given(st.lists(st.tuples(st.floats(0, 4), SMALL, SMALL), min_size=1, max_size=30))
def test_ties_are_decided_by_other_columns(things: list[tuple[float, int, int]]) -> None:
    columns = [[t[column] for t in things] for column in range(3)]
    for place in undominated(columns[:2], columns[2:]).tolist():
        equal = [t for t in things if t[:2] == things[place][:2]]
        assert things[place][2] == min(t[2] for t in equal)
