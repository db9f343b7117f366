"""`machine="rtl"`: programs that break no rule of the RTL marked as an error, right on the emulator; refusals."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import plena
from plena.errors import CompileError, EmulatorError, PlenaError, SettingsError
from tests.poison import run_on_garbage


def machine(mlen: int = 8, blen: int = 4, **settings: Any) -> plena.Target:
    sizes = {"MLEN": mlen, "VLEN": mlen, "BLEN": blen, "HLEN": mlen, "BROADCAST_AMOUNT": 1}
    return plena.Target().with_settings({**sizes, "HBM_M_Prefetch_Amount": mlen, **settings})


def mlp(*features: int, act: type[torch.nn.Module] | None = torch.nn.SiLU) -> torch.nn.Module:
    layers: list[torch.nn.Module] = []
    for taken, given in pairwise(features):
        layers += [torch.nn.Linear(taken, given), *([] if act is None else [act()])]
    return torch.nn.Sequential(*(layers if act is None else layers[:-1]))


CASES: dict[str, tuple[torch.nn.Module, tuple[int, ...], plena.Target]] = {
    "linear": (torch.nn.Linear(16, 16, bias=False), (8, 16), machine()),
    "biased": (torch.nn.Linear(24, 40), (8, 24), machine()),
    "ragged": (torch.nn.Linear(13, 21), (5, 13), machine()),
    "one row": (torch.nn.Linear(16, 8), (1, 16), machine()),
    "wide": (torch.nn.Linear(128, 64), (24, 128), machine()),
    "mlp": (mlp(16, 32, 8), (8, 16), machine()),
    "mlp without activation": (mlp(16, 32, 8, act=None), (8, 16), machine()),
    "gelu": (mlp(16, 32, 8, act=lambda: torch.nn.GELU("tanh")), (8, 16), machine()),  # type: ignore[arg-type]
    "relu": (mlp(16, 32, 8, act=torch.nn.ReLU), (8, 16), machine()),
    "ragged relu": (mlp(13, 11, 9, act=torch.nn.ReLU), (3, 13), machine()),
    "layer norm": (torch.nn.LayerNorm(16), (8, 16), machine()),
    "broad": (mlp(32, 48, 16), (12, 32), machine(16, 8)),
    "square blocks": (mlp(16, 24, 8), (8, 16), machine(8, 8)),
    "few tiles": (torch.nn.Linear(64, 16), (8, 64), machine(MATRIX_SRAM_SIZE=32)),
    "production": (torch.nn.Linear(128, 64), (8, 128), machine(64, 4)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("objective", ["cycles", "size"])
def test_a_program_breaks_no_rule_and_is_right(name: str, objective: str) -> None:
    module, shape, target = CASES[name]
    torch.manual_seed(1)
    x = torch.randn(shape)
    program = plena.compile(module, (x,), target=target, machine="rtl", objective=objective)  # type: ignore[arg-type]
    findings = plena.verify(program.asm, program.target, machine="rtl")
    assert [str(f) for f in findings if f.is_error] == []
    assert program.check(x).passed
    with torch.no_grad():
        wanted = module(x)
    # Two products of numbers with four significant bits.
    assert (program.run(x) - wanted).norm() < 0.15 * wanted.norm()


def test_relu_is_exact() -> None:
    """Lane by lane, of numbers that activations in HBM hold."""
    x = torch.tensor([[1.5, -2.0, 0.0, -0.25, 3.5, -3.0, 3.0, -1.0], [-1.0] * 8, [0.0] * 4 + [2.0] * 4])
    program = plena.compile(torch.nn.ReLU(), (x,), target=machine(), machine="rtl")
    assert "V_MAX_VF" not in program.asm
    assert torch.equal(program.run(x), torch.relu(x))
    assert torch.equal(run_on_garbage(program, (x,), "nan")[0], torch.relu(x))


@pytest.mark.parametrize("fill", ["nan", "large"])
def test_memory_that_nobody_wrote_does_not_matter(fill: str) -> None:
    x = torch.randn(8, 16)
    program = plena.compile(mlp(16, 32, 8), (x,), target=machine(), machine="rtl")
    assert torch.equal(program.run(x), run_on_garbage(program, (x,), fill)[0])


def test_weights_of_columns_and_rows_give_the_same_up_to_their_blocks() -> None:
    """M_MM on [K, N] is M_TMM on [N, K]: weights that all formats hold exactly give equal bits."""
    layer = torch.nn.Linear(24, 16, bias=False)
    layer.weight.data = torch.randint(-3, 4, (16, 24)).float()
    x = torch.randint(-3, 4, (8, 24)).float()
    mm, tmm = (
        plena.compile(layer, (x,), target=machine(), matmul="mm", machine=m) for m in ("rtl", "emulator")
    )
    assert "M_MM " in mm.asm and "M_TMM" not in mm.asm and "M_TMM" in tmm.asm
    assert torch.equal(mm.run(x), tmm.run(x))
    assert torch.equal(mm.run(x), layer(x))


def test_the_emulator_has_no_end_and_the_program_is_run_without_it(tmp_path: Path) -> None:
    x = torch.randn(8, 16)
    program = plena.compile(torch.nn.Linear(16, 16), (x,), target=machine(), machine="rtl")
    assert program.asm.rstrip().endswith("C_BREAK")
    with pytest.raises(EmulatorError, match="C_BREAK"):
        plena.emulate(program.words, target=program.target)
    program.save(tmp_path / "out")
    loaded = plena.Program.load(tmp_path / "out")
    assert torch.equal(loaded.run(x), program.run(x))
    assert "machine=rtl" in program.pipeline.replace('"', "")
    assert program.stats().static == len(program.words)


def test_memories_are_those_of_the_build() -> None:
    x = torch.randn(8, 16)
    program = plena.compile(torch.nn.Linear(16, 16), (x,), target=machine(), machine="rtl")
    assert (program.target.matrix_sram_size, program.target.vector_sram_size) == (1024, 1024)
    with pytest.raises(PlenaError, match=r"does not fit in vector memory: .* 8,192 available"):
        plena.compile(torch.nn.Linear(64, 256), (torch.randn(64, 64),), target=machine(), machine="rtl")


class Gram(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x.T


REFUSED: list[tuple[torch.nn.Module, str]] = [
    (torch.nn.ReLU6(), r"\(\[8, 16\] f32\).*V_MAX_VF on the RTL: not decoded: it does nothing"),
    (Gram(), r"matmul on \(.*M_TMM on the RTL: means something else than on the emulator"),
]


@pytest.mark.parametrize(("module", "message"), REFUSED)
def test_what_the_rtl_does_not_do_is_refused_by_name(module: torch.nn.Module, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        plena.compile(module, (torch.randn(8, 16),), target=machine(), machine="rtl")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"HBM_V_Prefetch_Amount": 8}, r"an H_PREFETCH_V takes 4 rows \(HBM_V_Prefetch_Amount = 8\)"),
        (
            {"HBM_M_Prefetch_Amount": 16},
            r"an H_PREFETCH_M takes MLEN rows \(HBM_M_Prefetch_Amount = 16, MLEN = 8\)",
        ),
        ({"MATRIX_SRAM_SIZE": 8}, "a tile and the one behind it that is waited with take 16 rows"),
        ({"FORMATS": "bf16"}, "HBM_M_WEIGHT_TYPE must have 8-bit elements with a scale for 8 of them"),
    ],
)
def test_settings_that_the_build_has_otherwise(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plena.compile(torch.nn.Linear(8, 8), (torch.randn(4, 8),), target=machine(**settings), machine="rtl")


def test_schedules_that_the_rtl_has_not() -> None:
    target = machine(BROADCAST_AMOUNT=2, HLEN=4)
    with pytest.raises(
        CompileError, match="matmul broadcast needs instructions that the RTL does not execute"
    ):
        plena.compile(
            torch.nn.Linear(8, 8), (torch.randn(4, 8),), target=target, machine="rtl", matmul="broadcast"
        )


def test_the_report_says_why_the_rtl_has_no_broadcast() -> None:
    """Not that a profile wanted it so: transactional cycles would have had the broadcast unit."""
    target = machine(16, HLEN=4, BROADCAST_AMOUNT=4)
    program = plena.compile(torch.nn.Linear(16, 16), (torch.randn(4, 16),), target=target, machine="rtl")
    (line,) = (line for line in program.decisions if "mm" in line)
    assert "for the RTL" in line and "by transactional" not in line
