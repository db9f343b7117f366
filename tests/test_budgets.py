"""No program gets longer or slower unnoticed: `python -m tests.budgets` records counts that are meant to change."""

from __future__ import annotations

import pytest

from tests.budgets.case import Case
from tests.budgets.groups import GROUPS, grown, recorded

CASES = [
    pytest.param(group, name, case, id=f"{group}: {name}", marks=[pytest.mark.slow] if case.slow else [])
    for group, cases in GROUPS.items()
    for name, case in cases.items()
]


@pytest.mark.parametrize(("group", "name", "case"), CASES)
def test_counts_do_not_grow(group: str, name: str, case: Case) -> None:
    excess = grown(case.counts(), recorded(group).get(name, {}))
    assert not excess, f"{name}: {', '.join(excess)}"


@pytest.mark.parametrize("group", GROUPS)
def test_every_recorded_case_exists(group: str) -> None:
    assert set(recorded(group)) == set(GROUPS[group])


def test_growth_is_noticed() -> None:
    budget = {"static": 10, "dynamic": 20}
    assert grown({"static": 10, "dynamic": 19}, budget) == []
    assert grown({"static": 11, "dynamic": 20}, budget) == ["static 11 (recorded: 10)"]
    assert grown({"static": 1, "cycles": 5}, budget) == ["cycles 5 (not recorded)"]


def test_attention_reaches_its_figures() -> None:
    """One head in the M_MM schedule (issue 2)."""
    counts = recorded("kernels")
    rows, wide = counts["attention 64x64, rows"], counts["attention 64x128, rows"]
    assert rows["static"] <= 60 and rows["dynamic"] <= 3600 and rows["transactional"] <= 36_500
    assert wide["static"] <= 85
    assert counts["attention 64x64, online"]["static"] <= 90
    assert counts["attention 6 heads of 64x64, rows"]["static"] <= rows["static"] + 12


def test_linear_layers_reach_their_figures() -> None:
    """The broadcast schedule of a feed-forward projection (issue 5)."""
    counts = recorded("kernels")
    linear = counts["linear 64x384 to 1408, broadcast"]
    assert linear["static"] <= 40 and linear["transactional"] <= 37_051
    assert counts["linear 64x384 to 1408"]["transactional"] <= 37_051


def test_few_rows_reach_their_figures() -> None:
    """The vector schedule (issue 14)."""
    counts = recorded("kernels")
    for rows, most, cycles in ((1, 75, 3_300), (4, 75, 3_400), (16, 120, 10_500), (64, 120, 40_000)):
        linear = counts[f"linear {rows}x576 to 1536, {most} instructions"]
        assert linear["static"] <= most and linear["transactional"] <= cycles
    assert counts["linear 1x576 to 1536, pipelined, 75 instructions"]["pipelined"] <= 16_500
    assert (
        counts["linear 64x384 to 1408, pipelined, 80 instructions"]["pipelined"]
        <= 64 * 384 * 1408 / 256 / 0.86
    )
    decoders = recorded("decoders")
    layer, layers = decoders["CLM-60M layer, sequence 64"], decoders["CLM-60M 8 layers, sequence 64"]
    assert layer["static"] <= 700 and layer["transactional"] <= 128_000
    assert layers["transactional"] <= 1_150_000


def test_encoders_reach_their_figures() -> None:
    """Issue 7; the products of a MiniLM layer are 116,391,936 multiply-accumulates, BLEN * MLEN is 256."""
    counts = recorded("encoders")
    layer, norm = counts["MiniLM layer, sequence 64"], counts["LayerNorm 64x384"]
    assert layer["static"] <= 800 and layer["transactional"] <= 220_000
    assert norm["static"] <= 60 and norm["transactional"] <= 6_500
    assert counts["LayerNorm 64x384 with gain and bias"]["transactional"] <= 6_500
    assert counts["SmolVLM2 vision layer, 64 patches of 16x16"]["static"] <= 4_000
    pipelined = counts["MiniLM layer, sequence 64, pipelined"]["pipelined"]
    assert 116_391_936 / (256 * pipelined) >= 0.58
