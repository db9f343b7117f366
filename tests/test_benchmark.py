"""The benchmark: its table holds the guarded counts and all published ones, worse counts are noticed, fits fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import benchmarks.__main__ as bench
from benchmarks.page import COUNTS, MEASUREMENTS, SERIES, Fit, counts_of, missed, page, utilization
from benchmarks.rows import PUBLIC, SECTIONS, Row
from tests.budgets.groups import GROUPS, recorded

PAGE = Path(__file__).parents[1] / "docs/benchmark.md"
ROWS = [row for rows in SECTIONS.values() for row in rows]


def cells() -> list[list[str]]:
    """The rows of the table of counts."""
    lines = PAGE.read_text(encoding="utf-8").partition("## Counts")[2].partition("\n## ")[0].splitlines()
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("| ")][2:]


def test_counts_of_the_page_are_those_of_the_budgets() -> None:
    shown = [row for row in cells() if not row[0].startswith("**")]
    assert len(shown) == len(ROWS)
    for row, line in zip(ROWS, shown, strict=True):
        assert line[0].startswith(row.work) and line[1] == row.options
        counts = counts_of(row)
        for name, text in zip(COUNTS, line[2:6], strict=True):
            assert text == (f"{counts[name]:,}" if name in counts else ""), f"{row.work}: {name}"


def test_every_guarded_program_is_shown() -> None:
    for group in GROUPS:
        assert {row.case for row in ROWS if row.group == group} == set(GROUPS[group])


def test_every_published_case_is_shown() -> None:
    shown = {(p.static, p.transactional) for p in (row.published for row in ROWS) if p is not None}
    published = {
        (entry["static"], entry["cycles"])
        for entry in (
            *PUBLIC["models"],
            *PUBLIC["operators"],
            *PUBLIC["other_settings"]["figures"],
            *(case[mask] for case in PUBLIC["attention"] for mask in ("bidirectional", "causal")),
        )
    }
    assert published <= shown
    pipelined = {row.published.pipelined for row in ROWS if row.published is not None}
    assert {entry["cycles"] for entry in PUBLIC["pipelined"]} <= pipelined


def test_a_bar_that_is_missed_is_said() -> None:
    row = next(row for row in ROWS if row.case == "attention 64x64")
    assert missed(row) == []
    missing = replace(row, bars={"static": 3})
    assert missed(missing) == [f"static {counts_of(row)['static']} instead of 3"]
    pipelined = next(row for row in ROWS if row.least_utilization is not None)
    share = utilization(pipelined)
    assert share is not None and 0 < share <= 1
    assert "utilisation" in missed(replace(pipelined, least_utilization=1.1))[0]


def test_measurements_are_those_of_the_page() -> None:
    document = json.loads(bench.TIMINGS.read_text(encoding="utf-8"))
    names = [entry["name"] for entry in document["measurements"]]
    assert names == [name for name in MEASUREMENTS if name in names]
    assert all(len(e["seconds"]) == document["runs"] for e in document["measurements"] if "error" not in e)
    text = page()
    assert all(f"### {title}" in text for title, _, _ in SERIES)
    assert text.count("it grows") >= len(SERIES), "a fit for each"


@pytest.mark.parametrize(("factor", "exponent"), [(2.0, 1.0), (0.5, 0.3), (3.0, 2.0)])
def test_a_power_law_is_found(factor: float, exponent: float) -> None:
    sizes = [64, 128, 512, 4096]
    fit = Fit.of(sizes, [factor * n**exponent for n in sizes])
    assert fit.factor == pytest.approx(factor) and fit.exponent == pytest.approx(exponent)


class FakeCase:
    slow = False

    def __init__(self, static: int) -> None:
        self.static = static

    def counts(self) -> dict[str, int]:
        return {"static": self.static}


@pytest.mark.parametrize(("static", "worse"), [(10, []), (12, ["x: static 12 (recorded: 10)"]), (9, [])])
def test_worse_counts_are_noticed_and_better_ones_recorded(
    monkeypatch: pytest.MonkeyPatch, static: int, worse: list[str]
) -> None:
    stored = {"group": {"x": {"static": 10}}}
    monkeypatch.setattr(bench, "GROUPS", {"group": {"x": FakeCase(static)}})
    monkeypatch.setattr(bench, "recorded", lambda group: dict(stored[group]))
    monkeypatch.setattr(bench, "record", lambda group, counts: stored.update({group: dict(counts)}))
    assert bench.count((), quick=False) == worse
    assert stored["group"]["x"]["static"] == min(static, 10)


def test_recorded_counts_are_whole() -> None:
    for group in GROUPS:
        assert all(set(counts) >= set(COUNTS) for counts in recorded(group).values())


def test_rows_name_their_work_once() -> None:
    keys = [(row.work, row.options, row.published) for row in ROWS]
    assert len(keys) == len(set(keys)) and all(isinstance(row, Row) for row in ROWS)
