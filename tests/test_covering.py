"""Covering sets leave out no pair of values."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tests.covering import in_turn, pairwise


@pytest.mark.parametrize(
    ("sizes", "most"), [((3, 2, 4), 12), ((4, 4, 3), 17), ((8, 2, 4), 32), ((3, 3, 2), 9)]
)
def test_every_two_values_meet(sizes: tuple[int, ...], most: int) -> None:
    axes = [range(size) for size in sizes]
    found = pairwise(*axes)
    for i, j in combinations(range(len(axes)), 2):
        assert {(case[i], case[j]) for case in found} == set(product(axes[i], axes[j]))
    assert len(found) <= most and found == pairwise(*axes)


def test_every_case_and_every_machine_has_its_turn() -> None:
    cases = list(product("ab", range(6)))
    once, twice = in_turn(cases, [16, 32, 64, 128]), in_turn(cases, [16, 32, 64, 128], each=2)
    assert [case for case, _ in once] == cases
    for found in (once, twice):
        assert {(case[0], mlen) for case, mlen in found} == set(product("ab", [16, 32, 64, 128]))
    assert all(len({mlen for case, mlen in twice if case == c}) == 2 for c in cases)
