"""Utilisation of linear layers: Y[64, 1408] = X[64, K] W (issues 4 and 14, docs/matmul_schedules.md)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import plena
from plena.machine.target import Target

ROWS, COLUMNS = 64, 1408


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "budget", "utilization"), [(384, 80, 0.86), (384, 140, 0.87), (384, 200, 0.88), (1408, 120, 0.87)]
)
def test_utilization_under_a_budget(k: int, budget: int, utilization: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(ROWS, k)
    layer = nn.Linear(k, COLUMNS, bias=False)
    program = plena.compile(layer, (x,), timing="pipelined", max_instructions=budget)
    statistics, target = program.stats(), Target()
    reached = ROWS * k * COLUMNS / (target.blen * target.mlen * statistics.cycles["pipelined"])
    assert statistics.static <= budget
    assert reached >= utilization, f"{reached:.4f} in {statistics.static} instructions"
    assert program.check(x).passed
