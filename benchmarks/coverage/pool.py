"""Configurations in processes of their own, each with a limit of time and of memory."""

from __future__ import annotations

import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

import plena
from benchmarks.coverage.attempt import Outcome, attempt

MEMORY = 8 << 30
"""Bytes of address space above those of the parent that a configuration may take."""


@dataclass(frozen=True)
class Task:
    """A configuration to try."""

    family: str
    size: str
    overrides: dict[str, Any]
    shapes: dict[str, Any]


@dataclass
class _Running:
    task: Task
    process: BaseProcess
    pipe: Connection
    started: float


def outcomes(tasks: Sequence[Task], jobs: int, limit: float, check: bool) -> Iterator[Outcome]:
    """The outcome of every task, in the order in which they end.

    Args:
        jobs: processes at a time.
        limit: seconds of a configuration; then it is stopped, and its status is `slow`.
        check: see `attempt`.
    """
    warm_up()
    named = ("git", "rev-parse", "--short", "HEAD")
    described = subprocess.run(named, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    commit = described.stdout.strip()
    # Forked, so that torch, transformers and the compiler are imported once.
    context = multiprocessing.get_context("fork")
    waiting, running = list(tasks)[::-1], list[_Running]()
    while waiting or running:
        while waiting and len(running) < jobs:
            task = waiting.pop()
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_serve, args=(task, check, commit, sender))
            process.start()
            sender.close()
            running.append(_Running(task, process, receiver, time.monotonic()))
        wait([item.pipe for item in running], timeout=0.5)
        for item in list(running):
            outcome = _outcome(item, limit)
            if outcome is not None:
                running.remove(item)
                item.process.join()
                yield outcome


def warm_up() -> None:
    """Import what compiling and checking import, before processes are forked."""
    torch.set_num_threads(1)
    program = plena.compile(torch.nn.Linear(8, 8), (torch.zeros(1, 8),))
    program.check(quiet=True)


def _outcome(item: _Running, limit: float) -> Outcome | None:
    task = item.task
    if item.pipe.poll():
        try:
            return item.pipe.recv()
        except EOFError:
            item.process.join()
            code = item.process.exitcode
            return Outcome(task.family, task.size, "bug", f"the process ended with exit code {code}")
    if time.monotonic() - item.started > limit:
        item.process.kill()
        return Outcome(task.family, task.size, "slow", f"no result after {limit:.0f} s")
    return None


def _serve(task: Task, check: bool, commit: str, sender: Connection) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    sys.setrecursionlimit(5000)
    outcome = attempt(task.family, task.size, task.overrides, task.shapes, check)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    sender.send(replace(outcome, memory=peak, commit=commit))
    sender.close()
