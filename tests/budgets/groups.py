"""The groups of guarded programs: a Python file with CASES and a JSON file of the same name with their counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.budgets import decoders, encoders, kernels, operators
from tests.budgets.case import Case

FOLDER = Path(__file__).parent

GROUPS: dict[str, dict[str, Case]] = {
    "kernels": kernels.CASES,
    "operators": operators.CASES,
    "decoders": decoders.CASES,
    "encoders": encoders.CASES,
}


def recorded(group: str) -> dict[str, dict[str, int]]:
    """The counts of a group by case."""
    path = FOLDER / f"{group}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def record(group: str, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Write the counts of a group, in the order of its cases."""
    ordered = {name: counts[name] for name in GROUPS[group] if name in counts}
    (FOLDER / f"{group}.json").write_text(json.dumps(ordered, indent=1) + "\n")


def grown(found: Mapping[str, int], budget: Mapping[str, int]) -> list[str]:
    """One phrase for every count that is larger than recorded, or not recorded."""
    return [
        f"{name} {count:,} (recorded: {budget[name]:,})"
        if name in budget
        else f"{name} {count:,} (not recorded)"
        for name, count in found.items()
        if count > budget.get(name, -1)
    ]
