"""Compiled kernels, fully expanded and rolled again: at most 1.2 times the size they had (issue 4)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from xdsl.dialects.builtin import ModuleOp

from plena.dialects.loop.nests import loops_in
from plena.driver import context, run_pipeline
from plena.frontend import import_module
from plena.kernels.schedule import Schedule
from plena.machine.target import Target
from plena.passes.canonicalize_loops import CanonicalizeLoops
from plena.passes.convert_plena_to_tile import convert
from plena.passes.emission import counted
from plena.passes.pipelines import AFFINE_PIPELINE, TENSOR_PIPELINE
from plena.passes.roll_loops import RollLoops
from plena.passes.unroll_loops import UnrollLoops
from tests.affine.sequence import executed


class Attention(nn.Module):
    """Scaled dot product attention."""

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v)


class Mlp(nn.Module):
    """A norm and a gated MLP with its residual."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.up, self.gate = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


CASES = {
    "attention": (Attention(), tuple(torch.zeros(1, 2, 64, 64) for _ in range(3))),
    "linear": (nn.Linear(128, 128, bias=False), (torch.zeros(64, 128),)),
    "norm": (nn.RMSNorm(256), (torch.zeros(64, 256),)),
    "two MLPs": (nn.Sequential(Mlp(64, 128), Mlp(64, 128)), (torch.zeros(64, 64),)),
}


def affine(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> ModuleOp:
    module = import_module(model, inputs).module
    Target().attach(module)
    run_pipeline(module, TENSOR_PIPELINE)
    convert(module, Schedule("cycles", "transactional", "mm", "auto"))
    run_pipeline(module, ("allocate-buffers", *AFFINE_PIPELINE))
    return module


@pytest.mark.parametrize("name", CASES)
def test_expanded_kernels_come_back(name: str) -> None:
    module = affine(*CASES[name])
    size = counted(module.clone(), "transactional").static
    before = executed(module)
    UnrollLoops(full=True).apply(context(), module)
    assert not list(loops_in(module))
    RollLoops().apply(context(), module)
    assert executed(module) == before
    CanonicalizeLoops().apply(context(), module)
    assert counted(module, "transactional").static <= 1.2 * size
