"""Random attention modules and transformer blocks: the tensor level computes what PyTorch computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from plena.dialects import plena
from tests.passes.tensor_pipeline import lowered, only

MASKS = ("none", "causal", "window", "bias", "boolean", "padding", "padding and causal")


class Attention(nn.Module):
    """Attention over projected heads; every choice is a setting."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.s = settings
        width, heads, kv_heads, size = (settings[k] for k in ("width", "heads", "kv_heads", "size"))
        self.q = nn.Linear(width, heads * size, bias=settings["bias"])
        self.k = nn.Linear(width, kv_heads * size, bias=settings["bias"])
        self.v = nn.Linear(width, kv_heads * size, bias=settings["bias"])
        self.o = nn.Linear(heads * size, width)
        self.norm = nn.RMSNorm(size, eps=1e-5) if settings["head_norm"] else nn.Identity()

    def mask(self, x: Tensor, padding: Tensor) -> Tensor | None:
        length = x.shape[1]
        lower = torch.ones(length, length, dtype=torch.bool).tril()
        padded = padding[:, None, None, :].bool()
        match self.s["mask"]:
            case "causal":
                return lower
            case "window":
                return lower & lower.T.tril(2)
            case "bias":
                return torch.arange(float(length * length)).reshape(length, length).sin()
            case "boolean":
                return lower | (torch.arange(length) % 2 == 0)
            case "padding":
                return padded
            case "padding and causal":
                return lower & padded
            case _:
                return None

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        batch, length, _ = x.shape
        heads, kv_heads, size = (self.s[k] for k in ("heads", "kv_heads", "size"))
        q, k, v = (f(x).view(batch, length, -1, size).transpose(1, 2) for f in (self.q, self.k, self.v))
        q, k = self.norm(q), self.norm(k)
        group = heads // kv_heads
        if self.s["repeat"] == "expand":
            shape = (batch, kv_heads, group, length, size)
            k, v = (t[:, :, None].expand(shape).reshape(batch, heads, length, size) for t in (k, v))
        else:
            k, v = (t.repeat_interleave(group, dim=1) for t in (k, v))
        mask = self.mask(x, padding)
        if self.s["written"]:
            scores = q @ k.transpose(-2, -1) * size**-0.5
            if mask is not None and mask.dtype == torch.bool:
                scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            elif mask is not None:
                scores = scores + mask
            y = scores.softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o(y.transpose(1, 2).reshape(batch, length, heads * size))


class Block(nn.Module):
    """Attention and a gated or plain MLP, before or behind their norms."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.s = settings
        width = settings["width"]
        norm = nn.RMSNorm if settings["rms"] else nn.LayerNorm
        self.norms = nn.ModuleList([norm(width, eps=1e-5), norm(width, eps=1e-5)])
        self.attention = Attention(settings)
        self.gate, self.up = nn.Linear(width, 12, bias=False), nn.Linear(width, 12, bias=False)
        self.down = nn.Linear(12, width)

    def mlp(self, x: Tensor) -> Tensor:
        activation = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu}[self.s["activation"]]
        hidden = activation(self.gate(x))
        return self.down(hidden * self.up(x) if self.s["gated"] else hidden)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        first, second = self.norms
        if self.s["norm_first"]:
            x = x + self.attention(first(x), padding)
            return x + self.mlp(second(x))
        x = first(x + self.attention(x, padding))
        return second(x + self.mlp(x))


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    kv_heads = draw(st.integers(1, 3))
    flags = ("bias", "head_norm", "written", "rms", "gated", "norm_first")
    return {
        "batch": draw(st.integers(1, 3)),
        "length": draw(st.integers(1, 9)),
        "width": draw(st.sampled_from([6, 8, 16])),
        "kv_heads": kv_heads,
        "heads": kv_heads * draw(st.integers(1, 3)),
        "size": draw(st.sampled_from([2, 4, 8])),
        "mask": draw(st.sampled_from(MASKS)),
        "repeat": draw(st.sampled_from(["expand", "interleave"])),
        "activation": draw(st.sampled_from(["silu", "gelu", "relu"])),
        **{flag: draw(st.booleans()) for flag in flags},
    }


def inputs(settings: dict[str, Any]) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    padding = torch.ones(settings["batch"], settings["length"], dtype=torch.int64)
    padding[0, 1 + settings["length"] // 2 :] = 0
    return torch.randn(settings["batch"], settings["length"], settings["width"]), padding


@settings(max_examples=5)
@given(configurations())
def test_attention(configuration: dict[str, Any]) -> None:
    program = lowered(Attention(configuration), *inputs(configuration))
    attention = only(program, plena.AttentionOp)
    assert attention.heads.value.data == configuration["heads"]
    assert attention.kv_heads.value.data == configuration["kv_heads"]


@settings(max_examples=5)
@given(configurations())
def test_transformer_block(configuration: dict[str, Any]) -> None:
    lowered(Block(configuration), *inputs(configuration))


@pytest.mark.slow
@settings(max_examples=300)
@given(configurations())
def test_many_transformer_blocks(configuration: dict[str, Any]) -> None:
    lowered(Block(configuration), *inputs(configuration))
