"""What the engines of a machine do over a run, by stretches of time and by module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class TimelineData:
    """A run by one timing profile.

    Attributes:
        profile: the profile.
        cycles: of the run, waits for HBM included.
        width: cycles of a stretch, the last one has what is left.
        busy: engine (scalar, matrix, vector, DMA) -> cycles at work in each stretch, int64[stretches].
        waiting: cause -> cycles that the next instruction waited for it, int64[stretches]; causes that occur.
        passed: module -> cycles of its instructions, int64[stretches]; "" without modules.
        busy_by_module: module -> engine -> cycles.
        waiting_by_module: module -> cause -> cycles.
        bounds: what bounds a run (matrix unit, vector pipe, issue, transfers) -> cycles that it takes at least in any
            order; empty if the profile does not say.
        events: the first pieces of work and waits, int64[n, 5]: line from 0, engine, begin, end, cause of a
            wait (`plena.timing.recorder.CAUSES`).
        pieces: how many there were.
        instructions: mnemonic and module of each line.
    """

    profile: str
    cycles: int
    width: int
    busy: dict[str, I64]
    waiting: dict[str, I64]
    passed: dict[str, I64]
    busy_by_module: dict[str, dict[str, int]]
    waiting_by_module: dict[str, dict[str, int]]
    bounds: dict[str, int]
    events: I64 = field(repr=False)
    pieces: int
    instructions: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def lengths(self) -> I64:
        """Cycles of each stretch."""
        starts = np.arange(len(next(iter(self.busy.values())))) * self.width
        return np.maximum(np.minimum(starts + self.width, self.cycles) - starts, 0)

    def shares(self, cells: I64) -> list[float]:
        """Which part of each stretch its cycles are, at most all of it."""
        return np.minimum(cells / np.maximum(self.lengths, 1), 1).tolist()

    @property
    def leading(self) -> list[str]:
        """The module with most cycles in each stretch; none if the program is empty."""
        names = list(self.passed)
        return [names[n] for n in np.argmax(list(self.passed.values()), axis=0).tolist()] if names else []

    def spans(self) -> Iterator[tuple[str, int, int]]:
        """The same with stretches of one module as one: the module, the first stretch, the one behind the last."""
        end = 0
        for name, group in groupby(self.leading):
            begin, end = end, end + len(list(group))
            yield name, begin, end

    def longest_waits(self, module: str) -> str:
        """The three causes that a module waits for longest, with their cycles."""
        waits = sorted(self.waiting_by_module[module].items(), key=lambda entry: -entry[1])
        return ", ".join(f"{cause} {cycles:,}" for cause, cycles in waits[:3])

    @property
    def headline(self) -> str:
        """Its length, and how far that is from the largest bound."""
        text = f"{self.profile}: {self.cycles:,} cycles, {self.width:,} a column"
        bound = max(self.bounds, key=lambda name: self.bounds[name], default=None)
        if bound is None or not self.bounds[bound]:
            return text
        least = self.bounds[bound]
        return f"{text}; {self.cycles / least:.2f} times the bound, {least:,} ({bound})"
