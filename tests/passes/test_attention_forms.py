"""Every way to write attention becomes one plena.attention with the right masks, heads and scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plena.dialects import plena
from plena.dialects.plena import BandAttr
from plena.host.values.attributes import value_of
from plena.host.values.evaluation import evaluate
from tests.passes.tensor_pipeline import lowered, names, only

CAUSAL = BandAttr(None, 0)


class Form(nn.Module):
    """A function of query, key and value (and more) as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.function(*tensors)


def qkv(batch: int, heads: int, kv_heads: int, queries: int, keys: int, size: int) -> tuple[Tensor, ...]:
    shapes = [(batch, heads, queries, size), (batch, kv_heads, keys, size), (batch, kv_heads, keys, size)]
    return tuple(torch.randn(shape) for shape in shapes)


def repeat_kv(x: Tensor, times: int) -> Tensor:
    batch, heads, length, size = x.shape
    return x[:, :, None].expand(batch, heads, times, length, size).reshape(batch, heads * times, length, size)


def causal_mask(queries: int, keys: int, low: float = float("-inf")) -> Tensor:
    return torch.triu(torch.full((queries, keys), low), diagonal=1)


def written(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float = 0.25, cap: float | None = None
) -> Tensor:
    scores = torch.matmul(q, k.transpose(-1, -2)) * scale
    if cap is not None:
        scores = torch.tanh(scores / cap) * cap
    if mask is not None:
        scores = scores + mask
    return torch.matmul(torch.softmax(scores.float(), dim=-1).to(q.dtype), v)


def einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1])
    return torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), v)


def einsum_sequence_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / 4 + causal_mask(q.shape[1], k.shape[1])
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)


def flat_bmm(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    batch, heads, length, size = q.shape
    q, k, v = (x.reshape(batch * heads, -1, size) for x in (q, k, v))
    scores = torch.bmm(q * 0.3, k.transpose(1, 2)).view(batch, heads, length, -1)
    scores = scores + causal_mask(length, k.shape[1])
    weights = scores.softmax(-1).view(batch * heads, length, -1)
    return torch.bmm(weights, v).view(batch, heads, length, size).transpose(1, 2).reshape(batch, length, -1)


def baddbmm(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    batch, heads, length, size = q.shape
    q, k, v = (x.reshape(batch * heads, -1, size) for x in (q, k, v))
    zeros = torch.zeros(batch * heads, length, k.shape[1])
    scores = torch.baddbmm(zeros, q, k.transpose(1, 2), beta=1.0, alpha=0.5)
    return torch.bmm(scores.softmax(-1), v).view(batch, heads, length, size)


def masked_fill_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    allowed = torch.tril(torch.ones(q.shape[2], k.shape[2]))
    scores = (q @ k.transpose(-2, -1)).masked_fill(allowed == 0, float("-inf"))
    return F.softmax(scores, dim=-1) @ v


def where_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    blocked = torch.triu(torch.ones(q.shape[2], k.shape[2], dtype=torch.bool), 1)
    scores = torch.where(blocked, torch.finfo(q.dtype).min, q @ k.transpose(-2, -1))
    return F.softmax(scores, dim=-1, dtype=torch.float32) @ v


def window(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    distance = torch.arange(k.shape[2])[None, :] - torch.arange(q.shape[2])[:, None]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=(distance <= 0) & (distance > -5))


def both_sides_window(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    distance = torch.arange(k.shape[2])[None, :] - torch.arange(q.shape[2])[:, None]
    mask = torch.zeros(q.shape[2], k.shape[2]).masked_fill(distance.abs() > 3, float("-inf"))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def shifted_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    allowed = torch.tril(
        torch.ones(q.shape[2], k.shape[2], dtype=torch.bool), diagonal=k.shape[2] - q.shape[2]
    )
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)


def grouped_five_axes(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    batch, heads, length, size = q.shape
    kv_heads = k.shape[1]
    grouped = q.view(batch, kv_heads, heads // kv_heads, length, size)
    scores = grouped @ k.unsqueeze(2).transpose(-1, -2) / math.sqrt(size)
    return (scores.softmax(-1) @ v.unsqueeze(2)).reshape(batch, heads, length, size)


def with_sinks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    batch, heads, length, _ = q.shape
    sinks = torch.linspace(-1, 1, heads).reshape(1, -1, 1, 1).expand(batch, -1, length, -1)
    scores = q @ k.transpose(-1, -2) * 0.25 + causal_mask(length, k.shape[2])
    joined = torch.cat([scores, sinks], dim=-1)
    joined = joined - joined.max(dim=-1, keepdim=True).values
    return joined.softmax(-1)[..., :-1] @ v


@dataclass(frozen=True)
class Case:
    """A form, its sizes (batch, heads, kv heads, queries, keys, head size) and what it becomes."""

    function: Callable[..., Tensor]
    sizes: tuple[int, int, int, int, int, int] = (2, 4, 4, 9, 9, 16)
    kv_heads: int | None = None
    scale: float = 0.25
    band: BandAttr | None = None
    softcap: float | None = None


sdpa = F.scaled_dot_product_attention

CASES = {
    "operator": Case(sdpa),
    "operator, scaled": Case(lambda q, k, v: sdpa(q, k, v, scale=0.7), scale=0.7),
    "operator, causal": Case(lambda q, k, v: sdpa(q, k, v, is_causal=True), band=CAUSAL),
    "operator, causal, lengths differ": Case(
        lambda q, k, v: sdpa(q, k, v, is_causal=True), (1, 2, 2, 5, 8, 16), band=CAUSAL
    ),
    "operator, one query": Case(sdpa, (1, 3, 3, 1, 17, 16)),
    "operator, grouped": Case(
        lambda q, k, v: sdpa(q, k, v, enable_gqa=True), (2, 6, 2, 9, 7, 16), kv_heads=2
    ),
    "operator, repeat_kv": Case(
        lambda q, k, v: sdpa(q, repeat_kv(k, 3), repeat_kv(v, 3)), (2, 6, 2, 9, 7, 16), kv_heads=2
    ),
    "operator, repeat_interleave": Case(
        lambda q, k, v: sdpa(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, dim=1)),
        (2, 4, 2, 5, 5, 16),
        kv_heads=2,
    ),
    "operator, one key head expanded": Case(
        lambda q, k, v: sdpa(q, k.expand_as(q), v.expand_as(q)), (2, 4, 1, 6, 6, 16), kv_heads=1
    ),
    "operator, heads tiled": Case(
        lambda q, k, v: sdpa(q, k.repeat(1, 2, 1, 1), v.repeat(1, 2, 1, 1)), (1, 4, 2, 6, 6, 16), kv_heads=4
    ),
    "operator, additive causal mask": Case(
        lambda q, k, v: sdpa(q, k, v, attn_mask=causal_mask(9, 9)), band=CAUSAL
    ),
    "operator, finfo.min causal mask": Case(
        lambda q, k, v: sdpa(
            q, k, v, attn_mask=causal_mask(9, 9, torch.finfo(torch.float32).min)[None, None]
        ),
        band=CAUSAL,
    ),
    "operator, -1e4 causal mask": Case(
        lambda q, k, v: sdpa(q, k, v, attn_mask=causal_mask(9, 9, -1e4).expand(2, 4, 9, 9)), band=CAUSAL
    ),
    "operator, causal window": Case(window, band=BandAttr(-4, 0)),
    "operator, window to both sides": Case(both_sides_window, band=BandAttr(-3, 3)),
    "operator, causal aligned at the end": Case(shifted_causal, (1, 2, 2, 4, 9, 16), band=BandAttr(None, 5)),
    "operator, mask of ones": Case(
        lambda q, k, v: sdpa(q, k, v, attn_mask=torch.ones(9, 9, dtype=torch.bool))
    ),
    "operator, mask of zeros": Case(lambda q, k, v: sdpa(q, k, v, attn_mask=torch.zeros(9, 9))),
    "operator, one head per sample": Case(
        lambda q, k, v: sdpa(q[:, 0], k[:, 0], v[:, 0]), (3, 1, 1, 6, 5, 16), kv_heads=1
    ),
    "written": Case(written),
    "written, causal": Case(lambda q, k, v: written(q, k, v, causal_mask(9, 9)), band=CAUSAL),
    "written, capped": Case(lambda q, k, v: written(q, k, v, cap=30.0), softcap=30.0),
    "written, capped, causal": Case(
        lambda q, k, v: written(q, k, v, causal_mask(9, 9), cap=5.0), softcap=5.0, band=CAUSAL
    ),
    "written, grouped": Case(
        lambda q, k, v: written(q, repeat_kv(k, 2), repeat_kv(v, 2), causal_mask(7, 7)),
        (2, 4, 2, 7, 7, 16),
        kv_heads=2,
        band=CAUSAL,
    ),
    "written, query scaled first": Case(lambda q, k, v: written(q / 8, k, v, scale=2.0)),
    "written, grouped in five axes": Case(grouped_five_axes, (2, 4, 2, 7, 5, 16), kv_heads=2),
    "written, masked_fill": Case(masked_fill_causal, scale=1.0, band=CAUSAL),
    "written, where": Case(where_causal, scale=1.0, band=CAUSAL),
    "einsum": Case(einsum),
    "einsum, sequence first": Case(einsum_sequence_first, band=CAUSAL),
    "einsum, grouped": Case(
        lambda q, k, v: einsum(q, repeat_kv(k, 2), repeat_kv(v, 2)), (2, 4, 2, 5, 9, 16), kv_heads=2
    ),
    "bmm of joined heads": Case(flat_bmm, scale=0.3, band=CAUSAL),
    "baddbmm": Case(baddbmm, scale=0.5),
    "sinks": Case(with_sinks, band=CAUSAL),
}


@pytest.mark.parametrize("name", CASES)
def test_form_becomes_one_attention(name: str) -> None:
    torch.manual_seed(0)
    case = CASES[name]
    batch, heads, *_ = case.sizes
    program = lowered(Form(case.function), *qkv(*case.sizes))
    attention = only(program, plena.AttentionOp)
    assert attention.batch.value.data == batch
    assert attention.heads.value.data == heads
    assert attention.kv_heads.value.data == (case.kv_heads or heads)
    assert attention.scale.value.data == pytest.approx(case.scale, rel=1e-6)
    assert attention.band == case.band
    assert (None if attention.softcap is None else attention.softcap.value.data) == case.softcap
    assert (attention.sinks is not None) == (name == "sinks")
    assert attention.bias is None and attention.key_padding is None


def test_what_stays_around_the_attention() -> None:
    """Only the host's rearrangements of arguments and results, and those of repeated heads that cannot
    group."""
    for name, case in CASES.items():
        program = lowered(Form(case.function), *qkv(*case.sizes))
        allowed = {"plena.attention", "plena.rearrange", "plena.reshape"}
        if name in ("operator, heads tiled", "operator, one head per sample"):
            allowed |= {"plena.expand", "plena.slice"}
        assert set(names(program)) <= allowed, f"{name}: {names(program)}"


class SelfAttention(nn.Module):
    """Projections, heads, attention, output projection, as in most models."""

    def __init__(self, fused: bool = False) -> None:
        super().__init__()
        self.fused = fused
        self.qkv = nn.Linear(64, 192)
        self.q, self.k, self.v = nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(64, 32)
        self.o = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1) if self.fused else (self.q(x), self.k(x), self.v(x))
        q, k, v = (t.view(batch, length, -1, 16).transpose(1, 2) for t in (q, k, v))
        y = sdpa(q, k, v, is_causal=True, enable_gqa=True)
        return self.o(y.transpose(1, 2).reshape(batch, length, 64))


@pytest.mark.parametrize("fused", [False, True])
def test_heads_move_nowhere(fused: bool) -> None:
    program = lowered(SelfAttention(fused), torch.randn(2, 9, 64))
    expected = ["plena.reshape", "plena.projections", "plena.attention", "plena.linear", "plena.reshape"]
    assert names(program) == expected


@pytest.mark.parametrize("batch_first", [False, True])
def test_torch_multihead_attention(batch_first: bool) -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(64, 4, batch_first=batch_first)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    program = lowered(Wrapper(), torch.randn(2, 9, 64))
    assert names(program).count("plena.attention") == 1
    assert "plena.slice" not in names(program)


def padded(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return sdpa(q, k, v, attn_mask=mask[:, None, None, :].bool())


def padded_additively(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    extended = (1.0 - mask[:, None, None, :].float()) * -10000.0
    return written(q, k, v, extended)


def padded_by_inversion(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    expanded = mask[:, None, None, :].expand(q.shape[0], 1, q.shape[2], k.shape[2]).to(q.dtype)
    inverted = 1.0 - expanded
    return written(q, k, v, inverted.masked_fill(inverted.to(torch.bool), torch.finfo(q.dtype).min))


def padded_by_filling(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = q @ k.transpose(-1, -2) / 4
    return scores.masked_fill((mask == 0)[:, None, None, :], float("-inf")).softmax(-1) @ v


def padded_and_causal(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    causal = torch.tril(torch.ones(q.shape[2], k.shape[2], dtype=torch.bool))
    return sdpa(q, k, v, attn_mask=causal[None, None] & mask[:, None, None, :].bool())


@pytest.mark.parametrize(
    "function", [padded, padded_additively, padded_by_inversion, padded_by_filling, padded_and_causal]
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_padding_masks_of_the_input(function: Callable[..., Tensor], dtype: torch.dtype) -> None:
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 5:] = 0
    program = lowered(Form(function), *qkv(2, 4, 4, 9, 9, 16), mask.to(dtype))
    attention = only(program, plena.AttentionOp)
    assert attention.key_padding is not None and attention.bias is None
    assert attention.band == (CAUSAL if function is padded_and_causal else None)


def hidden_keys(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return sdpa(q, k, v, attn_mask=(mask == 0)[:, None, None, :])


def hidden_by_filling(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return (q @ k.mT / 4).masked_fill(mask[:, None, None, :].bool(), float("-inf")).softmax(-1) @ v


def hidden_by_choice(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask[:, None, None, :] != 0, -1e9, q @ k.mT / 4).softmax(-1) @ v


def hidden_additively(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return written(q, k, v, mask[:, None, None, :].float() * -1e9)


def hidden_as_torch_does(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    canonical = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(mask.bool(), float("-inf"))
    return sdpa(q, k, v, attn_mask=canonical[:, None, None, :])


def hidden_or_later(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    later = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).triu(1)
    return (q @ k.mT / 4).masked_fill(mask[:, None, None, :].bool() | later, float("-inf")).softmax(-1) @ v


@pytest.mark.parametrize(
    "function",
    [
        hidden_keys,
        hidden_by_filling,
        hidden_by_choice,
        hidden_additively,
        hidden_as_torch_does,
        hidden_or_later,
    ],
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_masks_of_what_is_hidden(function: Callable[..., Tensor], dtype: torch.dtype) -> None:
    """True where keys take no part, as torch.nn has it."""
    mask = (torch.arange(9)[None] >= torch.tensor([[9], [5]])).to(dtype)
    program = lowered(Form(function), *qkv(2, 4, 4, 9, 9, 16), mask)
    attention = only(program, plena.AttentionOp)
    test = attention.key_padding.owner
    assert isinstance(test, plena.HostOp)
    seen = evaluate(value_of(test.value), [mask.numpy()], no_constant)
    assert np.array_equal(seen, mask.numpy() == 0)
    assert attention.bias is None
    assert attention.band == (CAUSAL if function is hidden_or_later else None)


def test_float_masks_of_what_is_seen() -> None:
    mask = (torch.arange(9)[None] < torch.tensor([[9], [5]])).float()
    module = Form(lambda q, k, v, m: written(q, k, v, (1.0 - m[:, None, None, :]) * -1e4))
    program = lowered(module, *qkv(2, 4, 4, 9, 9, 16), mask)
    assert only(program, plena.AttentionOp).key_padding is not None


def test_two_masks_of_keys() -> None:
    masks = [(torch.arange(9)[None] < torch.tensor(n)[:, None]) for n in ([9, 5], [3, 9])]
    module = Form(lambda q, k, v, m, n: sdpa(q, k, v, attn_mask=(m & n)[:, None, None, :]))
    program = lowered(module, *qkv(2, 4, 4, 9, 9, 16), *masks)
    attention = only(program, plena.AttentionOp)
    joined = attention.key_padding.owner
    assert attention.bias is None and isinstance(joined, plena.HostOp)
    seen = evaluate(value_of(joined.value), [mask.numpy() for mask in masks], no_constant)
    assert np.array_equal(seen, (masks[0] & masks[1]).numpy())


def no_constant(symbol: str) -> Any:
    raise AssertionError(symbol)


def test_padding_known_at_compile_time_is_staged() -> None:
    lengths = torch.tensor([9, 5])

    def function(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return sdpa(q, k, v, attn_mask=(torch.arange(9)[None] < lengths[:, None])[:, None, None])

    attention = only(lowered(Form(function), *qkv(2, 4, 4, 9, 9, 16)), plena.AttentionOp)
    assert isinstance(attention.key_padding.owner, plena.ParameterOp)


def test_other_masks_are_a_bias() -> None:
    torch.manual_seed(1)
    tables = {
        "slopes": (torch.randn(4, 9, 9), (1, 4, 9, 9)),
        "per sample": (torch.randn(2, 1, 9, 9), (2, 1, 9, 9)),
        "boolean": (torch.rand(9, 9) > 0.3, (1, 1, 9, 9)),
    }
    for table, shape in tables.values():
        table[..., 0] = True if table.dtype == torch.bool else 0.0
        program = lowered(Form(lambda q, k, v, t=table: sdpa(q, k, v, attn_mask=t)), *qkv(2, 4, 4, 9, 9, 16))
        attention = only(program, plena.AttentionOp)
        assert plena.real(*shape).shape == attention.bias.type.shape
        assert isinstance(attention.bias.owner, plena.ParameterOp) and attention.key_padding is None


@pytest.mark.parametrize("shape", [(9, 9), (1, 1, 9, 9), (2, 4, 9, 9), (2, 1, 1, 9)])
def test_masks_given_at_run_time(shape: tuple[int, ...]) -> None:
    program = lowered(
        Form(lambda q, k, v, m: sdpa(q, k, v, attn_mask=m)), *qkv(2, 4, 4, 9, 9, 16), torch.randn(shape)
    )
    assert only(program, plena.AttentionOp).bias is not None


def test_bias_and_padding_together() -> None:
    slopes = torch.randn(1, 4, 9, 9)
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[0, 3:] = 0

    def function(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
        bias = torch.where(m[:, None, None, :].bool(), slopes, torch.finfo(torch.float32).min)
        return sdpa(q, k, v, attn_mask=bias)

    attention = only(lowered(Form(function), *qkv(2, 4, 4, 9, 9, 16), mask), plena.AttentionOp)
    assert attention.bias is not None and attention.key_padding is not None


def test_two_masks_are_joined_by_the_host() -> None:
    def function(q: Tensor, k: Tensor, v: Tensor, m: Tensor, n: Tensor) -> Tensor:
        return sdpa(q, k, v, attn_mask=m.logical_and(n))

    masks = (torch.ones(9, 9, dtype=torch.bool), torch.ones(9, 9, dtype=torch.bool))
    found = names(lowered(Form(function), *qkv(1, 2, 2, 9, 9, 16), *masks))
    assert "plena.attention" in found and "plena.softmax" not in found


def test_sums_of_biases_are_made_by_the_host() -> None:
    def function(q: Tensor, k: Tensor, v: Tensor, m: Tensor, n: Tensor) -> Tensor:
        return sdpa(q, k, v, attn_mask=m + torch.where(n > 0, m / 2, -torch.inf))

    inputs = *qkv(1, 2, 2, 9, 9, 16), torch.randn(9, 9), torch.randn(9, 9)
    attention = only(lowered(Form(function), *inputs), plena.AttentionOp)
    assert attention.bias is not None and isinstance(attention.bias.owner, plena.ReshapeOp | plena.HostOp)


def test_biases_that_no_kernel_takes_leave_products_around_a_softmax() -> None:
    def function(q: Tensor, k: Tensor, v: Tensor, m: Tensor, n: Tensor) -> Tensor:
        return sdpa(q, k, v, attn_mask=m.sigmoid() + n)

    program = lowered(Form(function), *qkv(1, 2, 2, 9, 9, 16), torch.randn(9, 9), torch.randn(9, 9))
    assert [
        name for name in names(program) if name in ("plena.matmul", "plena.softmax", "plena.attention")
    ] == [
        "plena.matmul",
        "plena.softmax",
        "plena.matmul",
    ]


def test_value_heads_may_have_another_size() -> None:
    q, k, _ = qkv(2, 4, 4, 9, 7, 16)
    program = lowered(Form(written), q, k, torch.randn(2, 4, 7, 24))
    assert only(program, plena.AttentionOp).value_dim == 24


def test_softmax_that_is_no_attention_stays_one() -> None:
    program = lowered(
        Form(lambda x, w: torch.softmax(x.relu() * 0.5, -1) @ w), torch.randn(6, 5), torch.randn(5, 3)
    )
    assert names(program) == ["plena.activation", "plena.mul_scalar", "plena.softmax", "plena.matmul"]
