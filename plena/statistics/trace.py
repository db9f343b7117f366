"""A run as a Perfetto / Chrome trace: what the machine spent its time on, by module of the model and kernel step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plena.assembly.stream import Provenance


def trace_of(
    provenance: Sequence[Provenance], cycles: NDArray[np.float64], dma_cycles: NDArray[np.float64]
) -> dict[str, Any]:
    """The document that chrome://tracing and ui.perfetto.dev open; one cycle is shown as one microsecond.

    Consecutive instructions of one step are one slice whose length is their time over the whole run, so the slices of
    a loop show the sum of its iterations. One track shows modules, one steps, one the waits for HBM.

    Args:
        provenance: where each instruction comes from.
        cycles: `[n]` cycles of each instruction over the run, DMA left out.
        dma_cycles: `[n]` DMA waits of each instruction over the run.
    """
    tracks = track_names(("modules", "steps", "HBM waits"), 1)
    return {"traceEvents": [*tracks, *_slices(provenance, cycles, dma_cycles)], "displayTimeUnit": "ms"}


def track_names(names: Sequence[str], first: int = 0) -> Iterator[dict[str, Any]]:
    """What names the tracks of a trace, numbered from `first` on."""
    for number, name in enumerate(names, first):
        yield {"name": "thread_name", "ph": "M", "pid": 1, "tid": number, "args": {"name": name}}


def _slices(
    provenance: Sequence[Provenance], cycles: NDArray[np.float64], dma_cycles: NDArray[np.float64]
) -> Iterator[dict[str, Any]]:
    start = 0.0
    for module, members in groupby(range(len(provenance)), key=lambda n: provenance[n].module):
        module_start = start
        for step, group in groupby(members, key=lambda n: provenance[n].step):
            indices = list(group)
            busy, waiting = float(cycles[indices].sum()), float(dma_cycles[indices].sum())
            details = {"module": module, "instructions": len(indices), "cycles": busy, "dma_cycles": waiting}
            yield time_slice(step or "other", 2, start, busy + waiting, details)
            if waiting:
                yield time_slice(step or "other", 3, start + busy, waiting, details)
            start += busy + waiting
        yield time_slice(module or "program", 1, module_start, start - module_start, {})


def time_slice(name: str, track: int, start: float, length: float, details: dict[str, Any]) -> dict[str, Any]:
    """A stretch of a track from a time on."""
    return {"name": name, "ph": "X", "pid": 1, "tid": track, "ts": start, "dur": length, "args": details}
