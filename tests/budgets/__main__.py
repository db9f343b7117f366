"""`python -m tests.budgets [PART OF A NAME ...]`: count again, rewrite tests/budgets/*.json and docs/benchmark.md."""

from __future__ import annotations

import sys

from benchmarks.__main__ import PAGE
from benchmarks.page import page
from tests.budgets.groups import GROUPS, record, recorded


def main(parts: list[str]) -> None:
    """Counts the cases whose name holds one of the parts, all without parts."""
    for group, cases in GROUPS.items():
        counts = recorded(group)
        for name, case in cases.items():
            if parts and not any(part in name for part in parts):
                continue
            before, counts[name] = counts.get(name), case.counts()
            print(f"{group}: {name}: {counts[name]}" + (f" was {before}" if before != counts[name] else ""))
            record(group, counts)
    PAGE.write_text(page(), encoding="utf-8")


main(sys.argv[1:])
