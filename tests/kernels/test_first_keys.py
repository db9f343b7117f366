"""Attention over the first rows of a longer cache: read where they are, whatever lies behind them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import plena
from tests.kernels.checking import machine


class FirstKeys(nn.Module):
    """A token of each sample joins its cache of `length` rows, and sees the first `bucket` of them."""

    def __init__(self, samples: int, length: int, bucket: int, heads: int, kv_heads: int, size: int) -> None:
        super().__init__()
        self.samples, self.length, self.bucket = samples, length, bucket
        self.heads, self.kv_heads, self.size = heads, kv_heads, size
        torch.manual_seed(0)
        self.query = nn.Linear(32, heads * size)
        self.key = nn.Linear(32, kv_heads * size)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.randn(samples * length, kv_heads, size))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        rows = positions + torch.arange(self.samples) * self.length
        mask = torch.arange(self.bucket) <= positions[:, None]
        new = self.key(x).view(self.samples, self.kv_heads, self.size)
        seen: list[Tensor] = []
        for buffer in (self.keys, self.values):
            assert isinstance(buffer, Tensor)
            buffer.index_copy_(0, rows, new)
            whole = buffer.view(self.samples, self.length, self.kv_heads, self.size)
            seen.append(whole[:, : self.bucket].transpose(1, 2))
        queries = self.query(x).view(self.samples, 1, self.heads, self.size).transpose(1, 2)
        found = nn.functional.scaled_dot_product_attention(
            queries, *seen, attn_mask=mask[:, None, None], enable_gqa=True
        )
        return found.transpose(1, 2).reshape(self.samples, -1)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("heads", [(4, 2, 16), (4, 4, 8), (2, 2, 24)], ids=str)
@pytest.mark.parametrize(("length", "bucket"), [(40, 16), (24, 10)])
def test_first_keys(samples: int, heads: tuple[int, int, int], length: int, bucket: int) -> None:
    target = machine(16)
    module = FirstKeys(samples, length, bucket, *heads).eval()
    x, positions = torch.randn(samples, 32), torch.tensor([bucket - 1, 3, 0][:samples])
    program = plena.compile(module, (x, positions), target=target)
    report = program.check(x, positions)
    assert report.passed, str(report)
    in_place = "load state" not in program.asm
    assert in_place == (heads[2] >= target.mlen), "heads that share a column block are taken apart first"
