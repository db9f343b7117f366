"""Schedules that are kept: written down, found again by the shape of kernels, taken only if they are better."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from xdsl.parser import Parser

import plena
from plena.api.imported_call import ImportedCall
from plena.api.tune import tune
from plena.compiler.search import search
from plena.compiler.tuning.database import Entry, TuningDatabase
from plena.compiler.tuning.kernel_shape import Question
from plena.compiler.tuning.recipe import Recipe, with_changes
from plena.dialects.plena_isa.spec import Cost
from plena.driver import context, run_pipeline
from plena.errors import CompileError, PlenaError
from plena.kernels.schedule import Schedule
from plena.passes.pipelines import TENSOR_PIPELINE
from plena.timing.latencies import constant
from plena.timing.profile import TableProfile
from plena.timing.registry import register, withdraw

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
X = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
TIMING = "transactional"
ASKED: dict[str, Any] = {"target": SMALL, "timing": TIMING, "max_instructions": 200}


class Layer(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.norm, self.up, self.down = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Renamed(Layer):
    """The same kernels under other names, from other lines."""

    def __init__(self) -> None:
        super().__init__(1)
        self.first, self.second, self.third = self.norm, self.up, self.down

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.second(self.first(x))
        return x + self.third(torch.relu(hidden))


class Attention(nn.Module):
    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(q, k, v)


def kernels(module: nn.Module, *inputs: torch.Tensor, target: plena.Target = SMALL) -> Any:
    found = ImportedCall.of(module, inputs).fresh().module
    target.attach(found)
    run_pipeline(found, TENSOR_PIPELINE)
    return found


def key(module: nn.Module, *inputs: torch.Tensor, budget: int | None = None, **options: Any) -> str:
    target = options.pop("target", SMALL)
    return Question.of(kernels(module, *inputs, target=target), Schedule(**options), budget).key


def compiled(tuning: Path | None, module: nn.Module | None = None, **options: Any) -> plena.Program:
    return plena.compile(module or Layer(), (X,), **(ASKED | {"tuning": tuning} | options))


def notes(program: plena.Program) -> list[str]:
    return [line for line in program.decisions if line.startswith("tuning: ")]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    path = tmp_path_factory.mktemp("tuning") / "tuning.db"
    return path, tune(Layer(), (X,), tuning=path, trials=31, seconds=1000, **ASKED)


@pytest.mark.parametrize("timing", ["transactional", "serialized"])
def test_a_recipe_makes_the_program_again(timing: str) -> None:
    """Of two equal layers, which become a loop, and with loads ahead of time in a profile that has such."""
    asked = Schedule(timing=timing)
    blocks = [nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)) for _ in range(3)]
    layers = kernels(nn.Sequential(*blocks), X)
    chosen = search(layers, asked, 400)
    written = json.loads(json.dumps(Recipe.of(chosen, asked).to_json()))
    again = Recipe.from_json(written).candidate(layers, asked)
    assert str(again.program.registers) == str(chosen.program.registers)
    assert again.decisions == chosen.decisions and again.cycles == chosen.cycles
    assert Recipe.of(again, asked) == Recipe.of(chosen, asked)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": -1},
        {"layers": True, "room": "4"},
        {"settings": {"objective": "size"}},
        {"settings": {"query_block": 1 << 40}},
        {"settings": {"pairing": 1}},
        {"settings": {"order": "columns"}},
        {"settings": ["order", "heads"]},
        {"changes": [3]},
        {"changes": "0 expand"},
        {"room": -1},
    ],
)
def test_what_is_no_recipe_is_refused(change: dict[str, Any]) -> None:
    document = Recipe().to_json()
    assert Recipe.from_json(document) == Recipe()
    with pytest.raises(CompileError, match="it is no schedule"):
        Recipe.from_json(document | change)
    with pytest.raises(CompileError, match="it is no schedule"):
        Recipe.from_json([document])


def test_names_places_and_values_do_not_matter_but_all_else_does() -> None:
    known = key(Layer(), X)
    assert key(Layer(3), X) == known == key(Renamed(), X)
    assert key(nn.Sequential(Layer()), X) == known
    shapes, other = torch.zeros(4, 32), SMALL.with_settings({"BLEN": 8})
    keys = [
        known,
        key(Layer(), shapes),
        key(nn.Sequential(Layer(), Layer()), X),
        key(Layer(), X, target=other),
        key(Layer(), X, timing="pipelined"),
        key(Layer(), X, objective="size"),
        key(Layer(), X, budget=300),
        key(nn.Sequential(Layer(), nn.ReLU()), X),
    ]
    assert len(set(keys)) == len(keys)


def test_operands_that_change_places_are_another_question() -> None:
    class Difference(nn.Module):
        def __init__(self, turned: bool) -> None:
            super().__init__()
            self.turned = turned

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return y - x if self.turned else x - y

    assert key(Difference(False), X, X) != key(Difference(True), X, X)


def test_tuning_finds_what_the_search_does_not(tuned: tuple[Path, Any]) -> None:
    path, found = tuned
    assert found.is_better and found.known is None and found.tried == 31
    plain, better = compiled(None), compiled(path)
    assert better.stats().cycles[TIMING] == found.best.cycles < plain.stats().cycles[TIMING]
    assert better.stats().static == found.best.static and better.check(quiet=True).passed
    (note,) = notes(better)
    assert note.startswith(f"tuning: the schedule of {path}, {found.best}; the search has {found.searched}")
    assert better.rationale is not None and better.rationale.attempts[-1].taken
    assert sum(attempt.taken for attempt in better.rationale.attempts) == 1


def test_another_model_of_the_same_shape_has_it(tuned: tuple[Path, Any]) -> None:
    path, found = tuned
    program = compiled(path, Renamed())
    assert program.stats().cycles[TIMING] == found.best.cycles and program.check(quiet=True).passed


def test_the_same_trials_find_the_same(tuned: tuple[Path, Any], tmp_path: Path) -> None:
    again = tune(Layer(), (X,), tuning=tmp_path / "t.db", trials=31, seconds=1000, **ASKED)
    assert again == tuned[1]
    entries = (TuningDatabase(path).entries() for path in (tuned[0], tmp_path / "t.db"))
    assert next(entries) == next(entries)


def test_tuning_goes_on_from_what_is_known(tuned: tuple[Path, Any]) -> None:
    again = tune(Layer(), (X,), tuning=tuned[0], trials=1, seconds=1000, **ASKED)
    assert again.known == again.best == tuned[1].best and not again.is_better
    assert "nothing better after 1 schedules" in str(again)


def test_attention_is_tuned_too(tmp_path: Path) -> None:
    inputs = [torch.randn(1, 2, 32, 16) for _ in "qkv"]
    options: dict[str, Any] = {"target": SMALL, "matmul": "mm", "max_instructions": 120}
    found = tune(Attention(), inputs, tuning=tmp_path / "t.db", trials=31, seconds=1000, **options)
    program = plena.compile(Attention(), inputs, tuning=tmp_path / "t.db", **options)
    assert program.stats().cycles["transactional"] == found.best.cycles <= found.searched.cycles
    assert program.stats().static <= 120 and program.check(quiet=True).passed


def poisoned(tmp_path: Path, recipe: object, **options: Any) -> tuple[plena.Program, plena.Program]:
    """The program without a database, and with one that has this entry."""
    path = tmp_path / "poisoned.db"
    budget = options.get("max_instructions", ASKED["max_instructions"])
    asked = Schedule(timing=options.get("timing", TIMING), matmul=options.get("matmul", "auto"))
    question = Question.of(kernels(Layer(), X), asked, budget)
    text = recipe if isinstance(recipe, str) else json.dumps(recipe)
    TuningDatabase(path, make=True).put(question.key, Entry(text, TIMING, 1, 1, ""), None)
    return without_a_database(**options), compiled(path, **options)


@cache
def without_a_database(**options: Any) -> plena.Program:
    return compiled(None, **options)


GOOD = Recipe().to_json()


@pytest.mark.parametrize(
    ("recipe", "options", "why"),
    [
        ("{", {}, "it does not fit: Expecting property name"),
        ("[" * 100_000, {}, "it does not fit: "),
        ({}, {}, "it does not fit: it is no schedule"),
        (GOOD, {}, "it is not better: "),
        (GOOD | {"changes": ["99 expand"]}, {}, "it does not fit: its loops are others"),
        (GOOD | {"changes": ["0 explode"]}, {}, "it does not fit: '0 explode' is no change"),
        (
            GOOD | {"changes": ["1 expand", "0 expand", "1 expand"]},
            {},
            "it does not fit: its loops are others",
        ),
        (GOOD | {"changes": ["0 unroll 1000000000"]}, {}, "it does not fit: "),
        (
            GOOD | {"settings": {"matmul": "vector"}},
            {"matmul": "mm"},
            "it chooses matmul, which was asked for",
        ),
        (GOOD | {"changes": ["0 expand"]}, {"max_instructions": 140}, "it does not fit: it has "),
    ],
)
def test_poisoned_entries_are_ignored_with_a_note(
    tmp_path: Path, recipe: object, options: dict[str, Any], why: str
) -> None:
    plain, found = poisoned(tmp_path, recipe, **options)
    assert (plain.words == found.words).all()
    (note,) = notes(found)
    assert why in note and "is ignored" in note


DEPENDENT = """
builtin.module {
  loop.for %i = 0 to 4 {
    loop.for %j = 0 to 4 {
      %x = loop.affine 1024 + 64 * %i + 256 * %j
      %y = loop.affine 832 + 64 * %i + 256 * %j
      plena_isa.v_exp_v dst(%y) a(%x)
    }
  }
}
"""
"""The second iteration of the inner loop writes what the first one of the next outer iteration reads."""


def test_loops_that_depend_on_each_other_are_not_jammed_because_an_entry_says_so() -> None:
    chosen = search(kernels(nn.ReLU(), X), Schedule(), None)
    assert chosen.lowering is not None
    module = Parser(context(), DEPENDENT).parse_module()
    plena.Target().attach(module)
    lowering = replace(chosen.lowering, affine=module)
    assert with_changes(lowering, ("0 unroll 2 flat",)).static > with_changes(lowering, ()).static
    with pytest.raises(CompileError, match="iterations depend on each other"):
        with_changes(lowering, ("0 jam 1x2 interchanged",))


def test_an_entry_that_would_take_forever_is_refused(tmp_path: Path) -> None:
    class Rows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.exp(x)

    x = torch.randn(100_000, 16)
    path = tmp_path / "t.db"
    question = Question.of(kernels(Rows(), x), Schedule(), None)
    found = plena.compile(Rows(), (x,), target=SMALL)
    loops = range(8)
    text = json.dumps(GOOD | {"changes": [f"{n} expand" for n in loops if n < len(found.rationale.loops)]})  # type: ignore[union-attr]
    TuningDatabase(path, make=True).put(question.key, Entry(text, "transactional", 1, 1, ""), None)
    again = plena.compile(Rows(), (x,), target=SMALL, tuning=path)
    assert "would be expanded to more than 20,000 instructions" in notes(again)[0]
    assert (again.words == found.words).all()


def test_without_an_entry_the_search_counts_and_says_so(tmp_path: Path) -> None:
    TuningDatabase(tmp_path / "t.db", make=True)
    assert notes(compiled(tmp_path / "t.db")) == [
        f"tuning: {tmp_path / 't.db'} has no schedule for this program"
    ]
    assert notes(compiled(None)) == []


def test_nothing_is_kept_for_profiles_from_outside(tmp_path: Path) -> None:
    register(TableProfile("fives", "five cycles each", {cost: constant(5) for cost in Cost}))
    try:
        with pytest.raises(CompileError, match="nothing is kept for fives"):
            tune(Layer(), (X,), tuning=tmp_path / "t.db", target=SMALL, timing="fives")
        TuningDatabase(tmp_path / "t.db", make=True)
        assert "profile from outside" in notes(compiled(tmp_path / "t.db", timing="fives"))[0]
    finally:
        withdraw("fives")


def test_arguments_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    for options, message in (
        ({"seconds": 0}, "seconds must be a number above 0"),
        ({"trials": 0}, "trials must be a whole number"),
        ({"formats": "auto", "samples": [X]}, "formats that are given"),
        ({"objektive": "size"}, "no option 'objektive'"),
        ({"tuning": 3}, "tuning must be a file, not 3"),
        ({"tuning": ""}, "needs a file"),
    ):
        with pytest.raises(PlenaError, match=message):
            tune(Layer(), (X,), **({"tuning": path, "target": SMALL} | options))  # type: ignore[arg-type]
    with pytest.raises(PlenaError, match=r"t.db: there is no such tuning database"):
        compiled(path)
    assert not path.exists()
    with pytest.raises(PlenaError, match="tuning must be a file, not 3"):
        plena.compile(Layer(), (X,), tuning=3)  # type: ignore[arg-type]


def test_an_entry_for_another_version_of_the_compiler_is_counted_anew(
    tuned: tuple[Path, Any], tmp_path: Path
) -> None:
    """What an entry says it costs is nobody's business: a lie changes nothing."""
    path = tmp_path / "t.db"
    path.write_bytes(tuned[0].read_bytes())
    with sqlite3.connect(path) as database:
        database.execute("update schedules set static = 'none', cycles = -5, timing = 'x'")
    program = compiled(path)
    assert program.stats().cycles[TIMING] == tuned[1].best.cycles
