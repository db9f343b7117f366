"""Execution order: what may follow an instruction within a distance, and states that instructions change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

from plena.verification.rtl.view import RtlView

StateT = TypeVar("StateT", bound=Hashable)


def following(view: RtlView, pc: int, between: int) -> Iterator[tuple[int, int]]:
    """(position, instructions strictly between) of whatever may execute after `pc` with at most `between` between."""
    seen: set[int] = set()
    frontier = list(view.successors[pc])
    for distance in range(between + 1):
        reached: list[int] = []
        for at in frontier:
            if at not in seen:
                seen.add(at)
                yield at, distance
                reached += view.successors[at]
        frontier = reached


def walk(view: RtlView, start: StateT, step: Callable[[int, StateT], StateT]) -> None:
    """Calls `step` once for every instruction and every state in which it may begin; it returns the state after."""
    seen: set[tuple[int, StateT]] = set()
    stack = [(0, start)] if len(view.code) else []
    while stack:
        at = stack.pop()
        if at in seen:
            continue
        seen.add(at)
        after = step(*at)
        stack += [(pc, after) for pc in view.successors[at[0]]]
