"""Cells that are touched in many pieces, looked at together or one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plena.dialects.loop import Linear
from plena.verification.footprints import MANY, CellSet, Interval, footprint, merged

SIZE = 400

PIECES = st.lists(
    st.tuples(st.integers(-20, SIZE + 20), st.integers(1, 9)).map(lambda p: (p[0], p[0] + p[1])),
    min_size=1,
    max_size=3 * MANY,
).map(merged)


@given(PIECES, PIECES, PIECES)
def test_many_pieces_are_as_each_of_them(
    first: list[Interval], second: list[Interval], asked: list[Interval]
) -> None:
    together, each = CellSet(SIZE), CellSet(SIZE)
    for pieces in (first, second):
        together.add(pieces)
        for piece in pieces:
            each.add([piece])
    missing = next((cell for piece in asked if (cell := each.first_missing([piece])) is not None), None)
    assert together.first_missing(asked) == missing
    assert together.longest_gap() == each.longest_gap()


@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(-40, 40).filter(bool), st.integers(1, 9)), max_size=3),
    st.integers(1, 12),
)
def test_a_footprint_is_what_the_loops_touch(start: int, loops: list[tuple[int, int]], width: int) -> None:
    number = Linear(start, tuple((place, step) for place, (step, _) in enumerate(loops)))  # type: ignore[misc]
    bounds = {place: (0, trips - 1) for place, (_, trips) in enumerate(loops)}
    found = footprint(number, width, bounds)  # type: ignore[arg-type]
    assert found is not None and found == merged(found)
    addresses = [start]
    for step, trips in loops:
        addresses = [a + step * i for a in addresses for i in range(trips)]
    assert {c for a, b in found for c in range(a, b)} == {a + i for a in addresses for i in range(width)}
