"""Samples of a study, and points that are given up between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import plena
from plena.errors import PlenaError
from plena.exploring import figures
from plena.exploring.study import Study

optuna = pytest.importorskip("optuna")

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
SPACE: dict[str, Any] = {
    "FORMATS.weights": ["e4m3", "e3m4", "bf16", "e3m4/16", "e5m2"],
    "FORMATS.activations": ["e4m3", "e3m4", "bf16"],
}


def factory() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 32), nn.SiLU()), (torch.randn(16, 32),)


def samples(count: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(16, 32, generator=generator) for _ in range(count)]


def explored(folder: Path, name: str, objectives: Any = ("error",), **given: Any) -> Study:
    given = {"target": SMALL, "workers": 0, "cache": folder / "cache", "matmul": "mm"} | given
    return plena.explore(factory, SPACE, objectives, storage=folder / f"{name}.db", **given)


def test_the_error_is_that_of_the_samples(tmp_path: Path) -> None:
    study = explored(tmp_path, "s", ("error", "bytes"), samples=samples())
    module, inputs = factory()
    for number, row in list(study.table.iterrows())[:3]:
        program = plena.compile(module, inputs, target=study.target(int(number)), matmul="mm")  # type: ignore[call-overload]
        assert program.source is not None
        simulated = program.source.simulated()
        pairs = [(simulated(x)[0].detach(), module(x).detach()) for x in samples()]
        lost = sum(float((a - b).square().sum()) for a, b in pairs)
        assert row["error"] == pytest.approx(lost / sum(float(b.square().sum()) for _, b in pairs), rel=1e-5)
    of_example = explored(tmp_path, "t", ("error", "bytes"))
    assert (of_example.table["error"] != study.table["error"]).any(), "the cache tells samples apart"
    with pytest.raises(PlenaError, match="it holds a study with another samples"):
        explored(tmp_path, "s", ("error", "bytes"), samples=samples(3))
    again = explored(tmp_path, "s", ("error", "bytes"), samples=samples())
    assert again.table.equals(study.table)


def test_points_are_pruned_between_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best point is found all the same, and fewer samples are run than without."""
    runs = 0
    loss = figures.SampleErrors.loss

    def counted(*arguments: Any) -> Any:
        nonlocal runs
        runs += 1
        return loss(*arguments)

    monkeypatch.setattr(figures.SampleErrors, "loss", counted)
    whole = explored(tmp_path, "whole", samples=samples())
    all_runs, runs = runs, 0
    study = explored(tmp_path, "pruned", samples=samples(), pruning=True, cache=tmp_path / "other")
    assert all_runs == 15 * 8 > runs
    table = study.table
    assert len(table) == len(whole.table) == 15 and not table[list(SPACE)].duplicated().any()
    pruned = table[table["problem"].notna()]
    assert len(pruned) > 2 and pruned["error"].isna().all() and pruned["bytes"].notna().all()
    assert pruned["problem"].str.match(r"pruned after [124] of 8 samples: error \S+ so far").all()
    assert f"0 without a program, 0 skipped, {len(pruned)} pruned" in str(study)
    states = [t.state for t in study.trials.get_trials()]
    assert states.count(optuna.trial.TrialState.PRUNED) == len(pruned)
    assert study.front["error"].min() == whole.front["error"].min()
    good = table[table["problem"].isna()].set_index(list(SPACE))["error"]
    wanted = whole.table.set_index(list(SPACE))["error"]
    assert good.to_dict() == wanted.loc[good.index].to_dict()
    study.report(tmp_path / "page.html")
    assert "pruned on the way" in (tmp_path / "page.html").read_text()
    again = explored(tmp_path, "pruned", samples=samples(), pruning=True)
    assert again.table.equals(table)


def test_what_breaks_a_constraint_runs_one_sample(tmp_path: Path) -> None:
    bytes_of = explored(tmp_path, "free", ("bytes",)).table["bytes"]
    bound = int(bytes_of.median())
    study = explored(tmp_path, "s", samples=samples(), pruning=True, constraints=[f"bytes <= {bound}"])
    table = study.table
    breaking = table[table["bytes"] > bound]
    assert len(breaking) == (bytes_of > bound).sum() > 0
    assert (
        breaking["problem"]
        .str.contains(rf"pruned after 1 of 8 samples: bytes is [\d,]+, not bytes <= {bound}")
        .all()
    )
    assert not breaking["meets"].any() and (study.front["bytes"] <= bound).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objectives": ["error", "bytes"]}, "with one objective only, these are error, bytes.*constraints="),
        ({"objectives": ["static"]}, "static is known at once: only the error has figures on the way"),
        ({"samples": None}, "there must be two at least"),
        ({"samples": samples(1)}, "there must be two at least"),
    ],
)
def test_what_cannot_be_pruned(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(PlenaError, match=message):
        explored(tmp_path, "s", **({"samples": samples(), "pruning": True} | given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "samples must be a list of inputs"),
        (torch.zeros(16, 32), "samples must be a list of inputs"),
        ([3], "a sample is a int"),
        (
            [torch.zeros(16, 32), torch.zeros(8, 32)],
            r"sample 1: \w+ is float32\[8, 32\], in the example inputs it is",
        ),
        ([torch.full((16, 32), float("nan"))], "sample 0: .* contains NaN"),
        ([(torch.zeros(16, 32), torch.zeros(1))], "sample 0: is no call like the example inputs"),
    ],
)
def test_samples_that_are_none(given: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(PlenaError, match=message):
        explored(tmp_path, "s", samples=given)
