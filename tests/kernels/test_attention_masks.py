"""Masks and biases of attention against PyTorch itself: what hides, what only weighs little, and queries without a key.

Operands hold quarters, which every number format of the machine keeps: PyTorch computes with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as sdpa

import plena
from plena.errors import PlenaError
from tests.covering import pairwise
from tests.kernels.checking import MACHINES, Function, machine

INF, LOWEST = float("inf"), torch.finfo(torch.float32).min
SMALL = machine(16, MATRIX_SRAM_SIZE=16 * 16)

ROWS: dict[str, Any] = {"matmul": "mm", "attention": "rows"}
ONLINE: dict[str, Any] = {"matmul": "mm", "attention": "online"}
FORMS: dict[str, dict[str, Any]] = {
    "auto": {},
    "rows": ROWS,
    "online": ONLINE,
    "broadcast": {"matmul": "broadcast"},
}
USUAL = ["auto", "online"]
EVERY_FORM = pytest.mark.parametrize(
    "form", [pytest.param(form, marks=() if form in USUAL else pytest.mark.slow) for form in FORMS]
)


def forms(*axes: Iterable[Any]) -> list[Any]:
    """Cases, last of each its form, in which every two values meet; the whole product when slow tests run."""
    values = [list(axis) for axis in axes]
    usual = pairwise(*values, USUAL)
    return [
        pytest.param(*case, marks=() if case in usual else pytest.mark.slow)
        for case in product(*values, FORMS)
    ]


ROUNDING = 0.04
"""Relative error of one query's result: bf16 scores of up to 8 are off by up to 1/32, and so are their exponentials."""


def quarters(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-4, 5, shape, generator=generator) / 4


def operands(
    batch: int, heads: int, queries: int, keys: int, size: int = 16
) -> tuple[Tensor, Tensor, Tensor]:
    shapes = ((batch, heads, queries, size), (batch, heads, keys, size), (batch, heads, keys, size))
    q, k, v = (quarters(*shape, seed=seed) for seed, shape in enumerate(shapes))
    return q, k, v


def agrees(
    function: Callable[..., Tensor], *inputs: Tensor, target: plena.Target = SMALL, **options: Any
) -> None:
    """The program gives each query what PyTorch gives it: numbers, zeros or NaN."""
    module = function if isinstance(function, nn.Module) else Function(function)
    with torch.no_grad():
        wanted = module(*inputs)
    program = plena.compile(module, inputs, target=target, **options)
    found = program.run(*inputs, progress=False)
    assert torch.equal(found.isnan(), wanted.isnan()), "NaN elsewhere"
    found, wanted = found.nan_to_num(0), wanted.nan_to_num(0)
    error = (found - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp(min=0.1)
    assert error.max() <= ROUNDING, f"a query is off by {error.max():.1%}"
    assert program.machine_reference is not None
    (reference,) = program.machine_reference(*inputs)
    assert torch.equal(reference.nan_to_num(0), found)


def scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT * 0.25


def kept(*lengths: int, total: int, left: bool = False) -> Tensor:
    """[samples, total]: true for that many keys of each sample, the last ones if they are padded on the left."""
    places = torch.arange(total)[None]
    count = torch.tensor(lengths)[:, None]
    return places >= total - count if left else places < count


def lower(total: int, distance: int = 0) -> Tensor:
    return torch.ones(total, total, dtype=torch.bool).tril(distance)


T = 24
ALL = torch.ones(T, T, dtype=torch.bool)


class Hiding:
    """Ways to hide keys, given what each query sees [b, 1, s, T]."""

    @staticmethod
    def boolean(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        return sdpa(q, k, v, attn_mask=seen)

    @staticmethod
    def infinite(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        return sdpa(q, k, v, attn_mask=torch.where(seen, 0.0, -INF))

    @staticmethod
    def lowest(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        return sdpa(q, k, v, attn_mask=torch.where(seen, 0.0, LOWEST))

    @staticmethod
    def written_infinite(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        return scores(q, k).masked_fill(~seen, -INF).softmax(-1) @ v

    @staticmethod
    def written_lowest(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        return scores(q, k).masked_fill(~seen, LOWEST).softmax(-1) @ v

    @staticmethod
    def written_small(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        return scores(q, k).masked_fill(~seen, -1e4).softmax(-1) @ v


NAMES = [name for name in vars(Hiding) if not name.startswith("_")]
WAYS = [getattr(Hiding, name) for name in NAMES]
EVERY_WAY = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@EVERY_FORM
@EVERY_WAY
def test_queries_without_a_key_that_run_time_masks_leave(way: Callable[..., Tensor], form: str) -> None:
    """Left padding and causal: the first queries of the second sample see padding only; the third sample is empty."""
    seen = kept(T, T - 9, 0, total=T, left=True)
    causal = lower(T)

    def attention(q: Tensor, k: Tensor, v: Tensor, keys: Tensor) -> Tensor:
        return way(q, k, v, keys[:, None, None, :] & causal)

    agrees(attention, *operands(3, 1, T, T), seen, **FORMS[form])


@pytest.mark.parametrize(("way", "empty", "form"), forms(NAMES, ["first", "last"]))
def test_queries_without_a_key_that_constant_masks_leave(way: str, empty: str, form: str) -> None:
    """A window without the diagonal: the first query has nothing to look at; the opposite: the last one."""
    window = (lower(T, -1) & ~lower(T, -9))[None, None]
    seen = window if empty == "first" else window.mT
    agrees(lambda q, k, v: getattr(Hiding, way)(q, k, v, seen), *operands(1, 2, T, T), **FORMS[form])


@pytest.mark.parametrize(("causal", "number", "form"), forms([False, True], [-1e4, -1e9, LOWEST]))
def test_numbers_added_to_masked_keys(number: float, causal: bool, form: str) -> None:
    """What float32 absorbs leaves a uniform row, a smaller number the softmax without the mask."""
    before = lower(T) if causal else ALL

    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        added = (1.0 - mask[:, None, None, :].float()) * number
        return (scores(q, k).masked_fill(~before, -INF) + added).softmax(-1) @ v

    agrees(attention, *operands(3, 1, T, T), kept(T, T - 9, 0, total=T, left=True), **FORMS[form])


def test_two_masks_that_each_add_the_lowest_number() -> None:
    """Keys that both hide are at minus infinity: the others share the row."""
    causal = torch.zeros(T, T).masked_fill(~lower(T), LOWEST)

    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        padding = (1.0 - mask[:, None, None, :].float()) * LOWEST
        return (scores(q, k) + causal + padding).softmax(-1) @ v

    for options in FORMS.values():
        agrees(attention, *operands(3, 1, T, T), kept(T, T - 9, 9, total=T, left=True), **options)


def hides(seen: Tensor, number: float) -> Tensor:
    return torch.zeros(seen.shape).masked_fill(~seen, number)


RUN_TIME = kept(T, T - 9, 9, total=T, left=True)
LEFT, CAUSAL, WINDOW = RUN_TIME[:, None, None, :], lower(T), lower(T) & ~lower(T, -5)
BIAS = quarters(T, T)

Masked = Callable[[Tensor, Tensor], Tensor]
"""Scores, and a mask that is an input and false where keys are padding, masked."""

SUMS: dict[str, Masked] = {
    "a constant": lambda s, _: s + hides(CAUSAL, -1e9) + hides(LEFT, -1e9),
    "one sum": lambda s, m: s + (hides(CAUSAL, -1e9) + torch.where(m, 0.0, -1e9)),
    "three": lambda s, m: s + torch.where(m, 0.0, -1e9) + hides(CAUSAL, -1e9) + hides(WINDOW, -1e9),
    "one twice": lambda s, m: s + torch.where(m, 0.0, -1e9) + hides(WINDOW, -1e9) + hides(WINDOW, -1e9),
    "one put between": lambda s, m: (s + hides(CAUSAL, -1e9)).masked_fill(~m, -1e9) + hides(WINDOW, -1e9),
    "other numbers": lambda s, m: s + hides(CAUSAL, -1e9) + torch.where(m, 0.0, -1e4),
    "small ones": lambda s, m: s.masked_fill(~CAUSAL, -1e4) + torch.where(m, 0.0, -1e4),
    "a bias between": lambda s, m: s + (torch.where(m, 0.0, -1e4) + BIAS) + hides(WINDOW, -1e9),
}


@pytest.mark.parametrize("form", USUAL)
@pytest.mark.parametrize("name", SUMS)
def test_of_masks_that_add_up_the_least_hidden_keys_win(name: str, form: str) -> None:
    """-1e9 and -1e9 is -2e9: in rows of nothing else the keys that are hidden once share the row."""

    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return SUMS[name](scores(q, k), mask[:, None, None, :]).softmax(-1) @ v

    agrees(attention, *operands(3, 1, T, T), RUN_TIME, **FORMS[form])


@pytest.mark.parametrize("written", [False, True])
def test_an_input_of_numbers_that_hide_is_added_to_a_constant(written: bool) -> None:
    causal = hides(CAUSAL, -1e9)

    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        if written:
            return (scores(q, k) + mask + causal).softmax(-1) @ v
        return sdpa(q, k, v, attn_mask=mask + causal)

    agrees(attention, *operands(3, 1, T, T), hides(LEFT, -1e9))


def test_numbers_that_mean_neither_are_refused() -> None:
    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return (scores(q, k) + (1.0 - mask[:, None, None, :].float()) * -1e7).softmax(-1) @ v

    with pytest.raises(PlenaError, match="hide keys by -1e\\+07"):
        plena.compile(Function(attention), (*operands(1, 1, T, T), kept(T, total=T)), target=SMALL)


def biases() -> dict[str, Tensor]:
    """Biases [1, heads or 1, queries or 1, keys], most rows of them different from the one before."""
    distance = torch.arange(T)[None] - torch.arange(T)[:, None]
    slopes = torch.tensor([0.5, 8.0])[:, None, None]
    random = quarters(1, 1, T, T, seed=3)
    rows = random.clone()
    rows[..., 1] = -INF
    rows[0, 0, 2] = -INF
    rows[0, 0, 3] = LOWEST
    rows[0, 0, 4] = -1e9
    rows[0, 0, 5] = -1e4
    rows[0, 0, 6] -= 1000
    rows[0, 0, 7, ::3] = -1e4
    rows[0, 0, 8, ::2] = -190
    rows[0, 0, 9, 5:] = LOWEST
    rows[0, 0, 10] = -1e4 - torch.arange(T) / 4
    keys = torch.zeros(1, 1, 1, T)
    keys[..., 2], keys[..., 3], keys[..., 4] = -INF, LOWEST, -2
    return {
        "slopes": (-distance.abs() * slopes)[None],
        "slopes, causal": (distance * slopes).masked_fill(distance > 0, -INF)[None],
        "-190 to -200": random * 5 - 195,
        "rows": rows,
        "keys": keys,
        "keys far below": quarters(1, 1, 1, T, seed=4) * 5 - 195,
        "no key": torch.full((1, 1, 1, T), -INF),
        "lowest": torch.full((1, 1, 1, T), LOWEST),
        "-1e4": torch.full((1, 1, 1, T), -1e4),
    }


@pytest.mark.parametrize(("name", "given", "form"), forms(biases(), ["constant", "input"]))
def test_biases(name: str, given: str, form: str) -> None:
    """As constants and as inputs, of the operator and written out."""
    bias = biases()[name]
    q, k, v = operands(1, 2, T, T)
    if given == "constant":
        agrees(lambda q, k, v: sdpa(q, k, v, attn_mask=bias), q, k, v, **FORMS[form])
        return
    if name == "rows":
        bias[
            0, 0, 8
        ] = -190  # an input is staged in the format alone: beside -190 it would round small numbers
    agrees(lambda q, k, v, bias: sdpa(q, k, v, attn_mask=bias), q, k, v, bias, **FORMS[form])
    if name == "rows":
        agrees(lambda q, k, v, bias: (scores(q, k) + bias).softmax(-1) @ v, q, k, v, bias, **FORMS[form])


@EVERY_FORM
@pytest.mark.parametrize("number", [-INF, LOWEST])
def test_slopes_by_key_before_a_causal_mask(number: float, form: str) -> None:
    """The highest bias of all is hidden from most queries: each has its own."""
    slopes = torch.arange(T) * torch.tensor([0.5, 8.0])[:, None, None]

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (scores(q, k) + slopes).masked_fill(~lower(T), number).softmax(-1) @ v

    agrees(attention, *operands(1, 2, T, T), **FORMS[form])


def test_slopes_over_more_keys_than_they_were_clamped_at() -> None:
    """Behind 256 keys a slope of 0.5 is below -128, and still tells one far key from another."""
    length = 320
    distance = torch.arange(length)[None] - torch.arange(length)[:, None]
    slopes = (distance * 0.5).masked_fill(distance > 0, -INF)
    q, k, v = operands(1, 1, length, length)
    agrees(lambda q, k, v: sdpa(q, k, v, attn_mask=slopes), q, k, v, target=MACHINES[64])
    q, k = torch.zeros_like(q), torch.zeros_like(k)
    q[..., 0], k[:, :, [3, 40], 0] = 4.0, 192.0
    agrees(lambda q, k, v: sdpa(q, k, v, attn_mask=slopes), q, k, v, target=MACHINES[64])


@pytest.mark.parametrize(("rows", "given", "form"), forms([1, T], ["constant", "input"]))
def test_hidden_keys_do_not_leak(rows: int, given: str, form: str) -> None:
    """The hidden key's score is hundreds above the others."""
    q, k, v = operands(1, 2, T, T)
    q, k = q.abs() + 1, k.clone()
    k[:, :, 3] = 30.0
    mask = torch.zeros(1, 1, rows, T).index_fill(3, torch.tensor([3]), -INF)
    if given == "constant":
        agrees(lambda q, k, v: sdpa(q, k, v, attn_mask=mask), q, k, v, **FORMS[form])
    else:
        agrees(lambda q, k, v, mask: sdpa(q, k, v, attn_mask=mask), q, k, v, mask, **FORMS[form])


def test_sinks_beside_hidden_keys() -> None:
    """A sink has a score of its own: rows are not shifted, and no query is without one."""
    bias = biases()["rows"]
    bias[0, 0, 8] = -190  # beside small numbers, which one block would round
    sinks = nn.Parameter(torch.tensor([0.5, -1.0]))

    class Sinks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sinks = sinks

        def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
            joined = torch.cat([scores(q, k) + bias, self.sinks.view(1, -1, 1, 1).expand(1, 2, T, 1)], -1)
            return joined.softmax(-1)[..., :-1] @ v

    for options in FORMS.values():
        agrees(Sinks(), *operands(1, 2, T, T), bias, **options)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", ["keys", "keys as numbers", "queries"])
def test_multi_head_attention(kind: str, need_weights: bool) -> None:
    """PyTorch's separate operators: NaN with the weights, the projection of zeros without."""
    torch.manual_seed(0)

    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(32, 2, batch_first=True)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            name = "attn_mask" if kind == "queries" else "key_padding_mask"
            return self.attention(x, x, x, need_weights=need_weights, **{name: mask})[0]

    module = SelfAttention().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((parameter * 8).round() / 8)
        module.attention.out_proj.bias.fill_(0.5)
    hidden = ~kept(20, 0, 13, total=20)
    mask = torch.zeros(20, 20, dtype=torch.bool).index_fill(0, torch.tensor([3]), True)
    if kind != "queries":
        mask = hidden if kind == "keys" else torch.zeros(hidden.shape).masked_fill(hidden, -INF)
    x = quarters(3, 20, 32)
    program = plena.compile(module, (x, mask), target=MACHINES[16])
    found, wanted = program.run(x, mask, progress=False), module(x, mask).detach()
    assert wanted.isnan().any() == need_weights
    assert torch.equal(found.isnan(), wanted.isnan())
    assert (found - wanted).nan_to_num(0).norm() <= 0.08 * wanted.nan_to_num(0).norm()


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """A machine, a form, sizes, and what each query sees: in rows, for all queries, in a band, or both."""
    queries, keys = draw(st.integers(1, 40)), draw(st.sampled_from([1, 7, 16, 17, 33]))
    return {
        "mlen": draw(st.sampled_from([16, 32])),
        "form": draw(st.sampled_from(sorted(FORMS))),
        "way": draw(st.sampled_from(WAYS)),
        "queries": queries,
        "keys": keys,
        "heads": draw(st.integers(1, 2)),
        "by": draw(st.sampled_from(["keys", "matrix"])),
        "constant": draw(st.booleans()),
        "band": draw(st.none() | st.tuples(st.integers(-20, 5), st.integers(0, 20))),
        "share": draw(st.sampled_from([0.0, 0.05, 0.5])),
        "seed": draw(st.integers(0, 99)),
    }


@settings(max_examples=16)
@given(cases())
def test_any_mask(case: dict[str, Any]) -> None:
    queries, keys, way = case["queries"], case["keys"], case["way"]
    generator = torch.Generator().manual_seed(case["seed"])
    shape = (2, 1, 1 if case["by"] == "keys" else queries, keys)
    seen = torch.rand(shape, generator=generator) < case["share"]
    band = torch.ones(queries, keys, dtype=torch.bool)
    if case["band"] is not None:
        low, width = case["band"]
        band = band.triu(low).tril(low + width)
    options: dict[str, Any] = {"target": machine(case["mlen"]), **FORMS[case["form"]]}
    q, k, v = operands(2, case["heads"], queries, keys)
    if case["constant"]:
        agrees(lambda q, k, v: way(q, k, v, seen & band), q, k, v, **options)
    else:
        agrees(lambda q, k, v, seen: way(q, k, v, seen & band), q, k, v, seen, **options)


Scores = Callable[[Tensor, Tensor, Tensor], Tensor]


def _filled(bias: Tensor, keep: Tensor, number: float) -> Tensor:
    return bias.expand(2, 1, 9, 9).masked_fill(~keep[:, None, None], number)


BIASED: dict[str, Scores] = {
    "hidden": lambda s, b, keep: (s + b).masked_fill(~keep[:, None, None], -torch.inf),
    "by a large number": lambda s, b, keep: (s + b).masked_fill(~keep[:, None, None], -1e9),
    "by a number that biases are near": lambda s, b, keep: (s + b).masked_fill(~keep[:, None, None], -1e4),
    "in the mask": lambda s, b, keep: s + _filled(b, keep, -1e4),
    "in the mask, by a large number": lambda s, b, keep: s + _filled(b, keep, -1e9),
    "before the bias": lambda s, b, keep: s + (_filled(torch.zeros(9, 9), keep, -1e4) + b),
    "of two biases": lambda s, b, keep: s + (torch.where(keep[:, None, None], b, -torch.inf) + b.T / 64),
}


@pytest.mark.parametrize("kind", ["input", "constant", "sdpa"])
@pytest.mark.parametrize("name", BIASED)
def test_keys_hide_the_largest_bias_of_a_row(name: str, kind: str) -> None:
    """The scores beside those that are seen keep their bits; rows without a key are what float32 makes of them."""
    torch.manual_seed(0)
    function = BIASED[name]
    bias, keep = torch.randn(9, 9) * 3 - 190, torch.ones(2, 9, dtype=torch.bool)
    bias[:, 6:], keep[1, 6:] = 30.0, False

    class Attention(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor, b: Tensor, keep: Tensor) -> Tensor:
            b = bias if kind == "constant" else b
            if kind == "sdpa":
                mask = function(torch.zeros(2, 1, 9, 9), b, keep)
                return nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=0.3)
            return function(0.3 * (q @ k.mT), b, keep).softmax(-1) @ v

    q, k, v = operands(2, 2, 9, 9)
    program = plena.compile(Attention(), (q, k, v, bias, keep))
    for rows in (slice(0), slice(0, 1)):
        keep[rows] = "number" not in name
        inputs = q, k, v, bias, keep
        report = program.check(*inputs, quiet=True)
        assert report.passed, report.failures
        result, wanted = program.run(*inputs), Attention()(*inputs)
        assert (result - wanted).norm() < ROUNDING * wanted.norm()
