"""A run followed by a timing profile, and what happens in it written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from plena.assembly import AsmInstruction, columns
from plena.assembly.loop_tree import static_loops
from plena.assembly.stream import Provenance
from plena.dialects.plena_isa import OPCODES
from plena.errors import PlenaError
from plena.integers import ceil_div
from plena.machine.target import Target
from plena.statistics.counts import without
from plena.statistics.statistics import why_none
from plena.statistics.timeline.data import I64, TimelineData
from plena.statistics.timeline.text import render
from plena.statistics.timeline.trace import trace_of
from plena.timing.profile import StreamProfile
from plena.timing.recorder import CAUSES, DMA, ENGINES, Recorder, recorder
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


Recording: TypeAlias = Callable[[Run, Recorder], I64 | None]


def _profile(timing: str | None, own: str | None, run: Run) -> tuple[StreamProfile, Recording]:
    """The profile whose timeline is asked for, and what writes it down.

    Raises:
        PlenaError: it has none, or none of this program.
    """
    asked = None if timing is None else profile_named(timing, "timeline")
    every = [(p, p.record) for p in profiles() if isinstance(p, StreamProfile) and p.record is not None]
    able = [found for found in every if not found[0].missing_in(run) and run.unsimulated() is None]
    if not able:
        reasons = " or ".join(f"{p.name} ({why_none(p, run)})" for p, _ in every)
        raise PlenaError(
            f"there is no timeline of this program by {reasons}",
            "timeline",
            without(reasons).rstrip() or None,
        )
    found = {p.name: (p, record) for p, record in able}
    if asked is None:
        return found[own] if own in found else able[0]
    if asked.name in found:
        return found[asked.name]
    why = "it takes one instruction after the other"
    if isinstance(asked, StreamProfile) and asked.record is not None:
        why = why_none(asked, run)
    raise PlenaError(
        f"timing profile {timing} has no timeline of this program: {why}",
        "timeline",
        f"Profiles with one: {', '.join(found)}.",
    )


def timeline_of(
    instructions: Sequence[AsmInstruction],
    target: Target,
    timing: str | None = None,
    provenance: Sequence[Provenance] | None = None,
    bins: int = BINS,
    *,
    own: str | None = None,
) -> Timeline:
    """Runs a program by a profile in which transfers run beside other instructions, and writes down what happens.

    Args:
        timing: the profile; by default `own` if it is one of those, else the first of them that counts the program.
        own: what the program was compiled for.
        provenance: where each instruction comes from, for the modules.
        bins: how many stretches of time, at most.

    Raises:
        PlenaError: the profile takes one instruction after the other, or has no latency for the program: it says why,
            and which have one.
    """
    run = Run.of(columns(instructions), static_loops(instructions), target)
    profile, record = _profile(timing, own, run)
    latency = profile.line_latency(run)
    if latency is None:
        raise PlenaError(
            f"timing profile {profile.name} has no latency for this program: {why_none(profile, run)}",
            "timeline",
        )
    modules = [origin.module for origin in provenance] if provenance else [""] * len(instructions)
    number = {name: n for n, name in enumerate(dict.fromkeys(modules))}
    cycles = int(latency.sum())
    width = max(1, ceil_div(cycles, bins))
    stretches = max(1, ceil_div(cycles, width))
    into = recorder(run, [number[m] for m in modules], width, stretches, EVENTS)
    if len(run.opcodes):
        record(run, into)
    bounds = {} if profile.bounds is None else profile.bounds(run)
    if bounds:
        bounds["transfers"] = int(into.busy[DMA].sum())
    return Timeline(
        profile.name,
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
