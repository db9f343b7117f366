"""Tuning beside a study: its front is read, its points' programs are tuned, others' studies are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import plena
from plena.compiler.tuning.database import TuningDatabase
from plena.errors import PlenaError

pytest.importorskip("optuna")

from plena.exploring.tuning import tune_study

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})


def factory() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    return nn.Linear(32, 32, bias=False), (torch.ones(16, 32),)


def other() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return nn.Linear(32, 64, bias=False), (torch.ones(16, 32),)


@pytest.fixture(autouse=True)
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield


def test_programs_of_the_front_are_tuned(tmp_path: Path) -> None:
    tuning, storage = tmp_path / "tuning.db", tmp_path / "study.db"
    space: dict[str, Any] = {"max_instructions": [60, None], "HBM_CHANNELS": [4, 8], "BLEN": [4, 5]}
    objectives = ["latency:transactional", "static"]
    given: dict[str, Any] = {"target": SMALL, "workers": 0, "matmul": "mm", "tuning": tuning}
    study = plena.explore(factory, space, objectives, storage=storage, **given)
    assert TuningDatabase(tuning).entries() == {}
    number = int(study.front.index[0])
    assert study.program(number).decisions[-1] == f"tuning: {tuning} has no schedule for this program"
    news: list[Any] = []
    found = tune_study(factory, storage, tuning=tuning, seconds=2, news=news.append)
    sizes = set(study.table["static"].dropna())
    assert found and news and {tuned.searched.static for tuned in found} <= sizes
    assert not any(tuned.problem for tuned in found)
    assert len(TuningDatabase(tuning).entries()) == sum(tuned.is_better for tuned in found)


def test_a_study_without_a_program_is_waited_for(tmp_path: Path) -> None:
    given: dict[str, Any] = {"target": SMALL, "workers": 0, "storage": tmp_path / "s.db"}
    plena.explore(factory, {"BLEN": [5]}, ["static"], **given)
    assert tune_study(factory, tmp_path / "s.db", tuning=tmp_path / "t.db", seconds=0.2) == []


def test_what_is_no_study_of_the_model_is_refused(tmp_path: Path) -> None:
    storage = tmp_path / "s.db"
    with pytest.raises(PlenaError, match=r"s.db: there is no such study"):
        tune_study(factory, storage, tuning=tmp_path / "t.db")
    plena.explore(factory, {"BLEN": [4]}, ["static"], storage=storage, target=SMALL, workers=0)
    with pytest.raises(PlenaError, match="it holds a study of another model"):
        tune_study(other, storage, tuning=tmp_path / "t.db")
    with pytest.raises(PlenaError, match=r"not a tuning database"):
        tune_study(factory, storage, tuning=storage)
