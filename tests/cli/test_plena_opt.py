"""The driver, run in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from plena.cli.plena_opt import main
from plena.machine.target import CONFIG_FIELDS, SHIPPED_LATENCY, SHIPPED_PRECISION, Target

ASM = "S_ADDI_INT gp1, gp0, 5\nV_EXP_V gp1, gp2, 0\n"
WORDS = "0x00014062\n0x00000853\n"


class Run:
    """Runs plena-opt on a file and keeps what it printed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def __call__(self, name: str, text: str | bytes | None, *args: str) -> tuple[int, str, str]:
        path = self.folder / name
        if text is not None:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        code = main([str(path), *args])
        printed = self.capsys.readouterr()
        return code, printed.out, printed.err


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(tmp_path, capsys)


def test_assembly_to_words_and_back(run: Run) -> None:
    assert run("a.asm", ASM, "-t", "plena-words") == (0, WORDS, "")
    assert run("a.mem", WORDS, "-t", "plena-asm") == (0, ASM, "")
    code, ir, _ = run("a.asm", ASM)
    assert code == 0
    assert run("a.mlir", ir, "-t", "plena-asm") == (0, ASM, "")


def test_upstream_quirks(run: Run) -> None:
    text = "V_EXP_V gp1, gp2, 16\n"
    assert run("a.asm", text, "-t", "plena-asm", "--upstream-quirks")[1] == "V_EXP_V gp1, gp2, 1\n"
    assert run("a.asm", text)[0] == 1


def settings_text(blen: int) -> str:
    """A complete settings file with one deviation."""
    entries = {f"CONFIG.{key}": {"value": getattr(Target(), name)} for key, name in CONFIG_FIELDS.items()}
    entries["CONFIG.BLEN"] = {"value": blen}
    for key, latency in SHIPPED_LATENCY.items():
        entries[f"LATENCY.{key}"] = {"dc_lib_en": latency.en, "dc_lib_dis": latency.dis}
    for key, number_format in SHIPPED_PRECISION.items():
        entries[f"PRECISION.{key}"] = number_format.table()
    return "[TRANSACTIONAL]\n" + "".join(f"{key} = {_inline(table)}\n" for key, table in entries.items())


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(entry)}" for key, entry in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else json.dumps(value)


def test_target_settings_are_attached(run: Run, tmp_path: Path) -> None:
    assert "plena.target = {MLEN = 16 : i64}" in run("a.asm", ASM, "--set", "MLEN=16")[1]
    file = tmp_path / "small.toml"
    file.write_text(settings_text(blen=8))
    for option in (["--target", str(file)], [f"--target={file}"], ["--settings", str(file)]):
        assert "plena.target = {BLEN = 8 : i64}" in run("a.asm", ASM, *option)[1]


def test_the_wrapper_of_mlir_pipelines_is_stripped(run: Run) -> None:
    code, out, _ = run(
        "a.asm", ASM, "--pass-pipeline", "builtin.module(cse,canonicalize)", "--print-between-passes"
    )
    assert code == 0
    assert "IR after cse" in out


def test_named_pipelines_are_written_out(run: Run) -> None:
    text = "%r = loop.affine 64\nplena_isa.v_exp_v dst(%r) a(%r)\n"
    code, out, _ = run("a.mlir", text, "-p", "canonicalize-loops,register,cse{}", "-t", "plena-asm")
    assert (code, out) == (0, "S_ADDI_INT gp1, gp0, 64\nV_EXP_V gp1, gp1, 0\n")


def test_the_output_file_is_whole_or_absent(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.mem"
    assert run("a.asm", ASM, "-t", "plena-words", "-o", str(out))[0] == 0
    assert out.read_text() == WORDS
    out.unlink()
    assert run("b.asm", "M_MM 0\n", "-t", "plena-words", "-o", str(out))[0] == 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("out")] == []


VIRTUAL = "%0 = plena_isa.register : !plena_isa.gp\nplena_isa.s_lui_int dst(%0 : !plena_isa.gp)\n"

BAD_INPUT = [
    ("a.asm", "C_BREAK\nM_MM 0, gp1\n", [], "a.asm:2:12: M_MM: operand vec is missing"),
    ("a.asm", b"\xff\xfe", [], "not a text file: byte 0"),
    ("a.mem", "0xZZ", [], "a.mem:1:1: '0xZZ' is not a 32-bit hexadecimal word"),
    ("a.mem", "0x00000000", [], "instruction 0: the word 0x00000000 decodes to no instruction"),
    ("a.mlir", "plena_isa.no_such_op", [], "no_such_op is not registered"),
    ("a.mlir", "%0 = plena_isa.register : !plena_isa.gp<gp77>", [], "gp77"),
    ("a.mlir", VIRTUAL, ["-t", "plena-asm"], "virtual register"),
    ("a.mlir", VIRTUAL.replace("int dst", "int imm = 4194304 dst"), [], "does not fit 22 unsigned bits"),
    ("a.txt", "", [], "Unrecognized file extension"),
    ("missing.asm", None, [], "missing.asm: No such file"),
    ("a.asm", ASM, ["-p", "no-such-pass"], "no-such-pass"),
    ("a.asm", ASM, ["-p", "cse{"], "Error parsing pass pipeline"),
    ("a.asm", ASM, ["-p", "cse{x=1}"], '"x"'),
    ("a.asm", ASM, ["--set", "MLN=4"], "unknown setting `MLN`. Did you mean MLEN?"),
    ("a.asm", ASM, ["--set", "MLEN"], "--set takes KEY=VALUE"),
    ("a.asm", ASM, ["--set", "MLEN=x"], "must be an integer"),
    ("a.asm", ASM, ["--target", "no_such.toml"], "no_such.toml: cannot read the settings file"),
]


@pytest.mark.parametrize(("name", "text", "args", "message"), BAD_INPUT)
def test_an_error_is_one_message(
    run: Run, name: str, text: str | bytes | None, args: list[str], message: str
) -> None:
    code, out, err = run(name, text, *args)
    assert code == 1
    assert out == ""
    assert err.startswith("error: ") and message in err
    assert "Traceback" not in err and "internal error" not in err


def test_the_command_starts_without_torch_and_numba() -> None:
    program = (
        "import sys, plena.cli.plena_opt; sys.exit(bool({'torch', 'numba', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
