"""The bounded linear equation solver against enumeration."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from plena.loops.diophantine import may_be_zero

VARIABLE = st.tuples(st.integers(-40, 40), st.integers(-3, 3), st.integers(0, 5)).map(
    lambda v: (v[0], v[1], v[1] + v[2])
)


@given(st.integers(-200, 200), st.lists(VARIABLE, max_size=4))
def test_agrees_with_enumeration(constant: int, variables: list[tuple[int, int, int]]) -> None:
    ranges = [range(low, high + 1) for _, low, high in variables]
    exists = any(
        constant + sum(c * x for (c, _, _), x in zip(variables, values, strict=True)) == 0
        for values in product(*ranges)
    )
    assert may_be_zero(constant, variables) == exists


def test_disjoint_rows_are_seen() -> None:
    rows = (64, -15, 15)
    lanes = (1, -63, 63)
    assert not may_be_zero(4096, [rows, lanes])
    assert may_be_zero(64 * 15, [rows, lanes])


def test_no_variables() -> None:
    assert may_be_zero(0, [])
    assert not may_be_zero(1, [])


def test_unbounded_numbers_answer_at_once() -> None:
    huge = (1 << 32) - 1
    assert may_be_zero(12345, [(-7, 0, huge), (5, 0, huge), (1000003, 0, 9)])
    assert not may_be_zero(1, [(-64, 0, huge), (128, 0, huge)])
