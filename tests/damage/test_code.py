"""Damaged assembly, machine words and IR: an error with its place, never a traceback, from Python and the shell."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import plena
from plena.assembly import encode, parse_asm, print_mem
from plena.cli import plena_cli, plena_opt
from plena.errors import AssemblyError, PlenaError
from tests.damage.commands import outcome
from tests.damage.strategies import damaged_text
from tests.hunt.test_found import SMALL

TESTS = Path(__file__).parents[1]
SOURCES = [p.read_text() for p in sorted((TESTS / "corpus").glob("*.asm")) if p.stat().st_size < 3000]
MODULES = [p.read_text() for p in sorted((TESTS / "filecheck").rglob("*.mlir"))]
TARGET = plena.Target().with_settings(SMALL)
OPTIONS = [f"--set={key}={value}" for key, value in SMALL.items()]
LONG = 200_000

assembly = damaged_text(st.sampled_from(SOURCES))
words = damaged_text(st.sampled_from(SOURCES).map(lambda text: print_mem(encode(parse_asm(text)))))


class TooLong(Exception):
    """A program that runs on and on is none of the errors looked for."""


def _stop(executed: int, cycles: int) -> None:
    if executed > LONG:
        raise TooLong


def emulate(text: str) -> None:
    with suppress(TooLong):
        plena.emulate(text, target=TARGET, progress=_stop)


READERS: dict[str, Callable[[str], Any]] = {
    "stats": lambda text: plena.stats(text, TARGET),
    "lift": lambda text: plena.lift(text, TARGET),
    "verify": lambda text: plena.verify(text, TARGET),
    "emulate": emulate,
    "optimize": lambda text: plena.optimize(text, target=TARGET),
}


@settings(max_examples=150)
@given(assembly, st.sampled_from(sorted(READERS)))
def test_assembly(text: str, reader: str) -> None:
    try:
        READERS[reader](text)
        event(f"{reader}: read")
    except AssemblyError as error:
        lines = re.split(r"\r\n|\n|\r", text)
        assert 1 <= error.line <= max(1, len(lines)) and error.column >= 1
        assert str(error).startswith(f"line {error.line}:{error.column}: ")
        event(f"{reader}: cannot be parsed")
    except PlenaError as error:
        assert str(error)
        event(f"{reader}: {type(error).__name__}")


@settings(max_examples=40)
@given(assembly, st.sampled_from(["asm", "stats", "verify", "optimize"]))
def test_assembly_files(tmp_path_factory: pytest.TempPathFactory, text: str, command: str) -> None:
    file = tmp_path_factory.mktemp("asm") / "x.asm"
    file.write_text(text, encoding="utf-8", newline="")
    code, printed = outcome(plena_cli.main, command, str(file), *(OPTIONS if command != "asm" else ()))
    if code and command == "asm":
        assert re.match(rf"error: {re.escape(str(file))}:\d+:\d+: ", printed), printed


@settings(max_examples=40)
@given(words, st.sampled_from(["disasm", "stats", "verify", "optimize"]))
def test_word_files(tmp_path_factory: pytest.TempPathFactory, text: str, command: str) -> None:
    file = tmp_path_factory.mktemp("mem") / "x.mem"
    file.write_text(text, encoding="utf-8", newline="")
    code, printed = outcome(plena_cli.main, command, str(file), *(OPTIONS if command != "disasm" else ()))
    if code and command == "disasm":
        assert str(file) in printed


PASSES = (
    "", "canonicalize-loops", "tile,affine,register", "affine,register", "register", "lift", "roll-loops",
    "verify-program", "allocate-buffers", "select-loops", "fuse-attention", "no-such-pass", "lift{nothing=1}",
)  # fmt: skip


@settings(max_examples=60)
@given(damaged_text(st.sampled_from(MODULES)), st.sampled_from(PASSES))
def test_ir(tmp_path_factory: pytest.TempPathFactory, text: str, passes: str) -> None:
    folder = tmp_path_factory.mktemp("ir")
    (folder / "x.mlir").write_text(text, encoding="utf-8", newline="")
    args = [str(folder / "x.mlir"), "-o", str(folder / "y.mlir"), *(["-p", passes] if passes else [])]
    code, _ = outcome(plena_opt.main, *args)
    assert (folder / "y.mlir").exists() == (code == 0), "an output file is whole or absent"


@settings(max_examples=40)
@given(damaged_text(st.just((TESTS / "conformance" / "plena_settings.toml").read_text())))
def test_settings_files(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "x.toml").write_text(text, encoding="utf-8", newline="")
    (folder / "x.asm").write_text(SOURCES[0])
    code, printed = outcome(
        plena_cli.main, "stats", str(folder / "x.asm"), "--target", str(folder / "x.toml")
    )
    if code:
        assert "x.toml" in printed


numbers = st.sampled_from([-1, 0, 1, 3, 7, 1 << 31, 1 << 62, 1 << 64, "64", 1.5, True, [], {}, None])


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                *SMALL,
                "BLEN",
                "BROADCAST_AMOUNT",
                "DC_EN",
                "MAX_LOOP_INSTRUCTIONS",
                "HBM_V_Prefetch_Amount",
                "PRECISION.HBM_M_WEIGHT_TYPE.block",
                "PRECISION.HBM_M_WEIGHT_TYPE",
                "LATENCY.VECTOR_ADD_CYCLES",
                "NONE",
            ]
        ),
        numbers,
        min_size=1,
        max_size=3,
    )
)
def test_settings_that_make_no_machine(settings: dict[str, Any]) -> None:
    try:
        target = plena.Target().with_settings({"HBM_SIZE": 1 << 20, "VECTOR_SRAM_SIZE": 64, **settings})
        target.validate()
        if target.mlen <= 128 and target.vector_sram_size <= 4096 and target.hbm_size <= 1 << 20:
            plena.stats(SOURCES[0], target)
            plena.verify(SOURCES[0], target)
    except PlenaError as error:
        assert str(error)
