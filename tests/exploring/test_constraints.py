"""Constraints of a study: what is one, what it changes, where it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import plena
from plena.cli.commands.explore_space import space_of
from plena.errors import PlenaError
from plena.exploring.constraints import Constraint
from plena.exploring.objectives import Objectives
from plena.exploring.space import Space
from plena.exploring.study import Study

optuna = pytest.importorskip("optuna")

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
SPACE: dict[str, Any] = {
    "BLEN": [4, 8],
    "max_instructions": [None, 40, 80],
    "VECTOR_MUL_CYCLES": [1, 2, 3, 4],
}
OBJECTIVES = ["cycles:transactional", "static"]


def factory() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 32), nn.SiLU()), (torch.randn(16, 32),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def free(folder: Path) -> Iterator[Study]:
    """Without constraints."""
    yield explored(folder, "free")


def explored(
    folder: Path, name: str, space: Any = SPACE, objectives: Any = OBJECTIVES, **given: Any
) -> Study:
    given = {"target": SMALL, "workers": 0, "cache": folder / "cache", "matmul": "mm"} | given
    return plena.explore(factory, space, objectives, storage=folder / f"{name}.db", **given)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("area <= 2.0", Constraint("area", True, 2.0)),
        ("  static<=700 ", Constraint("static", True, 700.0)),
        ("latency:rtl-v1 <= 1e6", Constraint("latency:rtl-v1", True, 1e6)),
        ("utilization >= -.5", Constraint("utilization", False, -0.5)),
        ("bytes <= 2_000_000", Constraint("bytes", True, 2e6)),
    ],
)
def test_a_constraint_is_read_and_written(text: str, meant: Constraint) -> None:
    assert Constraint.of(text) == meant == Constraint.of(str(meant))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["area < 2"], "a figure, <= or >=, and a number, not 'area < 2'"),
        (["area <= 2 <= 3"], "a figure, <= or >=, and a number"),
        (["2 >= area"], "a figure, <= or >=, and a number"),
        (["area"], "a figure, <= or >=, and a number"),
        (["area <= static"], "'static' in the constraint 'area <= static' is no number"),
        (["area <= nan"], "'nan' in the constraint"),
        (["area <= inf"], "'inf' in the constraint"),
        (["__import__('os') <= 2"], "a figure, <= or >=, and a number"),
        ([3], "a figure, <= or >=, and a number, not 3"),
        (["beauty <= 2"], "constraint beauty <= 2: there is no figure 'beauty'.*area.*sram_bytes"),
        (["latency <= 2"], "there is no figure 'latency'"),
        (["utilisation >= 0.5"], r"no figure 'utilisation'. Did you mean utilization\?"),
        (["latency:none <= 2"], "timing must be one of"),
        (["static <= 5", "static >= 7"], "nothing keeps both static <= 5 and static >= 7"),
        ("static <= 5", "constraints must be a list of texts"),
        ({"static": 5}, "constraints must be a list of texts"),
    ],
)
def test_what_is_no_constraint(given: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(PlenaError, match=message):
        Objectives.of(["static"], given)
    with pytest.raises(PlenaError, match=message):
        explored(tmp_path, "s", constraints=given)


def test_how_far_figures_are_from_a_bound() -> None:
    assert Constraint.of("static <= 200").excess({"static": 300}) == 0.5
    assert Constraint.of("utilization >= 0.5").excess({"utilization": 0.75}) == -0.5
    assert Constraint.of("static <= 0").excess({"static": 3}) == 3
    assert Constraint.of("static <= 3").excess({"static": 3}) == 0
    assert Constraint.of("static <= 3").excess({}) == float("inf")


def test_a_space_file_has_constraints(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text('constraints = ["area <= 2.0", "static <= 700"]\nMLEN = [32, 64]\n')
    space = Space.of(path)
    assert space.constraints == ("area <= 2.0", "static <= 700") and list(space.values) == ["MLEN"]
    assert Space.of(space_of(path, ["BLEN=4,8"])).constraints == space.constraints
    path.write_text('constraints = "area <= 2.0"\nMLEN = [32, 64]\n')
    with pytest.raises(PlenaError, match=r"space.toml: constraints must be a list of texts"):
        Space.of(path)
    path.write_text('constraints = ["area <= 2.0"]\n')
    with pytest.raises(PlenaError, match="nothing to search"):
        Space.of(path)


def test_the_front_keeps_them(free: Study, folder: Path) -> None:
    """The bounds cut the free front in the middle; a bounded figure is there though it is no objective."""
    table = free.table[free.table["problem"].isna()]
    bound = int(sorted(table["static"].unique())[0])
    texts = [f"static <= {bound}", "bytes_per_row >= 1"]
    study = explored(folder, "kept", SPACE | {"constraints": texts[1:]}, constraints=texts[:1])
    assert [str(c) for c in study.objectives.constraints] == texts[::-1]
    kept = table[table["static"] <= bound]
    assert 0 < len(kept) < len(table)
    assert study.table["meets"].dropna().sum() == len(kept)
    assert set(study.front["static"]) == {bound} and (free.front["static"] > bound).any()
    assert study.front["cycles:transactional"].tolist() == [kept["cycles:transactional"].min()]
    breaking = len(table) - len(kept)
    assert f"{breaking} break a constraint" in str(study)
    for trial in study.trials.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        assert set(trial.constraints) == set(texts)
        assert (max(trial.constraints.values()) <= 0) == (trial.values[1] <= bound)
    study.report(folder / "page.html")
    html = (folder / "page.html").read_text()
    assert "break a constraint" in html and 'id="constraints"' in html
    assert f'<td class="text">static &lt;= {bound}</td>' in html
    free.report(folder / "free.html")
    assert "break a constraint" not in (folder / "free.html").read_text()


@pytest.mark.parametrize("objectives", [["cycles:transactional"], OBJECTIVES])
def test_the_sampler_is_told(objectives: list[str], free: Study, folder: Path) -> None:
    """It looks for points that keep a bound which few of them keep: what it proposes knows their excesses."""
    bound = float(free.table["cycles:transactional"].min()) * 1.05
    space = SPACE | {"VECTOR_MUL_CYCLES": range(1, 41)}
    study = explored(
        folder,
        f"told{len(objectives)}",
        space,
        objectives,
        constraints=[f"cycles:transactional <= {bound}"],
        trials=12,
    )
    trials = study.trials.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert len(trials) >= 8 and all(len(t.constraints) == 1 for t in trials)
    for trial in trials:
        excess = (trial.values[0] - bound) / bound
        assert list(trial.constraints.values()) == [pytest.approx(excess)]


def test_another_bound_is_another_study(folder: Path, free: Study) -> None:
    with pytest.raises(PlenaError, match="it holds a study with another constraints"):
        explored(folder, "free", constraints=["static <= 100"])


def test_nothing_keeps_it(folder: Path) -> None:
    study = explored(folder, "none", constraints=["static <= 1"])
    assert not len(study.front) and not study.table["meets"].dropna().any()
    study.report(folder / "none.html")
    assert "static &lt;= 1" in (folder / "none.html").read_text()
