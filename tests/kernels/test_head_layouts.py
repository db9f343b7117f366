"""Heads that kernels want in different lanes: moved by products, exactly, with zeros between them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from plena.api.compile import compile
from tests.covering import pairwise
from tests.kernels.checking import MACHINES, check
from tests.poison import check_reads_what_is_defined

tiles = pytest.mark.parametrize("mlen", [16, 64])
ATTENTION_ERROR = 0.02


class Attention(nn.Module):
    """Attention whose projected queries, keys and values go through a function each first."""

    def __init__(self, heads: int, kv_heads: int, size: int, what: str) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size, self.what = heads, kv_heads, size, what
        self.q = nn.Linear(32, heads * size)
        self.k, self.v = (nn.Linear(32, kv_heads * size) for _ in range(2))
        self.gain = nn.Parameter(1 + 0.1 * torch.randn(heads * size))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        match self.what:
            case "norm of all heads":
                q = functional.rms_norm(q, q.shape[-1:], self.gain)
            case "sum":
                q, k = q + 0.5, k + 4 * x.mean(-1, keepdim=True)
            case "read twice":
                v = v * torch.sigmoid(v)
            case "softmax of heads":
                q = q.unflatten(-1, (self.heads, -1)).softmax(-1).flatten(-2)
            case _:
                pass
        q, k, v = (t.unflatten(-1, (-1, self.size)).transpose(-2, -3) for t in (q, k, v))
        found = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        return found.transpose(-2, -3).flatten(-2)


BEFORE = ["norm of all heads", "sum", "read twice", "softmax of heads"]


@pytest.mark.parametrize(("what", "size", "mlen"), pairwise(BEFORE, [8, 24], [16, 64]))
def test_before_attention(what: str, size: int, mlen: int) -> None:
    """Heads that no linear layer has padded, and heads whose padding something has written to."""
    torch.manual_seed(0)
    x = torch.randn(2, 9, 32)
    program = check(Attention(4, 2, size, what), x, target=MACHINES[mlen], error=ATTENTION_ERROR)
    check_reads_what_is_defined(program, x)


class AfterAttention(nn.Module):
    """A function of a function of what attention computes, whose heads have gaps between them."""

    def __init__(self, size: int, what: str) -> None:
        super().__init__()
        self.size, self.what = size, what
        self.qkv = nn.Linear(32, 9 * size)
        self.other = nn.Linear(32, 3 * size)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (3, -1)).transpose(-2, -3) for t in self.qkv(x).chunk(3, -1))
        found = functional.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2)
        match self.what:
            case "sum":
                return self.other(x) + found
            case "gate":
                return functional.silu(found) * self.other(x)
            case "norm":
                return functional.layer_norm(found, found.shape[-1:])
            case "parts":
                heads = found.unflatten(-1, (3, -1))
                return (heads * torch.sigmoid(self.other(x)[..., :3, None])).flatten(-2)
            case "softmax":
                return found.unflatten(-1, (self.size, 3)).softmax(-1).flatten(-2)
            case "maximum":
                return (found - 1).unflatten(-1, (3, -1)).amax(-1)
            case _:
                return found[..., 3 : 2 * self.size]


AFTER = ["sum", "gate", "norm", "parts", "softmax", "maximum", "slice"]


@pytest.mark.parametrize(("what", "size", "mlen"), pairwise(AFTER, [12, 24], [16, 64]))
def test_after_attention(what: str, size: int, mlen: int) -> None:
    torch.manual_seed(1)
    x = torch.randn(1, 7, 32)
    program = check(AfterAttention(size, what), x, target=MACHINES[mlen], error=ATTENTION_ERROR)
    check_reads_what_is_defined(program, x)


class LayersAfterAttention(nn.Module):
    """Equal layers: the first reads heads as an attention left them, the others what the one before made."""

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(32, 9 * size)
        self.layers = nn.ModuleList(nn.Linear(3 * size, 3 * size) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (3, -1)).transpose(-2, -3) for t in self.qkv(x).chunk(3, -1))
        found = functional.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2)
        for layer in self.layers:
            found = (layer(found) + found).clamp(min=0.1)
        return found


@tiles
@pytest.mark.parametrize(("size", "count"), [(12, 2), (20, 4)])
def test_repeated_layers_after_attention(size: int, count: int, mlen: int) -> None:
    """What an iteration makes lies in other lanes than what the first one reads."""
    torch.manual_seed(2)
    x = torch.randn(1, 5, 32)
    target = MACHINES[mlen].with_settings({"MAX_LOOP_INSTRUCTIONS": 2000})
    program = check(LayersAfterAttention(size, count), x, target=target, error=ATTENTION_ERROR)
    assert any("layers.*" in line for line in program.decisions), "the layers are one loop"
    check_reads_what_is_defined(program, x)


@tiles
def test_the_largest_numbers_are_moved_too(mlen: int) -> None:
    """Packing for the broadcast unit multiplies them beyond float32: NaN beside them."""
    torch.manual_seed(3)
    attention = AfterAttention(15, "slice")

    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: Tensor, m: Tensor) -> Tensor:
            q, k, v = (t.unflatten(-1, (3, -1)).transpose(-2, -3) for t in self.attention.qkv(x).chunk(3, -1))
            found = functional.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2)
            return torch.where(m < -1.0, found, torch.finfo(torch.float32).max)

    x, m = torch.randn(1, 7, 32), torch.randn(1, 7, 45)
    program = compile(Chosen(), (x, m), target=MACHINES[mlen])
    found, expected = program.run(x, m, progress=False), Chosen()(x, m)
    huge = m >= -1.0
    assert torch.equal(found > 3e38, huge) and not found.isnan().any()
    assert torch.allclose(found[~huge], expected[~huge], atol=0.05)


@tiles
@settings(max_examples=10)
@given(
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(2, 40),
    st.sampled_from(["mm", "broadcast"]),
    st.integers(0, 9),
)
def test_norms_of_parts_of_any_size(
    mlen: int, rows: int, parts: int, size: int, matmul: str, seed: int
) -> None:
    """Parts that do not fit rows evenly get rows of their own."""
    torch.manual_seed(seed)

    def norm(x: Tensor) -> Tensor:
        return functional.rms_norm(x.unflatten(-1, (parts, size)), (size,)).flatten(-2)

    check(norm, torch.randn(rows, parts * size), target=MACHINES[mlen], matmul=matmul)
