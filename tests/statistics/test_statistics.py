"""Counts of flat programs against hand counts and against the public emulator's."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import plena
from plena.assembly import parse_asm
from plena.assembly.stream import Provenance
from plena.errors import PlenaError
from plena.machine.target import Target
from plena.statistics.statistics import Statistics, statistics_of
from plena.timing.registry import timings
from plena.timing.run import Run
from plena.timing.transactional import PROFILE as TRANSACTIONAL
from tests.conformance.cases import Case, index

NESTED = """
C_LOOP_START gp1, 4
H_PREFETCH_M gp0, gp2, a0, 0, 0
C_LOOP_START gp2, 3
M_MM 0, gp0, gp0
V_RED_SUM f0, gp0
V_RED_SUM f1, gp0
C_LOOP_END gp2
M_MM_WO gp0, gp0, 0
C_LOOP_END gp1
S_MAP_V_FP gp0, gp0, 0
V_TOPK gp1, gp2, gp3, 1
"""


def count(text: str, **options: Any) -> Statistics:
    return statistics_of(parse_asm(text), Target(), **options)


def test_counts_and_cycles_of_a_nest() -> None:
    counted = count(NESTED)
    starts, ends = 1 + 4, 4 * 3 + 4
    assert counted.static == 11
    assert counted.dynamic == starts + ends + 4 + 12 * 3 + 4 + 2
    assert counted.cycles["transactional"] == starts + ends + 12 * (64 + 0 + 8) + 4 + 128 + 512
    assert counted.cycles["pipelined"] == starts + ends + 4 + 12 * (4 + 8 + 8) + 4 + 1 + 5
    assert counted.loop_starts == 2
    assert counted.opcodes["M_MM"] == (1, 12)
    assert counted.opcodes["C_LOOP_END"] == (2, 16)
    assert counted.matrix_share["transactional"] == 12 * 64 / counted.cycles["transactional"]


def test_reference_timings() -> None:
    """plena_isa.md section 10."""
    assert count("C_LOOP_START gp1, 9\nS_ADDI_INT gp2, gp0, 1\nC_LOOP_END gp1").cycles["transactional"] == 19
    assert count("M_MM 0, gp1, gp2\nM_MM_WO gp1, gp0, 0").cycles["transactional"] == 65
    assert count("V_RED_SUM f0, gp1").cycles["transactional"] == 0
    assert count("S_MAP_V_FP gp1, gp0, 0").cycles["transactional"] == 128


def test_loops_are_counted_over_the_whole_run() -> None:
    outer, inner = count(NESTED).loops
    assert (outer.first_line, outer.last_line, outer.trip_count, outer.depth) == (1, 9, 4, 0)
    assert (inner.first_line, inner.last_line, inner.trip_count, inner.depth) == (3, 7, 3, 1)
    assert (inner.static, inner.dynamic) == (4, 48)
    assert outer.dynamic == 4 * (1 + 1 + 12 + 1 + 1)
    assert inner.cycles["transactional"] == 12 * (64 + 8 + 1)
    assert outer.dma_cycles == count(NESTED).dma_cycles > 4 * 80


def test_groups_add_up() -> None:
    program = parse_asm(NESTED)
    origins = [Provenance("a" if i < 9 else "b", "loop" if 2 <= i < 7 else "rest") for i in range(11)]
    counted = statistics_of(program, Target(), origins, {"a": 12 * 4 * 64})
    assert set(counted.modules) == {"a", "b"} and set(counted.steps) == {"loop", "rest"}
    for groups in (counted.modules, counted.steps):
        assert sum(g.static for g in groups.values()) == counted.static
        assert sum(g.dynamic for g in groups.values()) == counted.dynamic
        assert sum(g.cycles["pipelined"] for g in groups.values()) == counted.cycles["pipelined"]
    assert counted.modules["b"].cycles["transactional"] == 128 + 512
    assert counted.utilization["pipelined"] == 12 / counted.cycles["pipelined"]
    assert counted.modules["a"].utilization["pipelined"] == 12 / counted.modules["a"].cycles["pipelined"]
    assert counted.modules["b"].utilization == {}


def test_no_utilization_where_a_profile_charges_less_than_the_array_needs() -> None:
    statistics = count("M_BTMV gp0, gp0, gp0", useful_macs=64 * 64)
    assert statistics.utilization == {"pipelined": 1.0}


def test_utilization_is_empty_when_the_work_is_not_known() -> None:
    assert count(NESTED).utilization == {}
    assert count(NESTED, useful_macs=256).utilization["transactional"] == pytest.approx(
        1 / count(NESTED).cycles["transactional"]
    )


def test_the_empty_program() -> None:
    counted = count("")
    assert (counted.static, counted.dynamic, counted.dma_cycles) == (0, 0, 0)
    assert counted.cycles == counted.latency == dict.fromkeys(timings(), 0)


def test_endless_loops_are_an_error() -> None:
    nest = "".join(f"C_LOOP_START gp{i}, 4000000\n" for i in range(1, 9))
    nest += "".join(f"C_LOOP_END gp{i}\n" for i in range(8, 0, -1))
    with pytest.raises(PlenaError, match="too many to count"):
        count(nest)


def test_the_table_names_everything() -> None:
    text = str(count(NESTED, provenance=[Provenance("layers.0", "scores")] * 11, useful_macs=64))
    for word in ("static instructions", "V_TOPK", "1-9", "  3-7", "layers.0", "scores", "utilization"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 110


RUN_TIME_TRIPS = {"loop_dec2", "loop_force1", "loop_force0", "loop_runtime_once", "loop_extend"}
"""Programs that write their loop counters."""

CROSSED_LOOPS = {"loop_same_reg", "loop_crossed", "loop_crossed2"}

STATIC_LOOPS = [
    name
    for name, case in index().items()
    if case["expected"] == "state"
    and case["upstream_assembler_same"] is not None
    and "C_BREAK" not in case["assembly"]
    and name not in RUN_TIME_TRIPS | CROSSED_LOOPS
]


@pytest.mark.parametrize("name", STATIC_LOOPS)
def test_dynamic_counts_and_cycles_are_the_public_emulators(name: str) -> None:
    case = Case.named(name)
    program = parse_asm(case.info["assembly"])
    counted = statistics_of(program, case.target)
    assert counted.dynamic == case.info["executed"]
    assert {m: d for m, (_, d) in counted.opcodes.items()} == case.info["per_opcode"]
    assert counted.cycles["transactional"] == case.info["cycles"]["instruction"]


@pytest.mark.parametrize("name", sorted(CROSSED_LOOPS))
def test_crossed_loops_are_refused(name: str) -> None:
    with pytest.raises(PlenaError, match=r"ends no loop|still open"):
        statistics_of(parse_asm(Case.named(name).info["assembly"]), Target())


def test_simulations_run_when_their_cycles_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from plena.timing import registry
    from plena.timing.rtl_v1 import PROFILE

    runs: list[int] = []

    def simulate(run: Run) -> NDArray[np.int64] | None:
        runs.append(len(run.opcodes))
        return PROFILE.simulate(run)

    monkeypatch.setattr(registry, "_loaded", lambda name: replace(PROFILE, simulate=simulate))
    monkeypatch.setattr(registry, "_OURS", {"rtl-v1": ""})
    monkeypatch.setattr(registry, "_registered", {"transactional": TRANSACTIONAL})
    statistics = plena.stats("C_LOOP_START gp1, 3\nV_EXP_V gp0, gp0, 0\nC_LOOP_END gp1")
    assert statistics.cycles["transactional"] == 7
    assert not runs
    assert statistics.unavailable.get("transactional") is None and "rtl-v1" not in statistics.unsupported
    assert not runs
    total = statistics.cycles["rtl-v1"]
    assert runs == [3] and 0 < statistics.loops[0].cycles["rtl-v1"] <= total
    assert runs == [3]
    assert list(statistics.cycles) == ["rtl-v1", "transactional"]
    assert json.loads(json.dumps(statistics.cycles)) == {"rtl-v1": total, "transactional": 7}
    assert statistics.cycles == dict(statistics.cycles) == statistics.cycles.copy()
    assert repr(statistics.cycles) == repr(dict(statistics.cycles))
    assert pickle.loads(pickle.dumps(statistics.cycles)) == statistics.cycles
    assert runs == [3]
