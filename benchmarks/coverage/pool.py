"""Configurations, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.coverage.attempt import Outcome, attempt, peak_memory
from benchmarks.coverage.processes import current_commit, in_processes


@dataclass(frozen=True)
class Task:
    """A configuration to try."""

    family: str
    size: str
    overrides: dict[str, Any]
    shapes: dict[str, Any]


def outcomes(tasks: Sequence[Task], jobs: int, limit: float, check: bool) -> Iterator[Outcome]:
    """The outcome of every task, in the order in which they end.

    Args:
        jobs: processes at a time.
        limit: seconds of a configuration; then it is stopped, and its status is `slow`.
        check: see `attempt`.
    """
    commit = current_commit()

    def tried(task: Task) -> Outcome:
        outcome = attempt(task.family, task.size, task.overrides, task.shapes, check)
        return replace(outcome, memory=peak_memory(), commit=commit)

    for task, result in in_processes(tasks, tried, jobs, limit):
        match result:
            case TimeoutError():
                yield Outcome(task.family, task.size, "slow", str(result))
            case ChildProcessError():
                yield Outcome(task.family, task.size, "bug", str(result))
            case _:
                yield result
