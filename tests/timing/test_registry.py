"""Two profiles that only this file knows, a table and a simulation, are found wherever profiles are listed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import plena
from plena.assembly import encode, parse_asm
from plena.cli import plena_cli
from plena.cli.reference import instructions_page
from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.plena_isa.spec import Cost
from plena.errors import CompileError, PlenaError
from plena.report import page_of
from plena.report.reading import contents_of_program
from plena.timing import pipelined, transactional
from plena.timing.latencies import constant
from plena.timing.profile import Profile, StreamProfile, TableProfile
from plena.timing.registry import profile_named, register, timings, withdraw
from plena.timing.run import Run

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
EXP = INSTRUCTIONS["V_EXP_V"].opcode

SEVENS = TableProfile("sevens", "seven cycles each", {cost: constant(7) for cost in Cost})


def second_exp_is_cheap(run: Run) -> NDArray[np.int64]:
    """3 cycles each; a V_EXP_V right after another one takes 1: cycles that hang on the order."""
    cycles = np.zeros(len(run.opcodes), np.int64)
    before = 0
    for line in run.order():
        opcode = int(run.opcodes[line])
        cycles[line] += 1 if opcode == before == EXP else 3
        before = opcode
    return cycles


THREES = TableProfile("threes", "three cycles each", {cost: constant(3) for cost in Cost})
CHAINED = StreamProfile("chained", "three cycles each, chains apart", THREES, second_exp_is_cheap)

TEXT = """
C_LOOP_START gp2, 8
V_EXP_V gp1, gp1, 0
V_EXP_V gp1, gp1, 0
C_LOOP_END gp2
V_EXP_V gp1, gp1, 0
"""
OURS = {"sevens": 7 * 26, "chained": 3 * 26 - 2 * 8}
"""26 instructions run; eight V_EXP_V follow another one."""


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register(SEVENS)
    register(CHAINED)
    yield
    withdraw("sevens")
    withdraw("chained")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(16, 32)


X = torch.zeros(16, 16)


@pytest.fixture(scope="module")
def program(model: nn.Module) -> plena.Program:
    return plena.compile(model, (X,), target=SMALL)


def chained(program: plena.Program) -> int:
    """What `second_exp_is_cheap` must give for code without V_EXP_V."""
    stats = program.stats()
    assert "V_EXP_V" not in stats.opcodes
    return 3 * stats.dynamic


def test_they_are_listed_after_ours() -> None:
    assert plena.timings() == ("transactional", "pipelined", "serialized", "rtl-v1", "sevens", "chained")
    assert profile_named("chained") is CHAINED


def test_statistics_count_them(program: plena.Program) -> None:
    counted = plena.stats(TEXT)
    assert {name: counted.cycles[name] for name in OURS} == OURS
    (loop,) = counted.loops
    assert (loop.cycles["sevens"], loop.cycles["chained"]) == (7 * 24, 8 * (3 + 1 + 3))
    text = " ".join(str(counted).split())
    assert f"cycles, sevens {OURS['sevens']}" in text
    assert f"cycles, chained {OURS['chained']}" in text
    stats = program.stats()
    assert (
        stats.cycles["sevens"] == 7 * stats.dynamic == sum(c.cycles["sevens"] for c in stats.steps.values())
    )
    assert stats.utilization["sevens"] > 0 and stats.matrix_share["chained"] > 0


def test_a_program_counts_again_when_profiles_change(program: plena.Program) -> None:
    assert "sevens" in program.stats().cycles
    withdraw("sevens")
    assert "sevens" not in program.stats().cycles
    register(SEVENS)
    assert program.stats().cycles["sevens"] == 7 * program.stats().dynamic
    assert program.stats() is program.stats()


def test_plena_stats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.asm").write_text(TEXT)
    assert plena_cli.main(["stats", str(tmp_path / "a.asm"), "--json"]) == 0
    cycles = json.loads(capsys.readouterr().out)["cycles"]
    assert {name: cycles[name] for name in OURS} == OURS
    assert list(cycles) == list(timings())


def test_choices_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.asm"
    path.write_text(TEXT)
    better = ["optimize", str(path), "--preloaded", "vector:0-64", "-o", str(tmp_path / "b.asm"), "--timing"]
    assert plena_cli.main([*better, "sevens"]) == 0
    assert f"{OURS['sevens']}" in capsys.readouterr().out
    assert plena_cli.main([*better, "eights"]) != 0
    assert "'sevens', 'chained'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sevens", "chained"])
def test_the_report_ranks_by_the_profile_that_chose(model: nn.Module, name: str) -> None:
    program = plena.compile(model, (X,), target=SMALL, timing=name, objective="size")
    assert program.timing == name
    html = page_of(contents_of_program(program))
    assert f"Chosen by the <strong>{name}</strong>" in html and f"By {name} cycles" in html
    assert f"<b>{7 * program.stats().dynamic:,}</b>\n    <span>sevens cycles" in html
    assert f"<b>{chained(program):,}</b>\n    <span>chained cycles" in html
    assert any(f"by {name}" in line and "sevens mm" in line for line in program.decisions)


def test_a_report_says_that_it_does_not_know_a_profile(program: plena.Program) -> None:
    contents = contents_of_program(program)
    contents.timing = "eights"
    html = page_of(contents)
    assert "No such profile is registered here; tables rank by transactional cycles." in " ".join(
        html.split()
    )


def test_points_of_an_exploration(tmp_path: Path) -> None:
    study = plena.explore(
        lambda: (nn.Linear(16, 16), (X,)),
        {"max_instructions": [None, 400]},
        ["cycles:chained", "cycles:sevens"],
        target=SMALL,
        storage=tmp_path / "study.db",
        workers=0,
    )
    for row in study.table.to_dict("records"):
        assert row["cycles:sevens"] == 7 * row["dynamic"]
        assert row["cycles:chained"] == 3 * row["dynamic"]


@pytest.mark.parametrize("profile", [SEVENS, CHAINED], ids=lambda p: p.name)
def test_the_size_curve(profile: Profile) -> None:
    program = plena.Program(encode(parse_asm(TEXT)), plena.Target(), timing=profile.name)
    curve = plena.size_curve(program, preloaded="vector:0-64")
    assert curve.timing == profile.name and curve.chosen.cycles == OURS[profile.name]
    flat = next(p for p in curve.points if p.name == "expanded")
    # 17 V_EXP_V on one row and nothing else: the first of them takes 3 cycles, the others are chained.
    assert flat.exact and flat.cycles >= (7 * 17 if profile is SEVENS else 3 + 16)
    assert {p.cycles % 7 for p in curve.predicted} == {0} or profile is CHAINED


def test_what_it_optimizes_never_gets_slower_by_the_profile_that_counts() -> None:
    for name, before in OURS.items():
        better = plena.optimize(TEXT, preloaded="vector:0-64", timing=name)
        assert better.timing == name and better.stats().cycles[name] <= before
        assert any(f"{name} cycles" in line for line in better.decisions)


def test_a_table_chooses(model: nn.Module) -> None:
    """The same cycles whatever is done: the program with the fewest instructions to run is the fastest."""
    program = plena.compile(model, (X,), target=SMALL, timing="sevens", max_instructions=2000)
    other = plena.compile(model, (X,), target=SMALL, max_instructions=2000)
    assert program.stats().cycles["sevens"] <= other.stats().cycles["sevens"]


def test_the_reference_lists_them() -> None:
    page = instructions_page()
    assert "transactional 64, pipelined 4, serialized 23, rtl-v1 9, sevens 7, chained 3" in page
    assert "| sevens | a table | seven cycles each |" in page
    assert "| chained | a simulation | three cycles each, chains apart |" in page


def test_the_machine_stays_the_transactional_one() -> None:
    counted = plena.stats(TEXT).cycles
    assert plena.emulate(TEXT).cycles == counted["transactional"] != counted["sevens"]


def test_names_are_checked(program: plena.Program) -> None:
    message = (
        "timing must be one of transactional, pipelined, serialized, rtl-v1, sevens, chained, not 'eights'"
    )
    with pytest.raises(CompileError, match=message):
        plena.compile(nn.ReLU(), (X,), timing="eights")
    with pytest.raises(CompileError, match=f"optimize: {message}"):
        plena.optimize(TEXT, timing="eights")
    with pytest.raises(CompileError, match=f"size_curve: {message}"):
        plena.size_curve(program, timing="eights")
    with pytest.raises(CompileError, match=r"not \['sevens'\]"):
        profile_named(["sevens"])  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", [SEVENS, transactional.PROFILE], ids=lambda p: p.name)
def test_a_name_is_taken_once(profile: Profile) -> None:
    with pytest.raises(PlenaError, match=f"there is a timing profile '{profile.name}' already"):
        register(profile)
    with pytest.raises(PlenaError, match="no program registered"):
        withdraw("pipelined")


def test_a_table_is_whole() -> None:
    table = {cost: formula for cost, formula in pipelined.PROFILE.table.items() if cost is not Cost.TOPK}
    with pytest.raises(PlenaError, match=r"holey: it has no formula for TOPK\. Start from"):
        TableProfile("holey", "", table)


@pytest.mark.parametrize(
    "given", [np.zeros(3, np.int64), np.zeros(5, np.float64), np.full(5, -1, np.int64)], ids=str
)
def test_a_simulation_gives_cycles_of_every_line(given: NDArray[np.int64]) -> None:
    register(StreamProfile("wrong", "", THREES, lambda _: given))
    try:
        with pytest.raises(
            PlenaError, match=r"timing profile wrong: the simulation gave .* for 5 instructions"
        ):
            plena.stats(TEXT).cycles["wrong"]
    finally:
        withdraw("wrong")


def test_lines_in_the_order_they_run() -> None:
    text = (
        "C_LOOP_START gp1, 2\nC_LOOP_START gp2, 3\nS_ADDI_INT gp3, gp3, 1\nC_LOOP_END gp2\nC_LOOP_END gp1\n"
    )
    seen: list[int] = []

    def simulate(run: Run) -> NDArray[np.int64]:
        seen.extend(run.order())
        assert np.array_equal(np.bincount(seen), run.executions)
        return run.executions

    register(StreamProfile("watching", "", THREES, simulate))
    try:
        counted = plena.stats(text)
        assert not seen, "it is simulated when it is asked for"
        assert counted.cycles["watching"] == counted.dynamic
    finally:
        withdraw("watching")
    inner = [2, 3] * 3
    assert seen == [0, 1, *inner, 4, 1, *inner, 4]


def installed(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    """What a process says of a package that adds a profile of that name."""
    (folder / "pack-1.dist-info").mkdir()
    (folder / "pack-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pack\nVersion: 1\n")
    (folder / "pack-1.dist-info" / "entry_points.txt").write_text(f"[plena.timing]\n{name} = pack:PROFILE\n")
    (folder / "pack.py").write_text(
        "from dataclasses import replace\nfrom plena.timing import pipelined\n"
        "PROFILE = replace(pipelined.PROFILE, name='nines')\n"
    )
    code = "import plena; print(plena.timings()[4:], plena.stats('S_ADDI_INT gp1, gp0, 1').cycles)"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_an_installed_package_adds_one(tmp_path: Path) -> None:
    done = installed(tmp_path, "nines")
    counted = "{'transactional': 1, 'pipelined': 1, 'serialized': 1, 'rtl-v1': 1, 'nines': 1}"
    assert done.stdout == f"('nines',) {counted}\n", done.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pipelined", "there are two timing profiles 'pipelined'"),
        ("tens", "is no timing profile of the name"),
    ],
)
def test_an_installed_package_that_is_wrong_is_named(tmp_path: Path, name: str, message: str) -> None:
    done = installed(tmp_path, name)
    assert message in done.stderr and "pack:PROFILE" in done.stderr
