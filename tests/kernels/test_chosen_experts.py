"""Experts that are found by their ids at run time: right, with the bytes of the chosen alone, picked where faster."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import plena
from plena.api.program import Program
from plena.dialects.plena import ChosenExpertsOp
from plena.driver import run_pipeline
from plena.frontend import import_module
from plena.passes.pick_experts import ExpertSchedule, PickExperts
from tests.kernels.checking import MACHINES, check
from tests.passes.tensor_pipeline import close, references
from tests.poison import check_reads_what_is_defined

HIDDEN, INNER = 24, 40


class Experts(nn.Module):
    """Gated experts with biases, as gpt-oss has them; `bias` of the router makes all tokens choose alike."""

    def __init__(self, experts: int, chosen: int, bias: float = 0.0) -> None:
        super().__init__()
        self.chosen = chosen
        self.router = nn.Linear(HIDDEN, experts)
        self.router.bias.data = bias * torch.arange(experts)
        self.up = nn.Parameter(torch.randn(experts, HIDDEN, 2 * INNER) / 5)
        self.up_bias = nn.Parameter(torch.randn(experts, 2 * INNER))
        self.down = nn.Parameter(torch.randn(experts, INNER, HIDDEN) / 6)
        self.down_bias = nn.Parameter(torch.randn(experts, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        weights, ids = self.router(x).topk(self.chosen)
        rows, flat = x.repeat_interleave(self.chosen, 0), ids.reshape(-1)
        both = torch.bmm(rows.unsqueeze(1), self.up[flat]).squeeze(1) + self.up_bias[flat]
        gate, up = both.chunk(2, -1)
        found = torch.bmm((F.silu(gate) * up).unsqueeze(1), self.down[flat]).squeeze(1)
        found = (found + self.down_bias[flat]) * weights.softmax(-1).reshape(-1, 1)
        return found.view(len(x), self.chosen, HIDDEN).sum(1)


class Layers(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


def experts(count: int, chosen: int, bias: float = 0.0) -> Experts:
    torch.manual_seed(0)
    return Experts(count, chosen, bias).eval()


def tokens(count: int) -> Tensor:
    return torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(1))


@cache
def one_token() -> Program:
    return check(experts(32, 4), tokens(1), target=MACHINES[64], error=0.02)


def test_one_token_moves_the_chosen_experts_alone(tmp_path: Path) -> None:
    """Three tiles and the rows of the biases of both products each; the class is saved with the program."""
    program = one_token()
    check_reads_what_is_defined(program, tokens(1))
    rows, width = program.target.hbm_v_prefetch_amount, program.target.vlen
    moved = 4 * (3 * width * width + 2 * rows * width) * 9 // 8
    assert program.stats().hbm_traffic["experts"] == moved
    program.save(tmp_path / "experts")
    assert plena.Program.load(tmp_path / "experts").stats().hbm_traffic["experts"] == moved


@pytest.mark.parametrize(
    ("mlen", "count", "layer"),
    [(16, 3, (64, 2)), (32, 2, (140, 3)), (16, 2, (32, 3, 50.0))],
    ids=["some", "more than V_TOPK", "one for all"],
)
def test_some_tokens(mlen: int, count: int, layer: tuple[int, ...]) -> None:
    x = tokens(count)
    program = check(experts(*layer), x, target=MACHINES[mlen], error=0.02)
    check_reads_what_is_defined(program, x)


def test_layers_are_a_loop() -> None:
    torch.manual_seed(0)
    layers = Layers(*(Experts(8, 2) for _ in range(3))).eval()
    program = check(layers, tokens(1), target=MACHINES[16], error=0.02)
    assert len(program.words) < 600


@pytest.mark.parametrize(
    ("count", "choice", "is_picked"),
    [(1, "auto", True), (1, "all", False), (64, "auto", False), (2, "chosen", True)],
)
def test_they_are_picked_where_that_is_faster(count: int, choice: ExpertSchedule, is_picked: bool) -> None:
    module, x = experts(8, 2), tokens(count)
    program = import_module(module, (x,))
    MACHINES[64].attach(program.module)
    run_pipeline(program.module, (PickExperts(choice),))
    program.module.verify()
    close(program, (x,), references(module, (x,)))
    assert any(isinstance(op, ChosenExpertsOp) for op in program.module.walk()) == is_picked
