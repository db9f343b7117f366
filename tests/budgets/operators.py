"""Single operators whose counts are guarded, at the shipped settings: what the public compiler has figures for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.budgets.case import Case
from tests.budgets.kernels import linear


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class GatedMlp(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, hidden: int, intermediate: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden, intermediate, bias=False)
        self.up = nn.Linear(hidden, intermediate, bias=False)
        self.down = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class RoutedExperts(nn.Module):
    """4 of 32 gated experts, weighted by the softmax of the chosen scores."""

    def __init__(self, hidden: int, intermediate: int) -> None:
        super().__init__()
        self.router = nn.Linear(hidden, 32, bias=False)
        self.gate = nn.Parameter(torch.randn(32, intermediate, hidden))
        self.up = nn.Parameter(torch.randn(32, intermediate, hidden))
        self.down = nn.Parameter(torch.randn(32, hidden, intermediate))

    def forward(self, x: Tensor) -> Tensor:
        weights, ids = self.router(x).topk(4)
        rows, flat = x.repeat_interleave(4, 0).unsqueeze(-1), ids.reshape(-1)
        hidden = functional.silu(self.gate[flat].bmm(rows)) * self.up[flat].bmm(rows)
        found = self.down[flat].bmm(hidden).squeeze(-1) * weights.softmax(-1).reshape(-1, 1)
        return found.view(len(x), 4, -1).sum(1)


class Expert(nn.Module):
    """One expert as gpt-oss has it, of tokens [n, hidden] with their weights [n, 1]."""

    def __init__(self, hidden: int, intermediate: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(hidden, intermediate), nn.Linear(hidden, intermediate)
        self.down = nn.Linear(intermediate, hidden)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        gate, up = self.gate(x).clamp(max=7.0), self.up(x).clamp(-7.0, 7.0)
        return self.down((up + 1) * gate * torch.sigmoid(1.702 * gate)) * weights


def chosen(logits: Tensor) -> Tensor:
    """Weights of 8 experts of a token, 0 for the others."""
    weights, ids = logits.softmax(-1).topk(8)
    return torch.zeros_like(logits).scatter(-1, ids, weights)


@dataclass(frozen=True)
class Operator:
    """A module and its example inputs."""

    module: nn.Module
    inputs: tuple[Tensor, ...]


def of_module(build: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> Callable[[], Operator]:
    def made() -> Operator:
        torch.manual_seed(0)
        module = build()
        generator = torch.Generator().manual_seed(1)
        for parameter in module.parameters():
            if parameter.ndim == 1:
                # Gains and biases that cannot be left out.
                parameter.data = 1.0 + 0.1 * torch.randn(parameter.shape, generator=generator)
        return Operator(module, tuple(torch.randn(shape, generator=generator) for shape in shapes))

    return made


def evaluated(build: Callable[..., nn.Module], *arguments: int) -> nn.Module:
    """In evaluation mode: a batch norm has fixed statistics."""
    return build(*arguments).eval()


def normed(channels: int) -> nn.Module:
    """A convolution with a batch norm behind it, which costs nothing."""
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)).eval()


def of_function(function: Callable[..., Tensor], *shapes: tuple[int, ...]) -> Callable[[], Operator]:
    return of_module(partial(Function, function), *shapes)


def rotated(x: Tensor, rotation: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The embedding when the rotated rows are an input, as the public compiler has it."""
    return x * cos + rotation * sin


def computed_product(x: Tensor, y: Tensor) -> Tensor:
    """The right operand goes through HBM to matrix SRAM."""
    return x @ torch.relu(y)


class Transposed(nn.Module):
    """A layer of features, then one of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64, bias=False)
        self.second = nn.Linear(64, 64, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).mT)


CASES: dict[str, Case] = {
    "linear 64x384 to 384": Case(partial(linear, 64, 384, 384)),
    "linear 64x384 to 384, mm": Case(partial(linear, 64, 384, 384), {"matmul": "mm"}),
    "linear 64x576 to 1536": Case(partial(linear, 64, 576, 1536)),
    "linear 64x576 to 1536, mm": Case(partial(linear, 64, 576, 1536), {"matmul": "mm"}),
    "linear 64x2048 to 2048": Case(partial(linear, 64, 2048, 2048)),
    "linear 64x2048 to 2048, mm": Case(partial(linear, 64, 2048, 2048), {"matmul": "mm"}),
    "linear 64x384 to 49152": Case(partial(linear, 64, 384, 49152)),
    "product of two computed 64x64x64": Case(of_function(computed_product, (64, 64), (64, 64))),
    "product of two computed 64x64x64, mm": Case(
        of_function(computed_product, (64, 64), (64, 64)), {"matmul": "mm"}
    ),
    "transposed 64x64 between layers": Case(of_module(Transposed, (64, 64))),
    "SwiGLU 64x384x1408": Case(of_module(partial(GatedMlp, 384, 1408), (64, 384))),
    "expert 64x128x128": Case(of_module(partial(Expert, 128, 128), (64, 128), (64, 1))),
    "4 of 32 experts 1x128x128": Case(of_module(partial(RoutedExperts, 128, 128), (1, 128))),
    "8 of 128 experts chosen for 64 tokens": Case(of_function(chosen, (64, 128))),
    "RMSNorm 64x384": Case(of_module(partial(nn.RMSNorm, 384, eps=1e-5), (64, 384))),
    "RMSNorm 64x384, no gain": Case(
        of_module(partial(nn.RMSNorm, 384, eps=1e-5, elementwise_affine=False), (64, 384))
    ),
    "softmax 64x64": Case(of_function(partial(torch.softmax, dim=-1), (64, 64))),
    "rotary 64x64, rotation given": Case(of_function(rotated, *[(64, 64)] * 4)),
    "embedding add 64x384": Case(of_function(torch.add, (64, 384), (64, 384))),
    "convolution 3x3 of 64x16x16 to 64": Case(
        of_module(partial(nn.Conv2d, 64, 64, 3, padding=1), (1, 64, 16, 16))
    ),
    "convolution 3x3 of 64x16x16 to 64, batch norm": Case(of_module(partial(normed, 64), (1, 64, 16, 16))),
    "depthwise convolution 3x3 of 64x16x16": Case(
        of_module(partial(nn.Conv2d, 64, 64, 3, padding=1, groups=64), (1, 64, 16, 16))
    ),
    "batch norm of 64x16x16": Case(of_module(partial(evaluated, nn.BatchNorm2d, 64), (1, 64, 16, 16))),
    "group norm of 64x16x16": Case(of_module(partial(nn.GroupNorm, 32, 64), (1, 64, 16, 16))),
    "maximum pooling 3x3 of 64x16x16": Case(of_module(partial(nn.MaxPool2d, 3, 2, 1), (1, 64, 16, 16))),
    "transposed convolution 2x2 of 64x8x8 to 64": Case(
        of_module(partial(nn.ConvTranspose2d, 64, 64, 2, 2), (1, 64, 8, 8))
    ),
    "bilinear resizing of 64x8x8": Case(
        of_module(partial(nn.Upsample, scale_factor=2, mode="bilinear"), (1, 64, 8, 8))
    ),
    "logarithm 64x384": Case(of_function(lambda x: x.clamp(min=0.5).log(), (64, 384))),
    "log1p 64x384": Case(of_function(lambda x: x.relu().log1p(), (64, 384))),
    "softplus 64x384": Case(of_function(functional.softplus, (64, 384))),
    "log_softmax 64x64": Case(of_function(partial(torch.log_softmax, dim=-1), (64, 64))),
    "cumsum 64x384": Case(of_function(partial(torch.cumsum, dim=-1), (64, 384))),
    "patch convolution 16x16 of 128x128 to 768": Case(
        of_module(partial(nn.Conv2d, 3, 768, 16, 16, bias=False), (1, 3, 128, 128))
    ),
}
