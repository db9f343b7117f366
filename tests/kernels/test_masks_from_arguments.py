"""Integers, booleans and numbers that a model compares: the host decides, and assumes nothing of their values."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as sdpa

from plena.api.compile import compile
from plena.errors import CompileError, PlenaError
from plena.host.image import StagingWarning
from tests.covering import in_turn, pairwise
from tests.kernels.against_torch import against_torch, bits, exact
from tests.kernels.checking import MACHINES, Function

WORDS = 60_000
IDS = [torch.tensor([[3, 0, 1, 2, 1, 0, 4, 1]]), torch.tensor([[-1, WORDS - 1, 1, -100, 0, 0, 5, 2**40 + 1]])]
"""Small ones, and ones of any size beside each other."""
ROWS = exact(1, 8, 24)
ATTENTION_ERROR = 0.05
"""What keys and values in MX E4M3 cost at most in attention over a few keys."""

TESTS: dict[str, Callable[[Tensor], Tensor]] = {
    "ne 0": lambda i: i != 0,
    "eq 0": lambda i: i == 0,
    "ne 1": lambda i: i != 1,
    "eq 1": lambda i: i == 1,
    "gt 1": lambda i: i > 1,
    "le 0.5": lambda i: i <= 0.5,
    "number on the left": lambda i: torch.tensor(1) < i,
    "bool": lambda i: i.bool(),
    "not bool": lambda i: ~i.bool(),
    "of a test": lambda i: (i == 1).long() < 1,
    "always": lambda i: (i == 1).long() >= 0,
    "never": lambda i: (i == 1).int() == 2,
    "either": lambda i: (i == 1) | (i == -1),
    "both": lambda i: (i != 1) & (i != 0),
    "far": lambda i: i == WORDS - 1,
}
USES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "times": lambda x, m: x * m.unsqueeze(-1),
    "times number": lambda x, m: x * m.unsqueeze(-1).float(),
    "filled": lambda x, m: x.masked_fill(m.unsqueeze(-1), 0.5),
    "chosen": lambda x, m: torch.where(m[..., None], x, x + 1),
    "added": lambda x, m: x + m.to(torch.float32)[:, :, None],
}


@pytest.mark.parametrize(
    ("use", "test", "mlen"), pairwise(USES, ["ne 1", "eq 0", "bool", "either"], MACHINES)
)
def test_uses(use: str, test: str, mlen: int) -> None:
    function = Function(lambda i, x: USES[use](x, TESTS[test](i)))
    against_torch(function, *((ids, ROWS) for ids in IDS), target=MACHINES[mlen])


@pytest.mark.parametrize("test", TESTS)
def test_tests(test: str) -> None:
    against_torch(lambda i, x: x * TESTS[test](i).unsqueeze(-1), *((ids, ROWS) for ids in IDS))
    against_torch(lambda i, x: torch.where(TESTS[test](i)[..., None], 2.0, x), *((ids, ROWS) for ids in IDS))


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_any_comparison_of_any_integers(data: st.DataObject) -> None:
    predicate = data.draw(st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]))
    number = data.draw(st.integers(-3, 3))
    words = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
    ids = [torch.tensor([data.draw(st.lists(words, min_size=8, max_size=8))]) for _ in range(2)]
    against_torch(lambda i, x: x * getattr(torch, predicate)(i, number)[..., None], *((i, ROWS) for i in ids))


KEYS: dict[str, Callable[[Tensor], Tensor]] = {
    "seen": lambda i: i != 1,
    "seen as a test of a test": lambda i: (i == 1).int() != 1,
    "not hidden": lambda i: ~(i == 1),
    "greater": lambda i: i > 1,
    "bool": lambda i: i.bool(),
}


ATTENTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "of the operator": lambda x, m: sdpa(x, x, x, attn_mask=m),
    "written out": lambda x, m: (x @ x.mT / 4).masked_fill(~m, -torch.inf).softmax(-1) @ x,
}


@pytest.mark.parametrize(("case", "mlen"), in_turn(product(KEYS, ATTENTIONS), MACHINES))
def test_keys_of_attention(case: tuple[str, str], mlen: int) -> None:
    """Heads are as wide as a part of the machine's rows, so machines take turns."""
    keys, attention = KEYS[case[0]], ATTENTIONS[case[1]]
    x = exact(1, 4, 8, mlen // 4)
    against_torch(
        lambda i, x: attention(x, keys(i)[:, None, None, :]),
        *((ids, x) for ids in IDS),
        target=MACHINES[mlen],
        error=ATTENTION_ERROR,
    )


@pytest.mark.parametrize("pad", [0, 1])
def test_padding_of_an_encoder_by_its_ids(pad: int) -> None:
    """pad 1 is RoBERTa's."""
    torch.manual_seed(0)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(100, 64)
            self.layer = nn.TransformerEncoderLayer(64, 4, 64, batch_first=True)

        def forward(self, ids: Tensor) -> Tensor:
            x = self.layer(self.embed(ids), src_key_padding_mask=(ids == pad))
            return x * (ids != pad).unsqueeze(-1)

    ids = [torch.tensor([[5, 7, 9, 4, pad, pad], [8, 1 - pad, 99, pad, 3, 2]]), torch.full((2, 6), 7)]
    ids[1][1, 2:] = pad
    against_torch(Encoder(), *((i,) for i in ids), error=0.09)


def test_masks_that_are_computed_with_have_to_be_masks() -> None:
    """1 - m is a mask if m is one: no other values are let through."""
    x, mask = exact(1, 4, 8, 16), torch.tensor([[1, 1, 1, 1, 1, 1, 0, 0]])

    def attention(x: Tensor, m: Tensor) -> Tensor:
        return sdpa(x, x, x, attn_mask=((1.0 - m) * -1e9)[:, None, None, :])

    for kind in (mask, mask.float()):
        program = against_torch(attention, (x, kind), (x, 1 - kind), error=ATTENTION_ERROR)
        with pytest.raises(PlenaError, match="no element of a mask of zeros and ones"):
            program.run(x, kind * 2)


def test_real_masks() -> None:
    """Numbers that are only compared; those that are computed with too are rounded: a choice that jumps is refused."""
    mask = torch.tensor([[0.0, 1.0, 0.5, -0.0, 0.25, 3.0, -1.0, 0.49]])
    for kind in (mask, mask.bfloat16()):
        against_torch(lambda m, x: x.masked_fill((m != 0)[..., None], 0.0), (kind, ROWS), (-kind, ROWS))
        against_torch(lambda m, x: torch.where(m[..., None] >= 0.5, x, 1.0), (kind, ROWS), (-kind, ROWS))
    with pytest.raises(CompileError, match=r"no kernel for aten\.where"):
        compile(Function(lambda x: torch.where(x > 0, x, x + 2)), (ROWS,))


@pytest.mark.parametrize(
    "function",
    [
        lambda i, j, x: x * (i == j)[..., None],
        lambda i, j, x: x * ((i + 1) != 0)[..., None],
        lambda i, j, x: x * (1 - i.clamp(max=200))[..., None],
    ],
)
def test_arithmetic_with_integers_is_the_hosts(function: Callable[..., Tensor]) -> None:
    small = IDS[1].clamp(-100, 100)
    against_torch(function, (IDS[0], IDS[0], ROWS), (small, IDS[0], ROWS), (small, small.roll(1, 1), ROWS))


def test_what_floats_decide_is_refused() -> None:
    with pytest.raises(CompileError, match=r"no kernel for aten\.\w+"):
        compile(Function(lambda x: torch.where((x.sum(-1, keepdim=True) > 0), x, 0.0)), (ROWS,))


def test_integers_are_not_booleans() -> None:
    program = compile(Function(lambda m, x: x * m[..., None]), (bits(1, 8), ROWS))
    with pytest.raises(PlenaError, match=r"m|input"):
        program.run(IDS[0], ROWS)


def test_infinities_chosen_by_integers() -> None:
    """Infinity is filled in by the machine, or is a mask of attention; staged as a number it would become another."""
    for number in (-torch.inf, torch.finfo(torch.float32).min):
        against_torch(
            lambda i, x, n=number: torch.where((i.cumsum(1) > 3)[:, None], x, n).softmax(-1),
            (torch.tensor([[3, 0, 1, 2, 1, 0, 4, 1]]), exact(1, 8, 8)),
            (torch.tensor([[0, 0, 1, 2, 1, 0, 4, 1]]), exact(1, 8, 8)),
        )
    logarithms = Function(lambda i, x: x * i.float().log().cumsum(1)[..., None])
    against_torch(logarithms, (IDS[0] + 1, ROWS), error=0.01)
    with pytest.raises(PlenaError, match="held by no number format"):
        compile(logarithms, (IDS[0] + 1, ROWS)).run(IDS[0] * 0, ROWS)


def test_whole_numbers_that_are_rounded_are_told() -> None:
    program = compile(Function(lambda i, x: x * (i + 1)[..., None]), (IDS[0], ROWS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program.run(IDS[0], ROWS, progress=False)
    with pytest.warns(
        StagingWarning, match=r"computed of \w+: 1001 and other integers are rounded, this one to 1000"
    ):
        program.run(IDS[0] * 0 + 1000, ROWS, progress=False)


def test_long_chains_of_integers() -> None:
    def chained(i: Tensor, x: Tensor) -> Tensor:
        for n in range(400):
            i = (i * 3 + n) % 101
        return x * (i == 7)[..., None]

    against_torch(chained, (IDS[0], ROWS), (IDS[0] + 5, ROWS))


def test_division_by_counts() -> None:
    """A count of zero is known before the program runs."""
    program = against_torch(
        lambda i, x: (x * (i != 1)[..., None]).sum(1) / (i != 1).sum(1, keepdim=True),
        (IDS[0], ROWS),
        (IDS[1], ROWS),
    )
    with pytest.raises(PlenaError, match=r"computed of .*inf at \[0, 0\] is not finite"):
        program.run(torch.ones_like(IDS[0]), ROWS)
    safe = lambda i, x: x.sum(1) / (i != 1).sum(1, keepdim=True).clamp(min=1)  # noqa: E731
    against_torch(safe, (IDS[0], ROWS), (torch.ones_like(IDS[0]), ROWS))
