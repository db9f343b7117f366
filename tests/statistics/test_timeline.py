"""Timelines of the worked examples of the profiles' sources, and what is made of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from plena.assembly import parse_asm
from plena.assembly.stream import Provenance
from plena.errors import PlenaError
from plena.machine.target import Target
from plena.report.timeline_picture import timeline_picture
from plena.statistics.timeline import Timeline, recording, timeline_of
from plena.statistics.timeline.data import I64
from tests.timing.test_serialized import A2, A3, SETUP

B1 = """
S_LUI_INT gp1, 1
S_LUI_INT gp2, 2
S_LUI_INT gp3, 3
S_LUI_INT gp4, 4
S_ADDI_INT gp5, gp0, 64
M_MM 0, gp0, gp0
M_MM 0, gp1, gp1
M_MM_WO gp2, gp0, 0
S_ADDI_INT gp6, gp0, 64
V_ADD_VV gp3, gp2, gp0, 0
V_ADD_VV gp4, gp5, gp5, 0
V_MUL_VV gp1, gp5, gp5, 0
V_RED_SUM f1, gp1
S_LD_FP f2, gp0, 0
S_RECI_FP f1, f1
V_MUL_VF gp3, gp0, f1, 0
"""


def timeline(
    text: str, timing: str | None, modules: dict[int, str] | None = None, bins: int = 96
) -> Timeline:
    """A timeline with instructions from some line on in a module."""
    instructions = parse_asm(text)
    names = [""] * len(instructions)
    for line, name in (modules or {}).items():
        names[line:] = [name] * (len(names) - line)
    return timeline_of(instructions, Target(), timing, [Provenance(n, "") for n in names], bins)


def sums(cells: dict[str, I64]) -> dict[str, int]:
    return {name: int(values.sum()) for name, values in cells.items()}


def test_serialized_example() -> None:
    found = timeline(SETUP + A2, "serialized", {3: "a", 8: "b"}, bins=7)
    first, second = 122, 125  # what the two tiles take
    assert found.cycles == 3 + 303
    assert sums(found.busy) == {"scalar": 3 + 1, "matrix": 2 * 23 + 10, "vector": 10, "DMA": first + second}
    assert sums(found.waiting) == {"load of matrix tiles": first - 12 + second - 1}
    assert sums(found.passed) == {"": 3, "a": 12, "b": 303 - 12}
    assert found.waiting_by_module["b"] == {"load of matrix tiles": first - 12 + second - 1}
    assert found.busy_by_module["a"]["DMA"] == first
    assert (found.lengths.sum(), found.lengths.max()) == (found.cycles, found.width)
    assert all((cells <= found.lengths).all() for cells in found.busy.values())
    assert found.busy["DMA"][0] == found.width - 3, "the first tile loads in all of the first stretch"


def test_a_loop_with_loads_of_rows() -> None:
    found = timeline(A3, "serialized")
    assert sums(found.waiting) == {"transfer of vector rows": (33 - 3) + (59 - 37)}
    assert sums(found.busy)["DMA"] == 32 + 24 + 24
    assert found.cycles == 3 + 85


def test_scoreboard_example() -> None:
    """Example B1 of the source: what instructions wait for, recovery included, from issue to acceptance."""
    found = timeline(B1, "rtl-v1")
    assert found.cycles == 4 + 144
    assert sums(found.waiting) == {
        "matrix unit": 10 - 2,
        "operand": (40 - 13) + (66 - 55),
        "vector pipe": 54 - 42,
        "scalar unit": (121 - 67) + (133 - 123),
    }
    assert sums(found.busy)["matrix"] == 2 * 8 + (39 - 18)
    assert found.bounds == {"matrix unit": 2 * 9 + 21, "vector pipe": 4 + 54, "issue": 16, "transfers": 0}
    assert f"{148 / 58:.2f} times the bound, 58 (vector pipe)" in str(found)


def test_what_is_shown_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "EVENTS", 6)
    text = "C_LOOP_START gp4, 1000\nV_EXP_V gp0, gp0, 0\nV_EXP_V gp1, gp1, 0\nC_LOOP_END gp4\n"
    found = timeline(text, "rtl-v1", {1: "work"}, bins=20)
    document = json.loads(json.dumps(found.trace()))
    names = {e["tid"]: e["args"]["name"] for e in document["traceEvents"] if e["ph"] == "M"}
    engines = {t for t, name in names.items() if name.split()[0] in found.busy}
    slices = [e for e in document["traceEvents"] if e["ph"] == "X" and e["tid"] in engines]
    assert [e["name"] for e in slices[:3]] == ["C_LOOP_START", "V_EXP_V", "V_EXP_V"] and len(slices) == 4
    assert document["otherData"]["left out as slices, in the counters"] == found.pieces - 6 > 3000
    ends = [e["ts"] + e.get("dur", 0) for e in document["traceEvents"] if "ts" in e]
    assert max(ends) == found.cycles
    picture = timeline_picture(found)
    assert len(picture.spans) == 1 and picture.spans[0].name == "work"
    assert all(row.outline.count("H") == len(found.lengths) <= 20 for row in picture.rows)
    lines = str(found).splitlines()
    vector = next(line for line in lines if line.lstrip().startswith("vector"))
    assert "█" * 19 in vector and f"{found.busy['vector'].sum():,}" in vector
    assert any("work" in line and "operand" in line for line in lines)


def test_slices_of_a_track_do_not_overlap() -> None:
    """A pipe works on several instructions at once: they are on several tracks, whose names say so."""
    body = "".join(f"V_EXP_V gp{n}, gp{n}, 0\nM_MM 0, gp{n}, gp0\n" for n in range(1, 6))
    setup = "".join(f"S_LUI_INT gp{n}, {n}\n" for n in range(1, 6))
    document = timeline(f"{setup}{body}M_MM_WO gp1, gp0, 0\n", "rtl-v1", {9: "a"}).trace()
    names = {e["tid"]: e["args"]["name"] for e in document["traceEvents"] if e["ph"] == "M"}
    assert {"vector", "vector (2)", "matrix", "waits", "modules"} <= set(names.values())
    slices = [e for e in document["traceEvents"] if e["ph"] == "X"]
    assert sum(names[e["tid"]].startswith("vector") for e in slices) == 5
    for track in names:
        ends = 0
        for event in sorted((e for e in slices if e["tid"] == track), key=lambda e: e["ts"]):
            assert event["ts"] >= ends
            ends = event["ts"] + event["dur"]


@pytest.mark.parametrize(
    ("text", "timing", "message"),
    [
        ("V_EXP_V gp0, gp0, 0\n", "pipelined", "one instruction after the other.*serialized, rtl-v1"),
        (
            "V_MAX_VF gp0, gp0, f1, 0\n",
            None,
            r"no timeline of this program by serialized \(no cycles .* V_MAX_VF\) or rtl-v1 .*Compiled with machine=",
        ),
        ("V_MAX_VF gp0, gp0, f1, 0\n", "pipelined", "no timeline of this program by serialized .* or rtl-v1"),
        (
            "V_PS_V gp0, gp0, gp1, 0\n",
            "rtl-v1",
            r"no cycles are known for V_PS_V. Profiles with one: serialized\.",
        ),
        ("S_LD_INT gp1, gp0, 0\nH_PREFETCH_V gp1, gp1, a0, 0, 0\n", "serialized", "hangs on data"),
        ("V_EXP_V gp0, gp0, 0\n", "fast", "timing must be one of"),
    ],
)
def test_programs_without_a_timeline(text: str, timing: str | None, message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        timeline(text, timing)


def test_an_empty_program() -> None:
    found = timeline("", "serialized")
    assert found.cycles == 0 and not np.concatenate(list(found.busy.values())).any() and str(found)
    assert not any(event["ph"] == "X" for event in found.trace()["traceEvents"])
