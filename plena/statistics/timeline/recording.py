"""A run followed by a timing profile, and what happens in it written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plena.assembly import AsmInstruction, columns
from plena.assembly.loop_tree import static_loops
from plena.assembly.stream import Provenance
from plena.dialects.plena_isa import OPCODES
from plena.errors import PlenaError
from plena.integers import ceil_div
from plena.machine.target import Target
from plena.statistics.statistics import why_none
from plena.statistics.timeline.data import TimelineData
from plena.statistics.timeline.text import render
from plena.statistics.timeline.trace import trace_of
from plena.timing.profile import StreamProfile
from plena.timing.recorder import CAUSES, DMA, ENGINES, recorder
from plena.timing.registry import profile_named, profiles
from plena.timing.run import Run

BINS = 96
"""Stretches of time that a run is cut into."""

EVENTS = 20_000
"""Pieces of work and waits that are kept one by one."""


class Timeline(TimelineData):
    """A run by one timing profile; printed it is a table."""

    def __str__(self) -> str:
        return render(self)

    def trace(self) -> dict[str, Any]:
        """The document that chrome://tracing and ui.perfetto.dev open; one cycle is shown as one microsecond."""
        return trace_of(self)


def default_timing(own: str | None) -> str:
    """The profile that a program was compiled for if transfers overlap in it, else the first one in which they do."""
    names = _with_timeline()
    return own if own in names else names[0]


def _with_timeline() -> list[str]:
    return [p.name for p in profiles() if isinstance(p, StreamProfile) and p.record is not None]


def timeline_of(
    instructions: Sequence[AsmInstruction],
    target: Target,
    timing: str,
    provenance: Sequence[Provenance] | None = None,
    bins: int = BINS,
) -> Timeline:
    """Runs a program by a profile in which transfers run beside other instructions, and writes down what happens.

    Args:
        provenance: where each instruction comes from, for the modules.
        bins: how many stretches of time, at most.

    Raises:
        PlenaError: the profile takes one instruction after the other, or has no latency for the program: it says why.
    """
    profile = profile_named(timing, "timeline")
    if not isinstance(profile, StreamProfile) or profile.record is None:
        raise PlenaError(
            f"timing profile {timing} takes one instruction after the other: there is no timeline",
            "timeline",
            f"Profiles with one: {', '.join(_with_timeline())}.",
        )
    run = Run.of(columns(instructions), static_loops(instructions), target)
    latency = profile.line_latency(run)
    if latency is None:
        why = why_none(profile, run)
        raise PlenaError(f"timing profile {timing} has no latency for this program: {why}", "timeline")
    modules = [origin.module for origin in provenance] if provenance else [""] * len(instructions)
    number = {name: n for n, name in enumerate(dict.fromkeys(modules))}
    cycles = int(latency.sum())
    width = max(1, ceil_div(cycles, bins))
    stretches = max(1, ceil_div(cycles, width))
    into = recorder(run, [number[m] for m in modules], width, stretches, EVENTS)
    if len(run.opcodes):
        profile.record(run, into)
    bounds = {} if profile.bounds is None else profile.bounds(run)
    if bounds:
        bounds["transfers"] = int(into.busy[DMA].sum())
    return Timeline(
        timing,
        cycles,
        width,
        {name: into.busy[n] for n, name in enumerate(ENGINES)},
        {name: into.waiting[n] for n, name in enumerate(CAUSES) if into.waiting[n].any()},
        {name: into.passed[n] for name, n in number.items()},
        {
            name: {e: int(into.busy_by_group[n, k]) for k, e in enumerate(ENGINES)}
            for name, n in number.items()
        },
        {
            name: {c: int(c_) for k, c in enumerate(CAUSES) if (c_ := into.waiting_by_group[n, k])}
            for name, n in number.items()
        },
        bounds,
        into.events[: into.kept[0]],
        int(into.kept[1]),
        tuple(
            (OPCODES[o].mnemonic if o in OPCODES else "INVALID", module)
            for o, module in zip(run.opcodes.tolist(), modules, strict=True)
        ),
    )
