"""A timeline as a Perfetto / Chrome trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plena.statistics.timeline.data import TimelineData
from plena.timing.recorder import BEGIN, CAUSE, CAUSES, END, ENGINE, ENGINES, LINE

WAITS = len(ENGINES)
MODULES = WAITS + 1


def trace_of(timeline: TimelineData) -> dict[str, Any]:
    """The document: the first instructions as slices on the tracks of their engines, the share of time that every
    engine works as counters over the whole run, and modules stretch by stretch."""
    return {
        "traceEvents": [*_tracks(), *_slices(timeline), *_counters(timeline), *_modules(timeline)],
        "displayTimeUnit": "ms",
        "otherData": {
            "profile": timeline.profile,
            "cycles": timeline.cycles,
            "slices": len(timeline.events),
            "left out as slices, in the counters": timeline.pieces - len(timeline.events),
        },
    }


def _tracks() -> Iterator[dict[str, Any]]:
    for number, name in enumerate((*ENGINES, "waits", "modules")):
        yield {"name": "thread_name", "ph": "M", "pid": 1, "tid": number, "args": {"name": name}}


def _slice(name: str, track: int, begin: int, end: int, **details: Any) -> dict[str, Any]:
    return {"name": name, "ph": "X", "pid": 1, "tid": track, "ts": begin, "dur": end - begin, "args": details}


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
    names = list(timeline.passed)
    begin, last = 0, ""
    for at in range(len(timeline.lengths) + 1):
        inside = at < len(timeline.lengths)
        name = max(names, key=lambda n: int(timeline.passed[n][at])) if inside else ""
        if at and (not inside or name != last):
            yield _slice(
                last or "program", MODULES, begin * timeline.width, min(at * timeline.width, timeline.cycles)
            )
            begin = at
        last = name
