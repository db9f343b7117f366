"""The hardware loops of a flat program (plena_isa.md section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plena.assembly import AsmInstruction
from plena.dialects.plena_isa import Integer
from plena.errors import PlenaError


@dataclass(frozen=True, slots=True)
class StaticLoop:
    """A loop by the positions of its C_LOOP_START and C_LOOP_END; `depth` 0 is outermost."""

    start: int
    end: int
    trips: int
    depth: int
    counter: int


def static_loops(instructions: Sequence[AsmInstruction]) -> list[StaticLoop]:
    """The loops of a program in order of their starts, trip counts as written in C_LOOP_START.

    A loop that is still open at the end of the program runs once, to the end.

    Raises:
        PlenaError: an end without a start or of a loop that is not the innermost, a counter of two open loops,
            a trip count of 0.
    """
    open_loops: list[tuple[int, int]] = []
    loops: list[StaticLoop] = []
    for position, instruction in enumerate(instructions):
        what = instruction.spec.integer
        if what is Integer.LOOP_START:
            counter, trips = instruction.values
            if trips == 0:
                raise PlenaError("a loop of 0 trips aborts", f"instruction {position} ({instruction})")
            if any(counter == other for _, other in open_loops):
                raise PlenaError(
                    f"gp{counter} counts a loop that is still open", f"instruction {position} ({instruction})"
                )
            open_loops.append((position, counter))
        elif what is Integer.LOOP_END:
            counter = instruction.values[0]
            if not open_loops or open_loops[-1][1] != counter:
                raise PlenaError(
                    f"it ends no loop: the innermost open one {_counting(open_loops)}",
                    f"instruction {position} ({instruction})",
                )
            start, _ = open_loops.pop()
            trips = instructions[start].values[1]
            loops.append(StaticLoop(start, position, trips, len(open_loops), counter))
    last = len(instructions) - 1
    while open_loops:
        start, counter = open_loops.pop()
        loops.append(StaticLoop(start, last, 1, len(open_loops), counter))
    loops.sort(key=lambda loop: loop.start)
    return loops


def _counting(open_loops: list[tuple[int, int]]) -> str:
    return f"counts in gp{open_loops[-1][1]}" if open_loops else "does not exist"
