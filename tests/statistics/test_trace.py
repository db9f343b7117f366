"""The trace of a run covers all of its time."""

from __future__ import annotations

import numpy as np
import pytest

from plena.api.program import Program
from plena.assembly.stream import Provenance
from plena.errors import PlenaError
from plena.machine.target import Target
from plena.statistics.trace import trace_of


def test_slices_follow_each_other_and_add_up() -> None:
    places = [
        Provenance("a", "load"),
        Provenance("a", "load"),
        Provenance("a", "product"),
        Provenance("b", "load"),
    ]
    trace = trace_of(places, np.array([1.0, 2.0, 5.0, 3.0]), np.array([0.0, 10.0, 0.0, 0.0]))
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    steps = [(s["name"], s["ts"], s["dur"]) for s in slices if s["tid"] == 2]
    assert steps == [("load", 0.0, 13.0), ("product", 13.0, 5.0), ("load", 18.0, 3.0)]
    assert [(s["name"], s["dur"]) for s in slices if s["tid"] == 1] == [("a", 18.0), ("b", 3.0)]
    assert [(s["ts"], s["dur"]) for s in slices if s["tid"] == 3] == [(3.0, 10.0)]


def test_a_program_without_a_run_has_no_trace() -> None:
    with pytest.raises(PlenaError, match="no run"):
        Program(np.zeros(0, np.uint32), Target()).trace()
