"""`plena check --per-op`: the report names the kernel that is wrong, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plena.checking.per_op import OperationError, PerOpReport, check_per_op
from plena.cli import plena_cli
from plena.errors import CompileError
from plena.host.image import Preload
from plena.kernels import activations
from plena.machine.target import Target
from plena.program.data import ProgramData


class Block(nn.Module):
    """A gated MLP with its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(64, eps=1e-5)
        self.gate = nn.Linear(64, 128, bias=False)
        self.up = nn.Linear(64, 128, bias=False)
        self.down = nn.Linear(128, 64, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Blocks(nn.Module):
    """Two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(), Block()])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def blocks() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return Blocks().eval(), (torch.randn(1, 8, 64),)


def test_every_kernel_of_both_layers_is_compared() -> None:
    report = check_per_op(*blocks())
    assert report.passed and not report.unseen, str(report)
    kernels = [error.operation for error in report.compared if error.operation != "plena.reshape"]
    layer = ["rms_norm", "projections", "projections", "gate", "linear", "add"]
    assert kernels == [f"plena.{name}" for name in layer * 2]
    assert {e.module for e in report.compared if e.operation == "plena.linear"} == {
        "layers.0.down",
        "layers.1.down",
    }
    assert all(error.accumulated < 0.02 for error in report.compared)


def test_the_wrong_kernel_is_named_and_those_behind_it_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(activations.ACTIVATIONS, "silu", activations.gelu_quick)
    report = check_per_op(*blocks())
    assert report.first is not None
    assert report.first.operation == "plena.gate" and report.first.module == "layers.0"
    assert [error.operation for error in report.compared if error.own > report.bound] == ["plena.gate"] * 2
    behind = next(error for error in report.compared if error.operation == "plena.linear")
    assert behind.own < 0.01 < report.bound < behind.accumulated
    assert str(report).endswith(f"FAILED: the first wrong one is {report.first}")


def test_what_is_no_number_is_wrong() -> None:
    report = PerOpReport((OperationError("m", "plena.linear", 0, (2, 2), float("nan"), float("nan")),))
    assert not report.passed


def test_tensors_that_do_not_fit_together_are_read_in_several_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vector SRAM with room for the program and a few of its tensors."""
    runs: list[int] = []
    execute = ProgramData.execute

    def counted(self: ProgramData, preload: Preload, progress: bool | None = None) -> Any:
        runs.append(len(self.outputs))
        return execute(self, preload, progress)

    monkeypatch.setattr(ProgramData, "execute", counted)
    module, inputs = blocks()
    whole = check_per_op(module, inputs)
    assert len(runs) == 1
    split = check_per_op(module, inputs, target=Target().with_settings({"VECTOR_SRAM_SIZE": 1900}))
    assert len(runs) > 2
    assert split.compared == whole.compared and not split.unseen


def test_a_module_that_cannot_be_compiled_is_an_error() -> None:
    with pytest.raises(CompileError):
        check_per_op(*blocks(), target=Target().with_settings({"VECTOR_SRAM_SIZE": 64}))


MODEL = """
import torch

def factory():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64, bias=False), torch.nn.SiLU()), (torch.randn(4, 64),)
"""


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "sequential.py"
    model.write_text(MODEL)
    assert plena_cli.main(["check", f"{model}:factory", "--per-op"]) == 0
    assert "every operation passed" in capsys.readouterr().out
    assert plena_cli.main(["check", f"{model}:factory", "--per-op", "--inputs", "random"]) == 0
    monkeypatch.setitem(activations.ACTIVATIONS, "silu", activations.gelu_quick)
    assert plena_cli.main(["check", f"{model}:factory", "--per-op"]) == 1
    assert "the first wrong one is plena.activation of 1" in capsys.readouterr().out
    assert plena_cli.main(["check", str(tmp_path), "--per-op"]) == 1
    assert "--per-op" in capsys.readouterr().err
