"""The page about a program: what is in it, and that it loads nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from plena.program.thresholds import Thresholds
from plena.report import page_of
from plena.report.reading import contents_of_folder, contents_of_program
from plena.statistics.statistics import statistics_of
from tests.report.samples import Page, checked_program, saved_program


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = saved_program(tmp_path_factory.mktemp("report") / "linear")
    return Page(page_of(contents_of_folder(folder)))


def test_it_loads_nothing(page: Page) -> None:
    assert page.loads == []
    assert not re.search(r"url\(|@import|https?://", page.html)


def test_every_section_is_there(page: Page) -> None:
    wanted = {"modules", "steps", "curve", "loops", "hottest", "memory", "check", "decisions", "machine"}
    assert wanted <= page.ids
    assert {f"memory-{m}" for m in ("matrix", "vector", "fp", "int", "hbm")} <= page.ids
    assert "missing" not in page.ids, "nothing is"


def test_the_figures_are_those_of_the_program(page: Page) -> None:
    program = checked_program()
    stats = program.stats()
    figures = page.sections["figures"]
    for number in (stats.static, stats.dynamic, *stats.cycles.values(), stats.dma_cycles):
        assert f"{number:,}" in figures
    assert "transactional cycles (chose)" in figures and "passed" in figures
    assert "Chosen by the transactional timing profile" in page.sections[""]
    utilization = f"{stats.modules['linear'].utilization['pipelined']:.3f}"
    assert "linear" in page.sections["modules"] and utilization in page.sections["modules"]


def test_choices_are_shown(page: Page) -> None:
    assert "kept it is short product linear" in page.sections["loops"]
    assert "13 static instructions, 33 transactional cycles" in page.sections["curve"]
    assert "an iteration is too long" in page.sections["curve"]
    assert "the only schedule" in page.sections["decisions"]


def test_the_hottest_loop_is_shown_with_its_assembly(page: Page) -> None:
    assert "lines 8\u201313" in page.sections["hottest"]
    for text in ("C_LOOP_START gp4, 4", "M_TMM 0, gp0, gp5", "C_LOOP_END gp4"):
        assert text in page.sections["hottest"]


def test_a_check_that_fails_says_so() -> None:
    program = checked_program()
    assert program.last_check is not None
    program.last_check = replace(program.last_check, thresholds=Thresholds(quantized=1e-6))
    page = Page(page_of(contents_of_program(program)))
    assert "FAILED" in page.sections["figures"]
    assert "quantized: relative RMS error" in page.sections["check"] and "failed" in page.sections["check"]


def test_text_of_the_user_is_text() -> None:
    program = checked_program()
    program.decisions = ("<script>alert(1)</script> & more",)
    page = Page(page_of(contents_of_program(program, title="a < b")))
    assert page.tags.count("script") == 1
    assert "<script>alert(1)</script> & more" in page.sections["decisions"]
    assert "a < b" in page.sections[""]


def test_shares_add_up(page: Page) -> None:
    program = checked_program()
    statistics = statistics_of(contents_of_program(program).instructions, program.target, program.provenance)
    shares = re.findall(r'class="share" data-value="([\d.]+)"', page.html.partition('id="step-counts"')[2])
    assert sum(map(float, shares[: len(statistics.steps)])) == pytest.approx(1, abs=1e-5)


def test_the_same_program_gives_the_same_page(tmp_path: Path) -> None:
    checked_program().report(tmp_path / "a.html")
    checked_program().report(tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]
