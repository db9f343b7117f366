"""A timeline as a Perfetto / Chrome trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plena.statistics.timeline.data import TimelineData
from plena.statistics.trace import time_slice, track_names
from plena.timing.recorder import BEGIN, CAUSE, CAUSES, END, ENGINE, ENGINES, LINE


def trace_of(timeline: TimelineData) -> dict[str, Any]:
    """The document: the first instructions as slices on the tracks of their engines, the share of time that every
    engine works as counters over the whole run, and modules stretch by stretch.

    A pipe works on several instructions at once, but slices of one track may not overlap: an engine has as many tracks
    as it has instructions under way.
    """
    tracks = _Tracks()
    slices = [*_slices(timeline, tracks), *_modules(timeline, tracks)]
    return {
        "traceEvents": [*track_names(tracks.names), *slices, *_counters(timeline)],
        "displayTimeUnit": "ms",
        "otherData": {
            "profile": timeline.profile,
            "cycles": timeline.cycles,
            "slices": len(timeline.events),
            "left out as slices, in the counters": timeline.pieces - len(timeline.events),
        },
    }


class _Tracks:
    """Tracks by name, made when they are needed; engines have their first one from the beginning."""

    def __init__(self) -> None:
        self.numbers = {name: number for number, name in enumerate((*ENGINES, "waits", "modules"))}
        self._ends: dict[int, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """In order of their numbers."""
        return tuple(self.numbers)

    def number(self, name: str, begin: int, end: int) -> int:
        """A track of this name on which nothing lies from `begin` on; slices come in the order of their begin."""
        copies = 1
        while True:
            shown = name if copies == 1 else f"{name} ({copies})"
            number = self.numbers.setdefault(shown, len(self.numbers))
            if self._ends.get(number, 0) <= begin:
                self._ends[number] = end
                return number
            copies += 1


def _slice(name: str, track: int, begin: int, end: int, **details: Any) -> dict[str, Any]:
    return time_slice(name, track, begin, end - begin, details)


def _slices(timeline: TimelineData, tracks: _Tracks) -> Iterator[dict[str, Any]]:
    for event in sorted(timeline.events.tolist(), key=lambda event: (event[BEGIN], event[END])):
        mnemonic, module = timeline.instructions[event[LINE]]
        begin, end = event[BEGIN], event[END]
        details = {"line": event[LINE] + 1, "module": module}
        if event[CAUSE]:
            details["instruction"] = mnemonic
            yield _slice(CAUSES[event[CAUSE]], tracks.number("waits", begin, end), begin, end, **details)
        else:
            track = tracks.number(ENGINES[event[ENGINE]], begin, end)
            yield _slice(mnemonic, track, begin, end, **details)


def _counters(timeline: TimelineData) -> Iterator[dict[str, Any]]:
    lengths = timeline.lengths.tolist()
    for name, cells in timeline.busy.items():
        for at, (busy, length) in enumerate(zip(cells.tolist(), lengths, strict=True)):
            share = round(busy / max(length, 1), 3)
            yield {
                "name": f"{name} at work",
                "ph": "C",
                "pid": 1,
                "ts": at * timeline.width,
                "args": {"share": share},
            }


def _modules(timeline: TimelineData, tracks: _Tracks) -> Iterator[dict[str, Any]]:
    """The module with most cycles in each stretch, stretches of one module as one slice."""
    for name, begin, end in timeline.spans():
        stop = min(end * timeline.width, timeline.cycles)
        start = begin * timeline.width
        yield _slice(name or "program", tracks.number("modules", start, stop), start, stop)
