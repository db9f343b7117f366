"""Number formats as dimensions of a space: what they lose and move, the chosen point, the picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import plena
from plena.api.choosing_formats import CANDIDATES
from plena.cli.commands.explore_space import space_of
from plena.errors import PlenaError, SettingsError
from plena.exploring.space import Space
from plena.exploring.study import Study
from tests.report.test_browser import browser, opened, script

assert browser  # a fixture
pytest.importorskip("optuna")

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
SPACE: dict[str, Any] = {
    "FORMATS.weights": ["e4m3", "e3m4", "bf16"],
    "FORMATS.activations": ["e4m3", "bf16"],
    "FORMATS.keys_values": ["e4m3"],
}


def factory() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.SiLU()), (torch.randn(3, 16, 64),)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    folder = tmp_path_factory.mktemp("study")
    given: dict[str, Any] = {"target": SMALL, "workers": 0, "storage": folder / "s.db", "cache": folder / "c"}
    yield plena.explore(factory, SPACE, ["error", "bytes"], **given)


def test_the_named_space_has_what_is_tried_of_every_class() -> None:
    space = Space.of("formats")
    assert {key.removeprefix("FORMATS."): list(v) for key, v in space.values.items()} == {
        name: list(texts) for name, texts in CANDIDATES.items()
    }
    for point in space.points():
        SMALL.with_settings(point)


def test_on_the_command_line_it_joins_other_keys() -> None:
    found = space_of(None, ["BLEN=4,8", "FORMATS.weights=e4m3"], every_format=True)
    assert list(found) == ["BLEN", "FORMATS.weights", "FORMATS.keys_values", "FORMATS.activations"]
    assert found["FORMATS.weights"] == ["e4m3"]
    with pytest.raises(PlenaError, match="or --formats auto"):
        space_of(None, [])


def test_a_class_is_a_setting_of_its_own() -> None:
    found = SMALL.with_settings({"FORMATS.weights": "e3m4", "FORMATS.keys_values": "bf16"})
    assert found == SMALL.with_formats(plena.Formats(weights="e3m4", keys_values="bf16"))
    for key, value, message in (
        ("FORMATS.weight", "e3m4", "there is no class 'weight'"),
        ("FORMATS.weights", "e9m9", "e9m9|bits"),
        ("FORMATS.weights", 3, "must be text, not 3"),
    ):
        with pytest.raises(SettingsError, match=message):
            SMALL.with_settings({key: value})


def test_figures_are_those_of_a_program_with_these_formats(study: Study) -> None:
    table = study.table
    assert len(table) == 6 and table["problem"].isna().all()
    for number, row in table.iterrows():
        formats = plena.Formats(weights=row["FORMATS.weights"], activations=row["FORMATS.activations"])
        assert study.target(int(number)).formats == formats  # type: ignore[call-overload]
        module, inputs = factory()
        program = plena.compile(module, inputs, target=SMALL, formats=formats)
        assert row["bytes"] == sum(program.stats().hbm_bytes.values())
        assert row["bytes_per_row"] == row["bytes"] / (3 * 16)


def test_the_chosen_point_loses_least_under_a_budget(study: Study) -> None:
    table = study.table
    shipped = table[(table["FORMATS.weights"] == "e4m3") & (table["FORMATS.activations"] == "e4m3")].iloc[0]
    for traffic in (1.0, 1.3, 10.0):
        chosen = table.loc[study.chosen(traffic)]
        within = table[table["bytes"] <= traffic * shipped["bytes"]]
        assert chosen["bytes"] <= traffic * shipped["bytes"]
        assert chosen["error"] == within["error"].min()
    assert table.loc[study.chosen(1.0)]["FORMATS.weights"] == "e3m4"
    module, inputs = factory()
    program = plena.compile(module, inputs, target=SMALL, formats="auto", traffic=1.3, samples=[inputs])
    assert program.source is not None
    found = program.source.simulated()(*inputs)[0]
    wanted = program.source.float32(*inputs)[0]
    error = float((found - wanted).square().sum() / wanted.square().sum())
    assert table.loc[study.chosen(1.3)]["error"] <= error * (1 + 1e-6)
    with pytest.raises(PlenaError, match=r"no point moves 0.5 times.*The least is 1.000"):
        study.chosen(0.5)


def test_a_search_for_a_budget_tries_the_shipped_formats(tmp_path: Path) -> None:
    """Of any seed and however few points, since the bytes of all others are measured by theirs."""
    space = {**SPACE, "FORMATS.weights": ["bf16", "e3m4", "e4m3"], "BLEN": [3, 2, 4]}
    for seed in (0, 3):
        given: dict[str, Any] = {"target": SMALL, "workers": 0, "cache": tmp_path / "c", "seed": seed}
        few = {"storage": tmp_path / f"{seed}.db", "trials": 1, "traffic": 1.3}
        found = plena.explore(factory, space, ["error", "bytes"], **given, **few)
        assert found.formats_of(found.results()[found.chosen(1.3)].point) == plena.Formats()


@pytest.mark.parametrize(
    ("change", "objectives", "traffic", "message"),
    [
        (
            {},
            ["error"],
            0.9,
            r"no formats move 0.9 times the bytes of the shipped ones. The least is 1.000, with",
        ),
        ({"FORMATS.weights": ["e3m4/32"]}, ["error"], 1.1, r"which none of the points has. Put \"shipped\""),
        ({}, ["bytes"], 1.1, "chosen among points with an error"),
        ({}, ["error"], 0, "traffic must be a number above 0, not 0"),
    ],
)
def test_a_budget_that_nothing_can_meet_is_said_before_the_search(
    change: dict[str, Any],
    objectives: list[str],
    traffic: float,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("plena.exploring.explore.search", None)
    given: dict[str, Any] = {"target": SMALL, "workers": 0, "storage": tmp_path / "s.db", "cache": tmp_path}
    with pytest.raises(PlenaError, match=message):
        plena.explore(factory, {**SPACE, **change}, objectives, traffic=traffic, **given)


def test_points_without_an_error_have_no_choice(tmp_path: Path) -> None:
    given: dict[str, Any] = {"target": SMALL, "workers": 0, "storage": tmp_path / "s.db", "cache": tmp_path}
    found = plena.explore(factory, {"FORMATS.weights": ["e3m4", "bf16"]}, ["bytes"], **given)
    with pytest.raises(PlenaError, match="chosen among points with an error"):
        found.chosen()
    found.report(tmp_path / "page.html")
    assert "Number formats" not in (tmp_path / "page.html").read_text()


def test_the_picture_marks_the_chosen_point(browser: Any, study: Study, tmp_path: Path) -> None:
    study.report(tmp_path / "page.html", traffic=1.3)
    assert f"point {study.chosen(1.3)}, weights=" in (tmp_path / "page.html").read_text()
    opened(browser, tmp_path / "page.html")
    names = script(
        browser, "return document.querySelector('#formats .js-plotly-plot').data.map(trace => trace.name)"
    )
    assert names == ["front of these two", "weights e4m3", "weights e3m4", "weights bf16", "chosen"]


def test_a_budget_that_nothing_meets_is_said_on_the_page(study: Study, tmp_path: Path) -> None:
    study.report(tmp_path / "page.html", traffic=0.5)
    assert "None is chosen: no point moves 0.5 times" in (tmp_path / "page.html").read_text()
