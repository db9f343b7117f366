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
