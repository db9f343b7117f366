"""Modules whose buffers change in forward, as people write them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def seen_up_to(positions: Tensor, length: int) -> Tensor:
    """The mask [1, 1, queries, keys] of keys up to each query's position."""
    return (torch.arange(length)[None, :] <= positions[:, None])[None, None]


class CachedAttention(nn.Module):
    """One layer of a decoder whose keys and values are buffers [batch, heads, length, size].

    `write` is how rows get there: "index_copy", "index_put" or "slice" (always row 0).
    """

    keys: Tensor
    values: Tensor

    def __init__(
        self,
        features: int = 64,
        heads: int = 2,
        kv_heads: int = 2,
        size: int = 32,
        length: int = 32,
        batch: int = 1,
        write: str = "index_copy",
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size, self.write = heads, kv_heads, size, write
        self.norm = nn.RMSNorm(features)
        self.query = nn.Linear(features, heads * size, bias=False)
        self.key = nn.Linear(features, kv_heads * size, bias=False)
        self.value = nn.Linear(features, kv_heads * size, bias=False)
        self.out = nn.Linear(heads * size, features, bias=False)
        self.register_buffer("keys", torch.zeros(batch, kv_heads, length, size))
        self.register_buffer("values", torch.zeros(batch, kv_heads, length, size))

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.view(x.shape[0], x.shape[1], heads, self.size).transpose(1, 2)

    def _keep(self, cache: Tensor, rows: Tensor, positions: Tensor) -> None:
        match self.write:
            case "index_copy":
                cache.index_copy_(2, positions, rows)
            case "index_put":
                cache[:, :, positions] = rows
            case _:
                cache[:, :, : rows.shape[2]] = rows

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        y = self.norm(x)
        query = self._split(self.query(y), self.heads)
        self._keep(self.keys, self._split(self.key(y), self.kv_heads), positions)
        self._keep(self.values, self._split(self.value(y), self.kv_heads), positions)
        grouped = self.heads != self.kv_heads
        found = F.scaled_dot_product_attention(
            query, self.keys, self.values, attn_mask=mask, enable_gqa=grouped
        )
        return x + self.out(found.transpose(1, 2).flatten(2))


class Sequences(CachedAttention):
    """Several sequences, a new row each at a position of its own: sequence b has the rows from b * length on."""

    def __init__(self, batch: int, length: int, **settings: int) -> None:
        super().__init__(batch=1, length=batch * length, **settings)  # type: ignore[arg-type]
        self.batch = batch

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:  # type: ignore[override]
        length = self.keys.shape[2] // self.batch
        rows = positions + torch.arange(self.batch) * length
        seen = (torch.arange(length)[None] <= positions[:, None])[:, None, None]
        y = self.norm(x)
        query = self._split(self.query(y), self.heads)
        kept: list[Tensor] = []
        for cache, project in ((self.keys, self.key), (self.values, self.value)):
            new = self._split(project(y), self.kv_heads)
            cache.index_copy_(2, rows, new[:, :, 0].transpose(0, 1)[None])
            kept.append(cache[0].view(self.kv_heads, self.batch, length, self.size).transpose(0, 1))
        found = F.scaled_dot_product_attention(
            query, *kept, attn_mask=seen, enable_gqa=self.heads != self.kv_heads
        )
        return x + self.out(found.transpose(1, 2).flatten(2))


class Decoder(nn.Module):
    """Some such layers."""

    def __init__(self, layers: int, **settings: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CachedAttention(**settings) for _ in range(layers))  # type: ignore[arg-type]

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, positions, mask)
        return x


class Rows(nn.Module):
    """A buffer of rows; returns their mean beside what it is given."""

    rows: Tensor

    def __init__(self, *shape: int, dim: int = 0) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("rows", torch.zeros(shape))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        self.rows.index_copy_(self.dim, positions, x)
        return x * 2


class Counter(nn.Module):
    """Counts its calls."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1, 64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return x + self.calls


class RunningMean(nn.Module):
    """Takes a running mean of features off them."""

    mean: Tensor

    def __init__(self, features: int = 100) -> None:
        super().__init__()
        self.register_buffer("mean", torch.linspace(-1, 1, features))
        self.linear = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        self.mean.mul_(0.75).add_(y.mean(0) * 0.25)
        return y - self.mean


class Shifted(nn.Module):
    """The last eight rows that it was given, the newest last."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.zeros(1, 8, 64))

    def forward(self, x: Tensor) -> Tensor:
        self.window.copy_(torch.cat([self.window[:, 1:], x], 1))
        return self.window.mean(1)


class OldAndNew(nn.Module):
    """Reads what its buffer held before and what it holds then."""

    rows: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rows", torch.ones(16, 64))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        old = self.rows.clone()
        self.rows[positions] = x
        return old.sum(0) - self.rows.sum(0) * 2


class Places(nn.Module):
    """Writes constant places of a buffer: a slice, and one row."""

    rows: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rows", torch.ones(16, 64))

    def forward(self, x: Tensor) -> Tensor:
        self.rows[3:5] = x
        self.rows[7] = x[0] * 2
        return x + self.rows.mean(0)
