"""A timeline as a Perfetto / Chrome trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plena.statistics.timeline.data import TimelineData
from plena.statistics.trace import time_slice, track_names
from plena.timing.recorder import BEGIN, CAUSE, CAUSES, END, ENGINE, ENGINES, LINE

WAITS = len(ENGINES)
MODULES = WAITS + 1


def trace_of(timeline: TimelineData) -> dict[str, Any]:
    """The document: the first instructions as slices on the tracks of their engines, the share of time that every
    engine works as counters over the whole run, and modules stretch by stretch."""
    tracks = track_names((*ENGINES, "waits", "modules"))
    return {
        "traceEvents": [*tracks, *_slices(timeline), *_counters(timeline), *_modules(timeline)],
        "displayTimeUnit": "ms",
        "otherData": {
            "profile": timeline.profile,
            "cycles": timeline.cycles,
            "slices": len(timeline.events),
            "left out as slices, in the counters": timeline.pieces - len(timeline.events),
        },
    }


def _slice(name: str, track: int, begin: int, end: int, **details: Any) -> dict[str, Any]:
    return time_slice(name, track, begin, end - begin, details)


def _slices(timeline: TimelineData) -> Iterator[dict[str, Any]]:
    for event in timeline.events.tolist():
        mnemonic, module = timeline.instructions[event[LINE]]
        details = {"line": event[LINE] + 1, "module": module}
        if event[CAUSE]:
            details["instruction"] = mnemonic
            yield _slice(CAUSES[event[CAUSE]], WAITS, event[BEGIN], event[END], **details)
        else:
            yield _slice(mnemonic, event[ENGINE], event[BEGIN], event[END], **details)


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


def _modules(timeline: TimelineData) -> Iterator[dict[str, Any]]:
    """The module with most cycles in each stretch, stretches of one module as one slice."""
    for name, begin, end in timeline.spans():
        stop = min(end * timeline.width, timeline.cycles)
        yield _slice(name or "program", MODULES, begin * timeline.width, stop)
