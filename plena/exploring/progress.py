"""What a terminal shows of a running search."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from plena.exploring.found import Found
from plena.exploring.points import Result


@contextmanager
def showing(
    study: Found, total: int, shown: bool | None, dashboard: str | None
) -> Generator[Callable[[Result], None]]:
    """A function that takes in results and moves a bar; no bar beside a terminal.

    Args:
        total: points to come, those that the storage has among them.
        dashboard: address of Dask's page.
    """
    if shown is False or not sys.stderr.isatty():
        yield lambda result: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counts = {"done": 0, "failed": 0, "skipped": 0}
    best: dict[str, float] = {}
    for result in study.results().values():
        _count(result, counts, best, study)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}"))
    console = Console(stderr=True)
    if dashboard is not None:
        console.print(f"Dask's dashboard: {dashboard}", highlight=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, completed=counts["done"] + counts["failed"], text="")

        def news(result: Result) -> None:
            _count(result, counts, best, study)
            least = ", ".join(f"{name} {value:,.4g}" for name, value in best.items())
            text = f"{counts['failed']} without a program, {counts['skipped']} skipped; least {least}"
            bar.update(task, completed=counts["done"] + counts["failed"], text=text)

        yield news


def _count(result: Result, counts: dict[str, int], best: dict[str, float], study: Found) -> None:
    if result.skipped:
        counts["skipped"] += 1
        return
    values = result.values(study.objectives)
    counts["failed" if values is None else "done"] += 1
    if not result.meets(study.objectives):
        return
    for name, value in zip(study.objectives.names, values or (), strict=False):
        best[name] = min(value, best.get(name, value))
