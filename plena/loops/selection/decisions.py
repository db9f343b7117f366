"""What was decided for every loop, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from plena.loops.selection.choices import Choice


@dataclass(frozen=True)
class LoopDecision:
    """What was decided for one loop: its pre-order number, trip count, the choice and why."""

    loop: int
    trips: int
    choice: str
    why: str

    def __str__(self) -> str:
        return f"loop {self.loop} ({self.trips} trips): {self.choice}; {self.why}"


def loop_decisions(choices: Iterable[Choice]) -> tuple[LoopDecision, ...]:
    """One entry per loop, in program order."""
    return tuple(decision for choice in choices for decision in _decisions(choice))


def _decisions(choice: Choice) -> Iterator[LoopDecision]:
    loop = choice.loop
    yield LoopDecision(loop.number, loop.true_trips, str(choice), _reason(choice))
    if choice.flat:
        for inside in list(loop.walk())[1:]:
            kept = choice.kind == "jam" and inside is loop.inner
            what = "expanded" if not kept else "its body is straight code"
            yield LoopDecision(inside.number, inside.trips, what, f"follows from loop {loop.number}")
    for child in choice.children:
        yield from _decisions(child)


def _reason(choice: Choice) -> str:
    match choice.kind:
        case "keep":
            return "unrolling it costs more instructions than it saves cycles under the budget"
        case "unroll":
            return f"{choice.factor} iterations share the loop end and the pointer updates"
        case "expand":
            return "no loop end, its addresses become constants"
        case "jam":
            return "pointers that the inner loop keeps serve several instructions per update"
