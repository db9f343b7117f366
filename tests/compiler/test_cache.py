"""The folder of results by content, and searches whose outcome is known."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import plena
from plena.compiler import known_search
from plena.compiler.cache import Cache
from plena.errors import CompileError, PlenaError
from plena.timing.latencies import constant
from plena.timing.profile import TableProfile
from plena.timing.registry import register, withdraw

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
X = torch.zeros(16, 32)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The budgets of the searches that ran."""
    ran: list[Any] = []
    search = known_search.search
    monkeypatch.setattr(known_search, "search", lambda *a: ran.append(a[2]) or search(*a))
    return ran


def compiled(folder: Path, budget: int | None = 100, **options: Any) -> plena.Program:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(32, 32), nn.ReLU())
    options = {"target": SMALL, "matmul": "mm"} | options
    return plena.compile(module, (X,), max_instructions=budget, cache=folder, **options)


def test_the_same_question_takes_no_search(tmp_path: Path, searches: list[Any]) -> None:
    first, again = compiled(tmp_path), compiled(tmp_path)
    assert searches == [100]
    assert (first.words == again.words).all() and first.pipeline == again.pipeline
    assert first.decisions == again.decisions and first.rationale == again.rationale
    assert first.placements == again.placements and list(first.provenance) == list(again.provenance)
    assert torch.equal(first.run(X), again.run(X))


def test_other_questions_are_searched(tmp_path: Path, searches: list[Any]) -> None:
    compiled(tmp_path)
    others = ({"matmul": "auto"}, {"timing": "pipelined"}, {"target": SMALL.with_settings({"BLEN": 8})})
    for other in others:
        compiled(tmp_path, **other)
    compiled(tmp_path, None)
    plena.compile(nn.Linear(32, 32), (X,), target=SMALL, matmul="mm", max_instructions=100, cache=tmp_path)
    assert searches == [100, 100, 100, 100, None, 100]


def test_a_profile_from_outside_is_searched_every_time(tmp_path: Path, searches: list[Any]) -> None:
    """Its name may mean something else tomorrow."""
    from plena.dialects.plena_isa.spec import Cost

    register(TableProfile("fives", "five cycles each", {cost: constant(5) for cost in Cost}))
    try:
        compiled(tmp_path, timing="fives")
        compiled(tmp_path, timing="fives")
    finally:
        withdraw("fives")
    assert searches == [100, 100] and not list(tmp_path.glob("??/*"))


@pytest.mark.parametrize("change", ["static", "passes", "nonsense", "budget", "cut", "another"])
def test_entries_are_not_trusted(tmp_path: Path, searches: list[Any], change: str) -> None:
    first = compiled(tmp_path)
    (path,) = tmp_path.glob("??/*.json")
    text = path.read_text()
    document = json.loads(text)
    value = document["value"]
    if change == "cut":
        path.write_text(text[: len(text) // 2])
    elif change == "another":
        path.write_text(text.replace(document["key"], document["key"][::-1]))
    else:
        if change == "static":
            value["static"] -= 1
        elif change == "passes":
            value["passes"] = value["passes"].replace("allocate-registers", "canonicalize")
        elif change == "nonsense":
            value["passes"] = "no-such-pass,allocate-buffers"
        else:
            other = compiled(tmp_path / "other", None)
            value |= {"passes": other.pipeline, "static": other.stats().static}
        Cache(tmp_path).put(value, *_question_of(path, tmp_path))
    again = compiled(tmp_path)
    assert searches[-1] == 100 and len(searches) >= 2
    assert (first.words == again.words).all()


def _question_of(path: Path, folder: Path) -> tuple[Any, ...]:
    """The question of the only entry: that of the next compilation."""
    asked: list[tuple[Any, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cache, "get", lambda self, *parts: asked.append(parts))
        patch.setattr(Cache, "put", lambda self, *parts: None)
        compiled(folder)
    return asked[0]


def test_a_refusal_is_not_kept(tmp_path: Path, searches: list[Any]) -> None:
    for _ in range(2):
        with pytest.raises(CompileError, match="The smallest has"):
            compiled(tmp_path, 3)
    assert searches == [3, 3]


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    cache = Cache(tmp_path, largest=1 << 20)
    for number in range(5):
        cache.put({"text": "x" * 1000}, number)
        (place,) = (p for p in tmp_path.glob("??/*.json") if p.stat().st_mtime > 1e9)
        os.utime(place, (number, number))
    assert cache.get(0) is not None  # which makes it the youngest
    size = sum(p.stat().st_size for p in tmp_path.glob("??/*"))
    cache.largest = size - 1
    cache.shrink()
    assert [cache.get(n) is not None for n in range(5)] == [True, False, False, True, True]


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlenaError, match="the cache needs a folder"):
        Cache("")
    with pytest.raises(PlenaError, match="the cache cannot be made"):
        Cache(tmp_path / "file" / "cache")
    with pytest.raises(CompileError, match="cache must be a folder, not 3"):
        plena.compile(nn.ReLU(), (X,), cache=3)  # type: ignore[arg-type]
    cache = Cache(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    cache.put({"a": 1}, "b")
    assert cache.get("b") is None
