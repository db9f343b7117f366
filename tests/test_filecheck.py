"""The RUN lines of tests/filecheck, in this process: processes of their own would cost a start of Python each.

`lit tests/filecheck` runs all of them in the shell; here it runs one folder.
"""

from __future__ import annotations

import io
import runpy
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from filecheck.matcher import Matcher
from filecheck.options import parse_argv_options

from plena.cli import plena_opt

FOLDER = Path(__file__).parent / "filecheck"

LIT = "tools"
"""The folder that lit runs, with the installed commands."""

ROUNDTRIP = "plena-opt %s --print-op-generic | plena-opt | filecheck %s"
"""What lit.cfg.py calls PLENA_ROUNDTRIP."""

FILES = sorted(
    path
    for path in FOLDER.rglob("*.*")
    if path.suffix in (".mlir", ".asm", ".py")
    and path.relative_to(FOLDER).parts[0] not in (LIT, "lit.cfg.py")
)


def run_lines(text: str) -> list[str]:
    """The commands of a file."""
    return [line.partition("RUN:")[2].strip() for line in text.splitlines() if "RUN:" in line]


def ran(words: Sequence[str], given: bytes) -> tuple[int, bytes, str]:
    """The exit code, output and errors of a command with this input; `2>&1` puts errors in the output."""
    if words[0] == "not":
        code, printed, said = ran(words[1:], given)
        return int(code == 0), printed, said
    command, *arguments = [word for word in words if word != "2>&1"]
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(out),
        redirect_stderr(out if "2>&1" in words else err),
    ):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8"))
        match command:
            case "plena-opt":
                code = plena_opt.main(arguments)
            case "filecheck":
                code = Matcher.from_opts(parse_argv_options([command, *arguments])).run()
            case "python":
                code = 0
                runpy.run_path(arguments[0], run_name="__main__")
            case _:
                raise ValueError(f"a file that runs {command} belongs in the folder {LIT}")
    return code, out.buffer.getvalue(), err.getvalue()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_file(path: Path) -> None:
    lines = run_lines(path.read_text(encoding="utf-8"))
    assert lines
    for line in lines:
        output = b""
        for command in line.replace("PLENA_ROUNDTRIP", ROUNDTRIP).split(" | "):
            code, output, errors = ran(shlex.split(command.replace("%s", shlex.quote(str(path)))), output)
            assert code == 0, f"{command}\n{errors}{output.decode()}"


def test_lit_runs_the_rest() -> None:
    lit = [sys.executable, "-c", "from lit.main import main; main()", "-v", "--no-progress-bar"]
    run = subprocess.run([*lit, str(FOLDER / LIT)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Passed" in run.stdout


@pytest.mark.parametrize("command", ["filecheck %s --check-prefix=OTHER", "not filecheck %s"])
def test_what_does_not_match_is_noticed(command: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("// CHECK: one\n// OTHER: two\n")
    code, _, _ = ran(shlex.split(command.replace("%s", str(path))), b"one\n")
    assert code == 1
