"""Progress bars for what takes long, on terminals only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

LONG_STAGING = 1 << 24
"""Elements from which staging shows a bar."""

LONG_RUN = 20_000_000
"""Dynamic instructions from which a run shows a bar."""


def track(
    items: Sequence[T], what: str, total: int, size: Callable[[T], int], shown: bool | None = None
) -> Iterator[T]:
    """The items, with a bar that advances by their sizes when there is much to do."""
    with _bar(what, total, total >= LONG_STAGING if shown is None else shown) as advance_to:
        done = 0
        for item in items:
            yield item
            done += size(item)
            advance_to(done)


@contextmanager
def instruction_progress(
    total: int, shown: bool | None = None
) -> Generator[Callable[[int, int], None] | None]:
    """A callback for the emulator that moves a bar, or None if none is shown."""
    show = total >= LONG_RUN if shown is None else shown
    if not show or not sys.stderr.isatty():
        yield None
        return
    with _bar("running", total, True) as advance_to:
        yield lambda executed, cycles: advance_to(executed)


@contextmanager
def counting(total: int, what: str, shown: bool | None = None) -> Generator[Callable[[int], None]]:
    """A callback that moves a bar to how many of `total` things are done; no bar for a single one."""
    with _bar(what, total, total > 1 if shown is None else shown) as advance_to:
        yield advance_to


@contextmanager
def _bar(what: str, total: int, shown: bool) -> Generator[Callable[[int], None]]:
    if not shown or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
