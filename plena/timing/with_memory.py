"""Latencies of a program by timing profile, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from plena.timing.registry import profile_named, timings
from plena.timing.run import Run


class Latencies(Mapping[str, "int | None"]):
    """Registered profile -> cycles of a run with waits for HBM.

    None where they hang on data, or the profile has no cycles for an instruction.

    Args:
        run: makes what profiles look at.
    """

    def __init__(self, run: Callable[[], Run]) -> None:
        self._make = run
        self._run: Run | None = None
        self._known: dict[str, int | None] = {}

    def __getitem__(self, name: str) -> int | None:
        if name not in timings():
            raise KeyError(name)
        if name not in self._known:
            if self._run is None:
                self._run = self._make()
            lines = profile_named(name).line_latency(self._run)
            self._known[name] = None if lines is None else int(lines.sum())
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(timings())

    def __len__(self) -> int:
        return len(timings())

    def __repr__(self) -> str:
        return f"Latencies({dict(self)})"
