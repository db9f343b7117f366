"""The best lowering with transfers beside other work, and iterations of vector work side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from plena.compiler.candidate import CERTAIN, Candidate, Lowering, length
from plena.compiler.loop_choice import surplus_of
from plena.driver import run_pipeline
from plena.loops.selection.goal import Goal
from plena.loops.selection.search import Point
from plena.machine.target import Target
from plena.passes.interleave_iterations import InterleaveIterations
from plena.passes.schedule_transfers import GROWTH_OF_TRANSFERS
from plena.passes.select_loops import candidates, predicted
from plena.timing.registry import profile_named

SHARES_FOR_LOADS = (0.25, 0.4, 1.0)
"""How much of what a program may grow loads beside products may take: addresses come on top, up to as much again."""

TRIES_OF_ROOM = 3
"""How many programs are lowered until one fits."""

ESTIMATES = 6
"""How often it is estimated whether a program fits."""

SHARE_OF_WANTED = 0.8
"""How much less is tried where a program did not need all of its room."""

SHARE_FOR_TURNS = 0.9
"""How much of what is left rows side by side may take, addresses apart, before it is estimated what those take."""

LONG = 5000
"""Instructions of a program that takes seconds to lower: that is done only where it is expected to fit."""

SURELY_TOO_LONG = 1.15
"""A shorter one is lowered unless so many times the instructions are expected, or what they may grow by."""

LEAST_GAIN = 0.01
"""How much faster a program must be expected to be for its loops to be expanded further."""


def most_beside(best: Candidate, max_instructions: int | None) -> int:
    """How many instructions a program may have whose order a schedule changes."""
    most = int(best.static * GROWTH_OF_TRANSFERS)
    return most if max_instructions is None else min(most, max_instructions)


def beside_other_work(
    best: Candidate, tried: Sequence[Candidate], target: Target, most: int, goal: Goal
) -> list[Candidate]:
    """The best schedule with transfers beside other work and iterations of vector work side by side, in at most so many
    instructions.

    Every one of them takes a simulation of the program, so with more of the first only as long as that has paid.

    Args:
        tried: what was lowered to find the best one.
    """
    found: list[Candidate] = []
    for ahead in _loading_ahead(best, _kept_of_promises(best, tried), target, most):
        found.extend(_side_by_side(ahead, target, most) or [ahead])
        costs = [goal.cost(c.static, c.cycles) for c in found[-2:]]
        if costs[-1] > costs[0]:
            break
    if all(c.cycles > CERTAIN * best.cycles for c in found):
        found.extend(_side_by_side(best, target, most))
    return found


def _kept_of_promises(best: Candidate, tried: Sequence[Candidate]) -> float:
    """How much of what expanding loops saves by prediction it saves, in a program that was lowered both ways.

    Much less than all where the profile hides address updates behind other work. 1 if nothing is known.
    """
    of_best = [c for c in tried if c.lowering is not None and c.lowering is best.lowering]
    plain = next((c for c in of_best if c.point is None), None)
    expanded = next((c for c in of_best if c.point is not None), None)
    if best.lowering is None or plain is None or expanded is None or expanded.point is None:
        return 1.0
    cost = predicted(best.lowering.affine, best.schedule.timing)
    promised = 0 if cost is None else 1 - expanded.point.cycles / cost[1]
    return min(1.0, max(0.0, 1 - expanded.cycles / plain.cycles) / promised) if promised > 0 else 1.0


def _side_by_side(best: Candidate, target: Target, most: int) -> list[Candidate]:
    """A candidate with iterations of vector work side by side, if that fits and the profile knows latencies."""
    lowering, room = best.lowering, most - best.static
    if lowering is None or profile_named(best.schedule.timing).work is None or room <= 0:
        return []
    if best.schedule.objective != "cycles":
        return []
    choices = () if best.point is None else best.point.choices
    affine = lowering.with_choices(choices)
    before, length_before = predicted(affine, best.schedule.timing), length(affine)
    likely = room if best.static > LONG else SURELY_TOO_LONG * room
    allowed, lowered, surplus = int(SHARE_FOR_TURNS * room), 0, 1.0
    for _ in range(ESTIMATES):
        interleave = InterleaveIterations(best.schedule.timing, room=allowed)
        turned = affine.clone()
        run_pipeline(turned, (interleave,), verified=True)
        added = length(turned) - length_before
        after = predicted(turned, best.schedule.timing)
        grown = 0 if before is None or after is None else int(surplus * (after[0] - before[0]))
        if grown <= likely:
            program = lowering.candidate(choices, (interleave,), turned)
            found = replace(program, points=best.points, point=best.point)
            if found.static <= most and found.program.runs(target):
                return [found]
            lowered += 1
            if grown > 0:
                surplus *= max(1.0, (found.static - best.static) / grown)
            grown = max(grown, found.static - best.static)
        if not added or lowered == TRIES_OF_ROOM:
            break
        allowed = min(added - 1, room * added // max(1, grown))
    return []


def _loading_ahead(best: Candidate, kept: float, target: Target, most: int) -> Iterator[Candidate]:
    """The best schedule with transfers beside other work, in at most so many instructions.

    Where products hide loads as well there may be much of that: then first with less of it, so that there is room for
    rows side by side.
    """
    if best.lowering is None or best.schedule.objective != "cycles":
        return
    hides_much = profile_named(best.schedule.timing).beside_products
    known = [best.lowering]
    for share in SHARES_FOR_LOADS if hides_much else (1.0,):
        ahead = _ahead_within(best, share, kept, target, most, known)
        if ahead is not None:
            yield ahead


def _ahead_within(
    best: Candidate, share: float, kept: float, target: Target, most: int, known: list[Lowering]
) -> Candidate | None:
    """With as many loads ahead as fill a share of what the best schedule may grow; None if nothing new fits.

    Addresses come on top of what loads ahead are counted by: if they take too much, there are fewer of those.

    Args:
        kept: as of `_fitting`.
        known: what was tried before, to which this adds.
    """
    assert best.lowering is not None
    left = max(0, most - best.static)
    room, surplus, before, lowered = int(share * left), _surplus_share(best), len(known), 0
    likely = most if best.static > LONG else SURELY_TOO_LONG * most
    for _ in range(ESTIMATES):
        lowering = best.lowering.loading_ahead(room)
        while _is_one_of(lowering, known[before:]) and room > 0:
            # All of this room was not needed.
            room = min(room - 1, int(SHARE_OF_WANTED * room))
            lowering = best.lowering.loading_ahead(room)
        if _is_one_of(lowering, known):
            return None
        known.append(lowering)
        points = candidates(
            lowering.affine, timing=best.schedule.timing, max_instructions=most, known=lowering.known
        )
        expected = int(points[0].static * surplus) if points else best.static + 2 * left
        if points and expected <= likely:
            found = _fitting(lowering, points, most, kept)
            if found.static <= most and found.program.runs(target):
                return found
            lowered += 1
            if lowered == TRIES_OF_ROOM:
                return None
            expected = found.static
        room = min(room - 1, room * left // max(1, expected - best.static))
    return None


def _is_one_of(lowering: Lowering, others: Sequence[Lowering]) -> bool:
    """Whether the affine form is that of another lowering."""
    return any(lowering.affine.body.is_structurally_equivalent(other.affine.body) for other in others)


def _surplus_share(candidate: Candidate) -> float:
    """How many times the predicted instructions a program has."""
    assert candidate.lowering is not None
    if candidate.point is not None:
        return candidate.static / candidate.point.static
    cost = predicted(candidate.lowering.affine, candidate.schedule.timing)
    return 1.0 if cost is None else candidate.static / cost[0]


def _fitting(lowering: Lowering, points: Sequence[Point], most: int, kept: float) -> Candidate:
    """The lowering with loops as is best in at most so many instructions; if that is too few, in as few as can be.

    By how much the shortest exceeds what was predicted says what the others will take.

    Args:
        points: at least one, the shortest first.
        kept: how much of the cycles that another point saves by prediction is to be expected.
    """

    def lowered(point: Point) -> Candidate:
        return replace(lowering.candidate(point.choices), points=tuple(points), point=point)

    shortest = lowered(points[0])
    surplus = surplus_of(shortest)
    best = Goal().best([p for p in points if p.static + surplus <= most] or points[:1])
    if kept * (1 - best.cycles / points[0].cycles) < LEAST_GAIN:
        return shortest
    longer = lowered(best)
    return Goal().best([shortest, longer]) if longer.static <= most else shortest
