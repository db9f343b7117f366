"""Work on one thing after another in processes of their own, each with a limit of time and of memory."""

from __future__ import annotations

import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

import plena

MEMORY = 8 << 30
"""Bytes of address space above those of the parent that a process may take."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass
class _Running(Generic[Task]):
    task: Task
    process: BaseProcess
    pipe: Connection
    started: float


def in_processes(
    tasks: Sequence[Task], work: Callable[[Task], Result], jobs: int, limit: float
) -> Iterator[tuple[Task, Result | TimeoutError | ChildProcessError]]:
    """Every task with its result, or with why there is none, in the order in which they end.

    Args:
        work: what a process does; its result is pickled.
        jobs: processes at a time.
        limit: seconds of a task; then it is stopped.
    """
    warm_up()
    # Forked, so that torch, transformers and the compiler are imported once.
    context = multiprocessing.get_context("fork")
    waiting, running = list(tasks)[::-1], list[_Running[Task]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            task = waiting.pop()
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_serve, args=(task, work, sender))
            process.start()
            sender.close()
            running.append(_Running(task, process, receiver, time.monotonic()))
        wait([item.pipe for item in running], timeout=0.5)
        for item in list(running):
            result: Any = _result(item, limit)
            if result is not None:
                running.remove(item)
                item.process.join()
                yield item.task, result


def warm_up() -> None:
    """Import what compiling and checking import, before processes are forked."""
    torch.set_num_threads(1)
    program = plena.compile(torch.nn.Linear(8, 8), (torch.zeros(1, 8),))
    program.check(quiet=True)


def current_commit() -> str:
    """The commit of this tree as git abbreviates it, empty without one."""
    named = ("git", "rev-parse", "--short", "HEAD")
    found = subprocess.run(named, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _result(item: _Running[Any], limit: float) -> Any:
    """None while it runs."""
    if item.pipe.poll():
        try:
            return item.pipe.recv()
        except EOFError:
            item.process.join()
            return ChildProcessError(f"the process ended with exit code {item.process.exitcode}")
    if time.monotonic() - item.started > limit:
        item.process.kill()
        return TimeoutError(f"no result after {limit:.0f} s")
    return None


def _serve(task: Task, work: Callable[[Task], Any], sender: Connection) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    sys.setrecursionlimit(5000)
    sender.send(work(task))
    sender.close()
