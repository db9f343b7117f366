"""Fewer cases than a full product of axes has, where values of one axis change nothing about those of another."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def in_turn(cases: Iterable[A], others: Iterable[B], each: int = 1) -> list[tuple[A, B]]:
    """Every case beside `each` of the others, which take turns.

    A round begins one further than the one before: where cases are a product themselves, no value of theirs always
    meets the same one.
    """
    cases, others = list(cases), list(others)
    found: list[tuple[A, B]] = []
    for n in range(each * len(cases)):
        turn, place = divmod(n, len(others))
        found.append((cases[n // each], others[(turn + place) % len(others)]))
    return found


def pairwise(*axes: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Cases in which every two values of two axes meet: a greedy covering array of strength 2, the same each time."""
    values = [list(axis) for axis in axes]
    places = list(combinations(range(len(values)), 2))

    def pairs(case: tuple[int, ...]) -> set[tuple[int, int, int, int]]:
        return {(i, j, case[i], case[j]) for i, j in places}

    left = list(product(*(range(len(axis)) for axis in values)))
    missing = set[tuple[int, int, int, int]]().union(*map(pairs, left))
    found: list[tuple[int, ...]] = []
    while missing:
        best = max(left, key=lambda case: len(pairs(case) & missing))
        missing -= pairs(best)
        found.append(best)
    return [tuple(values[i][n] for i, n in enumerate(case)) for case in sorted(found)]
