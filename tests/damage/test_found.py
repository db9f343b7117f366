"""What `python -m tests.hunt.malformed_files` has found: each was a bare exception or took for ever."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import plena
from plena.cli import plena_opt
from plena.errors import PlenaError, SettingsError
from tests.damage.commands import outcome
from tests.hunt.malformed_files import run

LOOP = "C_LOOP_START gp1, 4\nV_EXP_V gp2, gp2, 0\nS_ADDI_INT gp2, gp2, 64\nC_LOOP_END gp1\n"


def refused(folder: Path, name: str, text: str, passes: str) -> str:
    """The message of plena-opt."""
    (folder / name).write_text(text, encoding="utf-8", newline="")
    code, printed = outcome(plena_opt.main, str(folder / name), "-p", passes)
    assert code == 1
    return printed


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ("lift,unroll-loops{loop=0,0 factor=2}", "loop 0 is named twice"),
        ("lift,peel-loops{loop=0,0}", "loop 0 is named twice"),
        ("lift,strip-mine-loops{loop=0,0 factor=2}", "loop 0 is named twice"),
        ("lift,allocate-registers", "V_EXP_V has an address expression, not a register"),
        ("allocate-registers{f=99999999999}", "f must be 1 to 7 registers, got 99999999999"),
        ("lift,materialize-addresses{registers=99999999999}", "registers must be 1 to 15, got 99999999999"),
        ("allocate-registers{gp=-1}", "gp must be 1 to 15 registers, got -1"),
    ],
)
def test_pass_options(tmp_path: Path, passes: str, message: str) -> None:
    assert message in refused(tmp_path, "x.asm", LOOP, passes)


@pytest.mark.parametrize("values", ["5 : i64", "[1.0 : f64, 2 : i64]"])
def test_constants_that_are_no_list_of_numbers(tmp_path: Path, values: str) -> None:
    text = f"builtin.module {{\n  %a = tile.constant {values}\n}}\n"
    assert "constants are a list of real numbers" in refused(tmp_path, "x.mlir", text, "lift")


def test_blocks_that_are_named_and_then_defined_twice(tmp_path: Path) -> None:
    text = "func.func @f() {\n  cf.br ^b\n^b:\n  func.return\n^b:\n  func.return\n}\n"
    assert "block ^b is defined twice. Give one another name" in refused(tmp_path, "x.mlir", text, "lift")


def test_a_loop_whose_counter_is_written_is_counted_at_once() -> None:
    statistics = plena.stats(LOOP.replace("S_ADDI_INT gp2, gp2", "S_ADDI_INT gp1, gp9"))
    assert statistics.unavailable["rtl-v1"] == "it writes the counter of a loop"


def test_loops_may_be_named_in_any_order(tmp_path: Path) -> None:
    nested = LOOP.replace("V_EXP_V", "C_LOOP_START gp3, 2\nV_EXP_V").replace("64\n", "64\nC_LOOP_END gp3\n")
    (tmp_path / "x.asm").write_text(nested)
    results: list[str] = []
    for order in ("0,1", "1,0"):
        passes = f"lift,unroll-loops{{loop={order} full=true}}"
        assert plena_opt.main([str(tmp_path / "x.asm"), "-p", passes, "-o", str(tmp_path / "y.mlir")]) == 0
        results.append((tmp_path / "y.mlir").read_text())
    assert results[0] == results[1]


def test_an_unclosed_string_is_refused_at_once(tmp_path: Path) -> None:
    text = (
        'builtin.module {\n  // "a comment\n "   %b = loop.affine -3 + 256 * %i + -4 * %j, and on and on\n}\n'
    )
    started = time.monotonic()
    assert "x.mlir:3:2: this string is not closed" in refused(tmp_path, "x.mlir", text, "lift")
    assert time.monotonic() - started < 5
    (tmp_path / "y.mlir").write_text('builtin.module attributes {a = "x \\" // y"} {\n}\n')
    assert plena_opt.main([str(tmp_path / "y.mlir")]) == 0


def test_a_memory_that_there_is_not(tmp_path: Path) -> None:
    text = (
        "builtin.module {\n  %v = tile.buffer @v [64] : !tile.buffer<vector>\n"
        "  tile.matmul out(%v : mat) x(%v : vector) w(%v : matrix)\n}\n"
    )
    assert "there is no memory mat: it must be one of" in refused(tmp_path, "x.mlir", text, "lift")


def test_elements_of_integers_of_an_odd_width(tmp_path: Path) -> None:
    text = "builtin.module attributes {a = array<i6464: 1, 2>} {\n}\n"
    assert "xDSL cannot read it" in refused(tmp_path, "x.mlir", text, "lift")


@pytest.mark.parametrize("policy", [2, 15])
def test_a_policy_that_there_is_not(policy: int) -> None:
    with pytest.raises(PlenaError, match=f"V_TOPK knows no policy {policy}|abort"):
        plena.optimize(f"{LOOP}V_TOPK gp0, gp0, gp0, {policy}\n")


def test_settings_beyond_what_can_be_counted() -> None:
    for key, value in (
        ("VECTOR_ADD_CYCLES", 1 << 62),
        ("MLEN", 1 << 62),
        ("HBM_SIZE", 1 << 64),
        ("MATRIX_SRAM_SIZE", 1 << 40),
    ):
        with pytest.raises(SettingsError, match="must be at most"):
            plena.Target().with_settings({key: value})


def test_a_sample_of_the_search() -> None:
    malformed = run(count=150, seed=11)
    assert not malformed.found
    assert sum(malformed.outcomes.values()) == 150
    assert sum(n for name, n in malformed.outcomes.items() if name.endswith("refused")) > 50
