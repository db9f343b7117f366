"""The examples in the help run, one after the other, in a folder that has the files they name."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from plena.cli import plena_cli, plena_opt

ROOT = Path(__file__).parents[2]

LAYER = """
import torch
def layer():
    torch.manual_seed(0)
    return torch.nn.Linear(32, 32), (torch.randn(4, 32),)
"""

PROGRAM = "S_ADDI_INT gp1, gp0, 256\nC_LOOP_START gp2, 4\nV_EXP_V gp1, gp1, 0\nC_LOOP_END gp2\n"

LONG = {"curve": 1, "explore": 0, "report": 1, "tune": 3}
"""Commands with tests of their own that take long, and how many of their first examples are enough."""


MODEL = "smollm2"
"""What is not in the project: examples that name it are run by tests/cli/test_language_models.py with a small model."""


def examples() -> Iterator[str]:
    for command in plena_cli.commands():
        lines = [line for line in command.examples.splitlines() if MODEL not in line.lower()]
        yield from lines[: LONG.get(command.name)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "model.py").write_text(LAYER)
    for name in ("program.asm", "foreign.asm"):
        (folder / name).write_text(PROGRAM)
    torch.save([torch.randn(1, 1, 64, 64) for _ in "qkv"], folder / "qkv.pt")
    torch.save([torch.randn(4, 32) for _ in range(16)], folder / "samples.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = "calibrate model.py:layer --samples samples.pt --formats e3m4 -o weights.npz"
        assert plena_cli.main(words.split()) == 0
    return folder


@pytest.mark.parametrize("line", examples())
def test_example(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    command, _, written = line.partition(" > ")
    words = [
        re.sub(r"\$\(cat (\S+)\)", lambda m: Path(m[1]).read_text().strip(), word)
        for word in shlex.split(command)
    ]
    if "generated_machine_code.mem" in line:
        shutil.copy("program.mem", "generated_machine_code.mem")
    code = {"plena": plena_cli.main, "plena-opt": plena_opt.main}[words[0]](words[1:])
    printed = capsys.readouterr()
    if written:
        monkeypatch.setenv("HOME", str(folder))
        file = Path(written).expanduser()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(printed.out)
    verdict = code == 0 or (words[1] == "verify" and re.search(r"\d+ errors", printed.out))
    assert verdict and not printed.err, printed.err
