"""`plena calibrate` and `plena evaluate` on a small layer from a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from plena.cli.plena_cli import main

LAYER = """
import torch

def layer():
    torch.manual_seed(0)
    return torch.nn.Linear(16, 16), (torch.zeros(4, 16),)
"""
MACHINE = [a for s in ("MLEN=16", "VLEN=16", "HLEN=4") for a in ("--set", s)] + ["--matmul", "mm"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(LAYER)
    generator = torch.Generator().manual_seed(1)
    mix = torch.randn(3, 16, generator=generator)
    torch.save([torch.randn(4, 3, generator=generator) @ mix for _ in range(12)], "samples.pt")
    return tmp_path


def test_calibrate_compile_evaluate(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, samples = "model.py:layer", ["--samples", "samples.pt"]
    assert main(["calibrate", model, *samples, "-o", "w.npz"]) == 0
    said = capsys.readouterr()
    assert "1 of 1 weights calibrated for e4m3" in said.out and "rank 3" not in said.err
    options = ["--staging", "calibrated", "--calibration", "w.npz", *MACHINE]
    assert main(["compile", model, "-o", "out", *options]) == 0
    capsys.readouterr()
    assert main(["evaluate", "out", "--module", model, *samples]) == 0
    of_folder = capsys.readouterr().out
    assert main(["evaluate", model, *samples, *options]) == 0
    assert capsys.readouterr().out == of_folder
    assert "emulator" in of_folder and "48 rows" in of_folder


def test_formats_that_the_compiler_chooses(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--formats", "auto", "--samples", "samples.pt", "--traffic", "1.1"]
    assert main(["compile", "model.py:layer", "-o", "out", *chosen, *MACHINE]) == 0
    said = capsys.readouterr().out
    assert "weights alone: e4m3" in said and "times the shipped bytes" in said
    moved = float(re.findall(r"at ([\d.]+) times the shipped bytes", said)[-1])
    assert 0.5 < moved <= 1.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "model.py:layer", *MACHINE], "--samples is missing"),
        (["evaluate", "model.py:layer", "--samples", "model.py", *MACHINE], "not a file of tensors"),
        (["evaluate", "out", "--samples", "samples.pt"], "a program folder does not hold its model"),
        (["calibrate", "model.py:layer", "--samples", "absent.pt", "-o", "w.npz"], "cannot be read"),
        (["calibrate", "model.py:layer", "--samples", "one.pt", "-o", "w.npz"], "holds a Tensor, not a list"),
        (["compile", "model.py:layer", "-o", "out", "--calibration", "model.py"], "is no calibration"),
        (["compile", "model.py:layer", "-o", "out", "--formats", "auto"], "Give --samples FILE.pt"),
        (["compile", "model.py:layer", "-o", "out", "--traffic", "2"], "Add --formats auto"),
        (["evaluate", "model.py:layer", "--samples", "samples.pt", "--formats", "auto"], "Name the formats"),
    ],
)
def test_wrong_files(
    files: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(torch.zeros(2), "one.pt")
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
