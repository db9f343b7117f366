"""The page of a study: what is in it, and that it works in a browser (skipped without one, as in tests/report)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import torch
from torch import nn

import plena
from plena.exploring.study import Study
from tests.report.test_browser import browser, opened, rows_of, script

assert browser  # a fixture
pytest.importorskip("optuna")

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
SPACE: dict[str, Any] = {
    "BLEN": [4, 8, 5],
    "max_instructions": [None, 100, 3],
    "VECTOR_MUL_CYCLES": range(1, 4),
    "matmul": ["mm", "auto"],
}


def factory() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 32), nn.SiLU()), (torch.randn(16, 32),)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    folder = tmp_path_factory.mktemp("study")
    objectives = ["cycles:transactional", "area", "static"]
    given: dict[str, Any] = {"target": SMALL, "workers": 0, "storage": folder / "s.db", "cache": folder / "c"}
    yield plena.explore(factory, SPACE, objectives, **given)


@pytest.fixture(scope="module")
def page(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "study.html"
    study.report(path)
    return path


def test_every_point_brings_its_settings(study: Study, page: Path, tmp_path: Path) -> None:
    html = page.read_text()
    found = dict(re.findall(r'download="point-(\d+).toml" href="data:text/plain;base64,([^"]+)"', html))
    good = study.table[study.table["problem"].isna()]
    assert sorted(map(int, found)) == sorted(good.index) and len(good) == 24
    for number, text in found.items():
        (tmp_path / "point.toml").write_bytes(base64.b64decode(text))
        assert plena.Target.from_toml(tmp_path / "point.toml") == study.target(int(number))
    assert "BLEN must divide MLEN" in html and "The smallest has" in html
    assert len(re.findall('<tr id="point-[0-9]+" class="chosen">', html)) == len(study.front)


def test_programs_of_the_front_are_one_click_away(study: Study, tmp_path: Path) -> None:
    study.report(tmp_path / "a study.html", programs=2)
    links = re.findall(r'<a href="([^"]+)">report</a>', (tmp_path / "a study.html").read_text())
    assert len(links) == 2
    for number in study.front.index[:2]:
        link = f"a%20study-programs/point-{number}.html"
        assert link in links and "plena" in (tmp_path / unquote(link)).read_text()
    for programs in (-1, True, 1.5):
        with pytest.raises(plena.PlenaError, match="programs must be a whole number"):
            study.report(tmp_path / "no.html", programs=programs)  # type: ignore[arg-type]
    (tmp_path / "b-programs").write_text("")
    with pytest.raises(plena.PlenaError, match="b-programs: cannot be made"):
        study.report(tmp_path / "b.html", programs=1)


def test_a_study_without_a_program_is_a_page_too(tmp_path: Path) -> None:
    given: dict[str, Any] = {"target": SMALL, "workers": 0, "storage": tmp_path / "s.db", "cache": tmp_path}
    study = plena.explore(factory, {"BLEN": [5]}, ["static"], **given)
    study.report(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "BLEN must divide MLEN" in html and "Plotly" not in html


def test_it_works_in_a_browser(browser: Any, study: Study, page: Path) -> None:
    opened(browser, page)
    said = browser.get_log("browser")
    assert not [entry for entry in said if "WebGL" not in entry["message"]], (
        "a machine without a GPU warns of WebGL"
    )
    assert browser.title.endswith("plena exploration")
    assert script(browser, "return performance.getEntriesByType('resource').length") == 0
    drawn = script(
        browser, "return [...document.querySelectorAll('.js-plotly-plot')].map(p => p.data.length)"
    )
    assert drawn == [3, 3, 3, 1, 3]
    points = script(
        browser,
        "return [...document.querySelector('#fronts .js-plotly-plot').querySelectorAll('.points path')].length",
    )
    assert points == 24
    axes = script(
        browser,
        "return document.querySelector('#coordinates .js-plotly-plot').data[0].dimensions.map(d => d.label)",
    )
    assert axes == [*study.space.values, *study.objectives.names]
    table = browser.find_element("id", "point-table")
    before = [row.get_attribute("id") for row in rows_of(table)]
    table.find_elements("css selector", "thead button")[0].click()
    numbers = [int((row.get_attribute("id") or "").removeprefix("point-")) for row in rows_of(table)]
    assert numbers == sorted(numbers, reverse=True)
    assert [f"point-{n}" for n in numbers] != before and len(before) == 24
    overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    opened(browser, page, width=600)
    assert script(browser, overflow) <= 0
