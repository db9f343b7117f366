"""Whether a compilation takes a schedule that is known: only if it is better than what its own search found."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import PassFailedException, VerifyException

from plena.compiler.candidate import Candidate
from plena.compiler.other_schedules import updates_count
from plena.compiler.tuning.database import Entry, TuningDatabase
from plena.compiler.tuning.kernel_shape import Question
from plena.compiler.tuning.recipe import Recipe
from plena.errors import CompileError, PlenaError
from plena.kernels.schedule import Schedule
from plena.loops.selection.goal import GROWTH, GROWTH_OF_UPDATES, Goal
from plena.machine.target import Target
from plena.program.rationale import Attempt
from plena.timing.registry import is_ours

REFUSALS = (
    PlenaError,
    PassFailedException,
    VerifyException,
    ArithmeticError,
    AssertionError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
)
"""What may be raised where a schedule is applied to a module that it was not made for, or was made up."""


@dataclass(frozen=True)
class Reuse:
    """What became of the entry for a question.

    Args:
        candidate: the better program; None if there is none.
        note: what to say of it.
    """

    candidate: Candidate | None
    note: str


def goal_of(schedule: Schedule, max_instructions: int | None, target: Target) -> Goal:
    """What makes one program of a search better than another one."""
    growth = GROWTH_OF_UPDATES if updates_count(schedule.timing, target) else GROWTH
    return Goal(schedule.objective, max_instructions, growth)


def reused(
    kernels: ModuleOp,
    schedule: Schedule,
    max_instructions: int | None,
    found: Candidate,
    database: TuningDatabase,
) -> Reuse:
    """The program of the schedule that a database has for a module, if it is better than what a search has found.

    The schedule is applied anew, with all that its passes check, and counted; what the entry says of itself is not
    looked at.

    Raises:
        PlenaError: the database cannot be read.
    """
    if not is_ours(schedule.timing):
        return Reuse(None, f"tuning: {schedule.timing} is a profile from outside, nothing is kept for it")
    entry = database.get(Question.of(kernels, schedule, max_instructions).key)
    if entry is None:
        return Reuse(None, f"tuning: {database.path} has no schedule for this program")
    try:
        candidate = applied(entry, kernels, schedule, max_instructions)
    except REFUSALS as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Reuse(None, f"tuning: the schedule of {database.path} is ignored, it does not fit: {reason}")
    goal = goal_of(schedule, max_instructions, Target.from_module(kernels))
    known, own = (f"{c.cycles:,} cycles in {c.static:,} instructions" for c in (candidate, found))
    if not better(goal, candidate, found):
        return Reuse(
            None,
            f"tuning: the schedule of {database.path} is ignored, it is not better: {known}, the search has {own}",
        )
    note = f"tuning: the schedule of {database.path}, {known}; the search has {own}"
    taken = Attempt(f"of {database.path}", candidate.static, candidate.cycles, True, True)
    rationale = replace(
        found.rationale,
        attempts=(*(replace(a, taken=False) for a in found.rationale.attempts), taken),
    )
    decisions = (*candidate.decisions, note)
    return Reuse(replace(candidate, rationale=rationale, decisions=decisions), note)


def better(goal: Goal, candidate: Candidate, than: Candidate) -> bool:
    """Whether one program is better than another one, by what was counted."""
    return goal.cost(candidate.static, candidate.cycles) < goal.cost(than.static, than.cycles)


def applied(entry: Entry, kernels: ModuleOp, schedule: Schedule, max_instructions: int | None) -> Candidate:
    """The program of an entry for a module.

    Raises:
        CompileError: it is no schedule, it does not fit the module, the budget or the watchdog.
        ValueError: it is no document.
        Exception: one of `REFUSALS`, where the entry is made up.
    """
    candidate = Recipe.from_json(json.loads(entry.recipe)).candidate(kernels, schedule)
    if max_instructions is not None and candidate.static > max_instructions:
        raise CompileError(f"it has {candidate.static:,} instructions")
    if not candidate.program.runs(Target.from_module(kernels)):
        raise CompileError("an iteration of a loop is too long for the watchdog")
    return candidate
