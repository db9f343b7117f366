"""Small modules of many kinds, with an example call each; every one of them is right."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]
"""A module and the arguments of a call."""


class WrittenAttention(nn.Module):
    """Attention of four heads, written out; `scale` multiplies the keys."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(64, 64) for _ in range(4))
        self.scale = scale

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (p(x).view(b, n, 4, 16).transpose(1, 2) for p in (self.q, self.k, self.v))
        scores = q @ (k * self.scale).transpose(-1, -2) / 4
        if mask is not None:
            scores = scores.masked_fill(mask, float("-inf"))
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, 64))


class Tied(nn.Module):
    """A table that is the last layer's weight, too, behind a norm with gain and shift."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(96, 64), nn.LayerNorm(64)
        self.head = nn.Linear(64, 96, bias=False)
        self.head.weight = self.table.weight
        nn.init.uniform_(self.norm.weight, 0.2, 3)
        nn.init.normal_(self.norm.bias)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.table(ids)))


class TiedTurned(nn.Module):
    """One matrix as it is and turned, with and without a gain before it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.norm = nn.Parameter(torch.randn(64, 64) / 8), nn.RMSNorm(64)
        nn.init.uniform_(self.norm.weight, 0.2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x @ self.weight) @ self.weight.t()


class FunctionOfParameter(nn.Module):
    """GELU of a parameter is staged, not the parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(16, 64))
        self.weight = nn.Parameter(torch.randn(32, 64) / 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x + F.gelu(self.table), torch.tanh(self.weight))


class LowRank(nn.Module):
    """A linear layer with the sum of a low-rank product."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 48)
        self.a, self.b = nn.Parameter(torch.randn(4, 64) / 4), nn.Parameter(torch.randn(48, 4) / 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.linear.weight + 2.0 * (self.b @ self.a), self.linear.bias)


class Recurrent(nn.Module):
    """The outputs of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


class Nested(nn.Module):
    """Inputs in a dictionary, a list, by keyword, and numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(32, 32)

    def forward(
        self,
        batch: dict[str, Tensor],
        others: list[Tensor],
        factor: float,
        *,
        bias: Tensor,
        flag: bool = False,
    ) -> dict[str, Any]:
        y = self.linear(batch["x"]) * factor + others[0] - others[1]
        return {"y": y + bias if flag else y, "count": 2, "nothing": None, "z": batch["z"] + bias}


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between."""
    pairs = pairwise(widths)
    return nn.Sequential(*[part for a, b in pairs for part in (nn.Linear(a, b), nn.ReLU())][:-1])


def nested() -> Call:
    """All kinds of arguments at once."""
    x, z, a, b, bias = (torch.randn(8, 32) for _ in range(5))
    return Nested(), ({"x": x, "z": z}, [a, b], 0.75), {"bias": bias, "flag": True}


def call(module: nn.Module, *inputs: Any, **kwargs: Any) -> Call:
    """A call with these arguments."""
    return module.eval(), inputs, kwargs


def lstm(kind: type[nn.LSTM | nn.GRU]) -> Call:
    """Four steps of a recurrent layer."""
    return call(Recurrent(kind(32, 32, batch_first=True)), torch.randn(2, 4, 32))


def x(*shape: int) -> Tensor:
    """Normal numbers."""
    return torch.randn(shape or (2, 16, 64))


MODULES: dict[str, Callable[[], Call]] = {
    "attention": lambda: call(WrittenAttention(), x()),
    "attention with scaled keys": lambda: call(WrittenAttention(0.3), x()),
    "multi-head attention": lambda: call(
        nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), x(1, 16, 64)
    ),
    "three layers": lambda: call(mlp(64, 128, 128, 32), x(16, 64)),
    "linear, relu, norm": lambda: call(
        nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.LayerNorm(64)), x(16, 64)
    ),
    "LSTM": lambda: lstm(nn.LSTM),
    "GRU": lambda: lstm(nn.GRU),
    "tied": lambda: call(Tied(), torch.randint(96, (2, 8))),
    "tied and turned": lambda: call(TiedTurned(), x(16, 64)),
    "function of a parameter": lambda: call(FunctionOfParameter(), x(16, 64)),
    "low rank": lambda: call(LowRank(), x(16, 64)),
    "weight_norm": lambda: call(parametrizations.weight_norm(nn.Linear(64, 48)), x(16, 64)),
    "spectral_norm": lambda: call(parametrizations.spectral_norm(nn.Linear(64, 48)), x(16, 64)),
    "orthogonal": lambda: call(parametrizations.orthogonal(nn.Linear(64, 48)), x(16, 64)),
    "nested": nested,
}
"""Makes a call of each kind."""


class Biased(nn.Module):
    """A layer or attention of two heads with a constant mask."""

    def __init__(self, inner: nn.Module, mask: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Any:
        if isinstance(self.inner, nn.MultiheadAttention):
            return self.inner(x, x, x, attn_mask=self.mask, need_weights=False)[0]
        return self.inner(x, self.mask)


class Scaled(nn.Module):
    """Causal attention of two heads on one projection, with a scale of its own."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 64), nn.Linear(64, 64)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        q = self.first(x).view(1, -1, 2, 32).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, q, q, is_causal=True, scale=self.scale)
        return self.last(y.transpose(1, 2).reshape(x.shape))
