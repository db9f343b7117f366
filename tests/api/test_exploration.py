"""Sweeps over machines and budgets, the Pareto front, and the plots."""

from __future__ import annotations

import pickle
import xml.etree.ElementTree as ET
from math import nan
from pathlib import Path

import pytest
import torch
from torch import nn

import plena
from plena.api import exploration
from plena.api.exploration import Row, pareto, scaled
from plena.api.plots import curve_figure, pareto_figure, save_figure, sweep_figure
from plena.errors import CompileError, PlenaError, SettingsError
from plena.optimizing.memory_use import rows_used
from plena.timing.registry import DEFAULT_TIMING

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
X = torch.zeros(16, 32)
MODEL = """
import torch

def factory():
    torch.manual_seed(0)
    return torch.nn.Linear(32, 32, bias=False), (torch.zeros(16, 32),)
"""


def layer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(32, 32, bias=False)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return plena.explore(
        layer(),
        (X,),
        SMALL,
        settings={"MLEN": [16, 32], "BLEN": [4, 8]},
        budgets=[None, 200],
        jobs=1,
        matmul="mm",
    )


def test_every_combination_is_a_row_in_order(rows: list[Row]) -> None:
    expected = [({"MLEN": m, "BLEN": b}, n) for m in (16, 32) for b in (4, 8) for n in (None, 200)]
    assert [(dict(r.settings), r.budget) for r in rows] == expected
    assert all(r.problem is None for r in rows)


def test_a_row_is_what_compile_gives(rows: list[Row]) -> None:
    target = SMALL.with_settings({"BLEN": 8})
    program = plena.compile(layer(), (X,), target=target, max_instructions=200, matmul="mm")
    row, stats = rows[3], program.stats()
    assert (row.static, row.dynamic, row.cycles) == (stats.static, stats.dynamic, stats.cycles)
    matrix_rows, vector_rows = rows_used(target, program.memory_map)
    assert row.area == plena.area(target, matrix_rows=matrix_rows, vector_rows=vector_rows).mm2 > 0


def test_processes_give_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    found = [
        plena.explore(
            f"{tmp_path / 'model.py'}:factory", target=SMALL, budgets=[None, 12, 3], jobs=jobs, progress=False
        )
        for jobs in (1, 2)
    ]
    figures = [[(r.budget, r.static, r.cycles, r.area, r.problem) for r in part] for part in found]
    assert figures[0] == figures[1]
    assert found[0][2].problem is not None and "smallest has" in found[0][2].problem


def test_machines_that_cannot_be_are_rows_with_a_problem() -> None:
    rows = plena.explore(
        layer(), (X,), SMALL, settings={"BLEN": [4, 5], "VECTOR_SRAM_SIZE": [4096, 2]}, jobs=1
    )
    assert [r.problem is None for r in rows] == [True, False, False, False]
    assert "vector" in str(rows[1].problem) and "BLEN must divide MLEN" in str(rows[2].problem)


def test_what_is_wrong_everywhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def factory():\n    return undefined_name\n")
    name = f"{tmp_path / 'model.py'}:factory"
    with pytest.raises(PlenaError, match=r"model.py:2.*undefined_name"):
        plena.explore(name, budgets=[None, 100], jobs=1)
    with pytest.raises(SettingsError, match="unknown setting `MLENN`"):
        plena.explore(layer(), (X,), settings={"MLENN": [1]})
    with pytest.raises(CompileError, match="objective must be one of"):
        plena.explore(layer(), (X,), objective="beauty")
    with pytest.raises(CompileError, match="no option 'objektive'"):
        plena.explore(layer(), (X,), objektive="size")
    with pytest.raises(CompileError, match="must be positive, got 0"):
        plena.explore(layer(), (X,), budgets=[0, 5])
    with pytest.raises(PlenaError, match="nothing to compile"):
        plena.explore(layer(), (X,), settings={"MLEN": []})


def test_a_worker_that_cannot_load_the_model_passes_the_message_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exploration, "_loaded", [])
    threads = torch.get_num_threads()
    exploration._start_worker(f"{tmp_path / 'none.py'}:factory", (), DEFAULT_TIMING)
    torch.set_num_threads(threads)
    with pytest.raises(PlenaError, match="no such file") as error:
        exploration._compile_in_worker((exploration.Case({}, None), SMALL, {}))
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_a_module_that_cannot_be_sent_says_so() -> None:
    class Local(nn.Linear):
        pass

    with pytest.raises(PlenaError, match=r"cannot be sent to another process.*jobs=1"):
        plena.explore(Local(32, 32), (X,), SMALL, budgets=[None, 100], jobs=2)


def test_what_must_fit_mlen_follows_it() -> None:
    wide = scaled(plena.Target(), {"MLEN": 128})
    assert (wide.vlen, wide.hlen, wide.hbm_m_prefetch_amount) == (128, 32, 128)
    assert wide.has_broadcast
    assert scaled(plena.Target(), {"MLEN": 128, "HLEN": 8}).hlen == 8
    assert scaled(plena.Target(), {"BROADCAST_AMOUNT": 8}).hlen == 8
    assert scaled(plena.Target(), {"BLEN": 8}) == plena.Target().with_settings({"BLEN": 8})


def test_a_format_without_an_area_is_no_part_of_the_front() -> None:
    rows = [Row({}, None, cycles={"pipelined": 1}, area=nan), Row({}, None, cycles={"pipelined": 9}, area=1)]
    assert pareto(rows, "pipelined") == rows[1:]


def test_the_pareto_front_is_what_nothing_beats() -> None:
    def row(area: float, cycles: int, problem: str | None = None) -> Row:
        return Row({}, None, cycles={"pipelined": cycles}, area=area, problem=problem)

    rows = [row(3, 10), row(1, 30), row(2, 30), row(2, 20), row(4, 10), row(0, 0, "no")]
    front = pareto(rows, "pipelined")
    assert [(r.area, r.cycles["pipelined"]) for r in front] == [(1, 30), (2, 20), (3, 10)]
    for r in rows:
        beaten = any(
            o.area <= r.area and o.cycles["pipelined"] <= r.cycles["pipelined"] and o != r for o in rows[:5]
        )
        assert (r in front) == (r.problem is None and not beaten)


def test_figures_show_every_machine_and_both_ends(rows: list[Row], tmp_path: Path) -> None:
    program = plena.compile(layer(), (X,), target=SMALL, matmul="mm")
    figures = {
        "curve": curve_figure(plena.size_curve(program), "one layer"),
        "sweep": sweep_figure(rows, "transactional"),
        "pareto": pareto_figure(rows, "transactional"),
    }
    texts = {}
    for name, figure in figures.items():
        save_figure(figure, tmp_path / f"{name}.svg")
        texts[name] = " ".join(ET.parse(tmp_path / f"{name}.svg").getroot().itertext())
    assert all(word in texts["curve"] for word in ("one layer", "rolled:", "chosen:", "expanded:"))
    assert all(r.machine in texts["sweep"] for r in rows)
    assert all(r.machine in texts["pareto"] for r in pareto(rows, "transactional"))
    before = (tmp_path / "curve.svg").read_bytes()
    save_figure(curve_figure(plena.size_curve(program), "one layer"), tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_bytes() == before
    save_figure(figures["pareto"], tmp_path / "pareto.png")
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(PlenaError, match="cannot be written"):
        save_figure(figures["pareto"], tmp_path / "nowhere" / "pareto.png")


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plena.api.plots.find_spec", lambda name: None)
    from plena.api.plots import require_matplotlib

    with pytest.raises(PlenaError, match=r"plena\[plots\]"):
        require_matplotlib()
