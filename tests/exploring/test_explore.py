"""Searches in this process: figures, going on, samplers, what is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import plena
from plena.errors import PlenaError
from plena.exploring import worker
from plena.exploring.study import Study
from plena.optimizing.memory_use import rows_used

optuna = pytest.importorskip("optuna")
assert_frame_equal = pytest.importorskip("pandas.testing").assert_frame_equal

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
OBJECTIVES = ("latency:transactional", "static", "area", "bytes", "error")
SPACE: dict[str, Any] = {
    "BLEN": [4, 8, 5],
    "max_instructions": [None, 200, 3],
    "HBM_CHANNELS": [2, 8],
    "VECTOR_ADD_CYCLES": range(1, 4, 2),
}


def factory() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    return nn.Linear(32, 32, bias=False), (torch.randn(16, 32),)


def explored(storage: Path, space: Any = None, objectives: Any = OBJECTIVES, **given: Any) -> Study:
    given = {"target": SMALL, "workers": 0, "matmul": "mm"} | given
    return plena.explore(factory, space or SPACE, objectives, storage=storage, **given)


@pytest.fixture(scope="module", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "plena"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tasks whose programs were compiled."""
    tasks: list[Any] = []
    before: Callable[..., Any] = worker._compiled
    monkeypatch.setattr(worker, "_compiled", lambda *a: tasks.append(a[1]) or before(*a))
    monkeypatch.setattr(worker, "_loaded", {})
    return tasks


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies") / "study.db"


@pytest.fixture(scope="module")
def study(storage: Path) -> Study:
    return explored(storage)


def test_every_point_is_a_row(study: Study) -> None:
    table = study.table
    assert len(table) == len(study.space) == 36
    assert table["skipped"].sum() == 12 == (table["BLEN"] == 5).sum()
    assert table[table["skipped"]]["problem"].str.contains("BLEN must divide MLEN").all()
    failed = table[table["max_instructions"] == 3]
    assert failed[failed["BLEN"] != 5]["problem"].str.contains("The smallest has").all()
    assert str(study) == f"36 points of 36: {len(study.front)} on the front, 8 without a program, 12 skipped"
    assert str(table["max_instructions"].dtype) == str(table["static"].dtype) == "Int64"


def test_the_figures_are_those_of_the_program(study: Study) -> None:
    """Whatever the timing: counted as the point's machine counts, of the program that the base machine chose."""
    chosen = {"BLEN": 8, "max_instructions": 200, "HBM_CHANNELS": 2, "VECTOR_ADD_CYCLES": 3}
    found = study.table
    for key, value in chosen.items():
        found = found[found[key] == value]
    (number,) = found.index
    target = study.target(number)
    assert target == SMALL.with_settings({k: v for k, v in chosen.items() if k != "max_instructions"})
    module, inputs = factory()
    program = plena.compile(
        module, inputs, target=SMALL.with_settings({"BLEN": 8}), max_instructions=200, matmul="mm"
    )
    again = study.program(int(number))
    assert (again.words == program.words).all() and again.target == target
    words = plena.stats(program.words, target)
    assert again.stats().cycles == words.cycles
    row = found.iloc[0]
    assert (row["static"], row["dynamic"], row["cycles:transactional"]) == (
        *(words.static, words.dynamic, words.cycles["transactional"]),
    )
    assert row["latency:transactional"] == words.latency["transactional"]
    assert row["bytes"] == sum(words.hbm_bytes.values())
    matrix_rows, vector_rows = rows_used(target, program.memory_map)
    assert row["area"] == plena.area(target, matrix_rows=matrix_rows, vector_rows=vector_rows).mm2
    assert program.source is not None
    found, wanted = (f(*inputs)[0].detach() for f in (program.source.simulated(), program.source.float32))
    assert row["error"] == pytest.approx(float((found - wanted).square().sum() / wanted.square().sum()))


def test_a_point_without_a_program_has_none(study: Study) -> None:
    table = study.table
    skipped, failed = (table[table["BLEN"] == 5].index[0], table[table["max_instructions"] == 3].index[-1])
    for number, message in (
        (skipped, "BLEN must divide MLEN"),
        (failed, "The smallest has"),
        (99, "no point 99"),
    ):
        with pytest.raises(PlenaError, match=message):
            study.program(int(number))


def test_the_front_is_what_nothing_beats(study: Study) -> None:
    good = study.table[study.table["problem"].isna()]
    values = {n: tuple(float(row[name]) for name in OBJECTIVES) for n, row in good.iterrows()}
    front = set(study.front.index)
    assert len(front) == len(study.front) > len({values[n] for n in front}) > 1, "equal points are all there"
    for number, own in values.items():
        beats = [other for other in values.values() if other != own and all(map(float.__le__, other, own))]
        assert (number in front) == (not beats)


def test_points_that_differ_in_timing_have_one_program(tmp_path: Path, compiled: list[Any]) -> None:
    timing = {
        "HBM_CHANNELS": [1, 2],
        "HBM_GEN": ["HBM2", "HBM3"],
        "VECTOR_ADD_CYCLES": [1, 2],
        "DC_EN": [0, 1],
    }
    found = explored(tmp_path / "s.db", {"BLEN": [4, 8], **timing}, ["latency:transactional"])
    assert len(found.table) == 32 and len(compiled) == 2
    assert found.table["latency:transactional"].nunique() > 4


def test_again_nothing_is_evaluated(study: Study, storage: Path, compiled: list[Any]) -> None:
    again = explored(storage)
    assert again.table.equals(study.table) and not compiled


def test_another_study_finds_the_figures_in_the_cache(
    study: Study, tmp_path: Path, compiled: list[Any], user_cache: Path
) -> None:
    fewer = SPACE | {"BLEN": [4]}
    again = explored(tmp_path / "s.db", fewer).table
    wanted = study.table[study.table["BLEN"] == 4]
    names = [name for name in wanted.columns if name != "seconds"]
    assert again[names].reset_index(drop=True).equals(wanted[names].reset_index(drop=True))
    assert not compiled and list(user_cache.glob("programs/??/*.json"))
    explored(tmp_path / "t.db", {"BLEN": [4]}, cache=tmp_path / "empty")
    assert compiled


def test_an_interrupted_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid and a sampler: what was known stays, what was under way comes again, nothing is counted twice."""
    from plena.exploring import search

    space = {"BLEN": [4, 8], "max_instructions": [None, 100, 200, 300], "HBM_CHANNELS": [2, 8]}
    before, calls = search._taken_in, 0

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        yield from before(*arguments)

    for trials in (None, 12):
        path, calls = tmp_path / f"{trials}.db", 0
        with monkeypatch.context() as patch:
            patch.setattr(search, "_taken_in", interrupted)
            with pytest.raises(KeyboardInterrupt):
                explored(path, space, ["static", "bytes"], trials=trials)
        first = explored(path, space, ["static", "bytes"], trials=trials, timeout=1e-9).table
        known = len(first)
        assert 0 < known < 12
        whole = explored(path, space, ["static", "bytes"], trials=trials)
        assert len(whole.table) == (trials or 16)
        assert not whole.table[list(space)].duplicated().any()
        assert_frame_equal(whole.table.head(known), first)
        running = whole.trials.get_trials(states=(optuna.trial.TrialState.RUNNING,))
        assert not running


def test_a_client_that_died_between_a_result_and_its_end(tmp_path: Path) -> None:
    from plena.exploring.points import ATTRIBUTE, distribution

    space, given = {"BLEN": [4, 8], "HBM_CHANNELS": [1, 2, 4, 8]}, {"trials": 5}
    whole = explored(tmp_path / "s.db", space, ["static"], **given)
    distributions = {key: distribution(values) for key, values in whole.space.values.items()}
    seen = set(map(tuple, whole.table[list(space)].to_numpy().tolist()))
    whole.trials.sampler = optuna.samplers.RandomSampler(seed=1)
    while tuple((trial := whole.trials.ask(distributions)).params.values()) in seen:
        whole.trials.tell(trial, state=optuna.trial.TrialState.FAIL)
    trial.set_user_attr(ATTRIBUTE, {"seconds": 1.0, "figures": {"static": 7}})
    again = explored(tmp_path / "s.db", space, ["static"], trials=6)
    assert len(again.table) == 6 and again.front["static"].tolist() == [7]


def test_a_sampler_never_tries_a_point_twice_and_finds_all(tmp_path: Path) -> None:
    space = {"BLEN": [4, 8, 5], "max_instructions": [None, 200], "HBM_CHANNELS": [2, 4]}
    for objectives in (["static"], ["static", "cycles:transactional"]):
        found = explored(tmp_path / f"{len(objectives)}.db", space, objectives, trials=5, seed=3)
        good = found.table[~found.table["skipped"]]
        assert len(good) == 5 and not found.table[list(space)].duplicated().any()
        names = {type(found.trials.sampler).__name__}
        assert names == {"TPESampler" if len(objectives) == 1 else "NSGAIISampler"}


def test_what_is_wrong_everywhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def factory():\n    return undefined_name\n")
    path = tmp_path / "s.db"
    with pytest.raises(PlenaError, match=r"model.py:2.*undefined_name"):
        plena.explore(f"{tmp_path / 'model.py'}:factory", {"BLEN": [4]}, storage=path, workers=0)
    with pytest.raises(PlenaError, match="does not name a factory"):
        plena.explore("model.py", {"BLEN": [4]}, storage=path)
    with pytest.raises(PlenaError, match="a factory makes the model, Linear is none"):
        plena.explore(nn.Linear(3, 3), {"BLEN": [4]}, storage=path)  # type: ignore[arg-type]
    with pytest.raises(PlenaError, match="no option 'objektive'"):
        explored(path, objektive="size")
    with pytest.raises(PlenaError, match="in the space and an option"):
        explored(path, {"matmul": ["mm", "auto"]})
    with pytest.raises(PlenaError, match="formats are searched by the space"):
        explored(path, formats="auto")
    for name, value in (("trials", 0), ("workers", -1), ("timeout", 0), ("trials", 1.5)):
        with pytest.raises(PlenaError, match=f"{name} must be"):
            explored(path, **{name: value})
    with pytest.raises(PlenaError, match="Say how many to try"):
        explored(path, {"MLEN": range(8, 400), "BLEN": range(1, 400)})


def test_storages_that_cannot_be_used(study: Study, storage: Path, tmp_path: Path) -> None:
    from plena.exploring.storage import only_client

    for other in ({"space": {"BLEN": [4]}}, {"objectives": ["static"]}, {"target": plena.Target()}):
        with pytest.raises(PlenaError, match="it holds a study with another"):
            explored(storage, **other)
    with only_client(f"sqlite:///{storage}"), pytest.raises(PlenaError, match="another process explores"):
        explored(storage)
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(PlenaError, match=r"text.db.*not a database"):
        explored(tmp_path / "text.db")
    explored(tmp_path / "old.db", {"BLEN": [4]}, ["static"])
    with sqlite3.connect(tmp_path / "old.db") as database:
        database.execute("update alembic_version set version_num = 'v9.9.9'")
    with pytest.raises(PlenaError, match="no longer compatible"):
        explored(tmp_path / "old.db", {"BLEN": [4]}, ["static"])
    for url, message in (("nosuch://host/db", "nosuch"), (f"sqlite:///{tmp_path}/text.db/x.db", "cannot be")):
        with pytest.raises(PlenaError, match=message):
            plena.explore(factory, SPACE, storage=url, workers=0)


def test_without_its_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "plena.exploring.needs.find_spec", lambda name: None if name == "optuna" else object()
    )
    with pytest.raises(PlenaError, match=r"needs optuna, not installed here.*plena\[explore\]"):
        plena.explore(factory, SPACE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"trails": 3},
            r"there is no option 'trails'.*Did you mean trials\? The arguments are model_factory, space, ",
        ),
        (
            {"max_instruction": 3},
            r"Did you mean max_instructions\? .*beside them options of plena.compile: target",
        ),
        ({"objective": ["static"]}, r"objective is an option of plena.compile.* `objectives="),
        ({"seed": "x"}, "seed must be a whole number of at least 0, not 'x'"),
        ({"seed": None}, "seed must be a whole number"),
        ({"storage": 3}, "storage must be a file or a URL, not 3"),
        ({"scheduler": 3}, "scheduler must be an address, not 3"),
    ],
)
def test_arguments_that_there_are_not(given: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"workers": 0, **given}
    with pytest.raises(PlenaError, match=message):
        plena.explore(factory, {"BLEN": [4]}, ("static",), **arguments)
