"""Random integer computations where they meet the machine: factors, choices, masks, biases, picked rows, results."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as sdpa

from tests.kernels.against_torch import against_torch

ATTENTION_ERROR = 0.08
"""What keys and values in MX E4M3 cost at most in attention over a few keys."""

STEPS: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda a, b: a + b,
    lambda a, b: a - b * 2,
    lambda a, b: a * b,
    torch.maximum,
    lambda a, b: torch.where(a > b, a, b - 3),
    lambda a, b: a.cumsum(-1),
    lambda a, b: a.flip(-1),
    lambda a, b: a.roll(1, -1),
    lambda a, b: a.abs() % 7,
    lambda a, b: a // 3,
    lambda a, b: a.clamp(-4, 5),
    lambda a, b: (a != b).long(),
    lambda a, b: a.sum(-1, keepdim=True).expand_as(a),
    lambda a, b: a.int().cumsum(-1).long(),
    lambda a, b: a ^ b,
    lambda a, b: ~a & b,
    lambda a, b: a.gather(1, b.abs() % a.shape[1]),
    lambda a, b: a.max(-1, keepdim=True)[0] - a,
    lambda a, b: torch.cat([b[:, :2], a[:, 2:]], 1),
    lambda a, b: a.to(torch.int8).long(),
    lambda a, b: (a.float().cos() * 4).long(),
    lambda a, b: torch.div(a, 2, rounding_mode="trunc"),
]


def heads(x: Tensor) -> Tensor:
    """[batch, 2, length, features] of x."""
    return x.view(*x.shape[:2], 2, -1).transpose(1, 2)


def causal_and_kept(x: Tensor, v: Tensor) -> Tensor:
    later = torch.ones(v.shape[1], v.shape[1], dtype=torch.bool).tril()
    return sdpa(heads(x), heads(x), heads(x), attn_mask=(v > 0)[:, None, None, :] & later)


def biased_and_filled(x: Tensor, v: Tensor) -> Tensor:
    scores = heads(x) @ heads(x).mT / 4 + ((v % 9 - 4) * -0.5)[:, None, None, :]
    return scores.masked_fill((v == 1)[:, None, None, :], torch.finfo(x.dtype).min).softmax(-1) @ heads(x)


USES: dict[str, Callable[[Tensor, Tensor], Tensor | tuple[Tensor, ...]]] = {
    "factor": lambda x, v: x * (v % 9 - 4)[..., None],
    "choice": lambda x, v: torch.where((v > 1)[..., None], x, x * 2),
    "addend": lambda x, v: x + ((v % 9 - 4).float() / 4)[..., None],
    "mask of keys and a band": causal_and_kept,
    "mask of pairs": lambda x, v: sdpa(*[heads(x)] * 3, attn_mask=v[:, None, :, None] >= v[:, None, None, :]),
    "bias and a mask": biased_and_filled,
    "picked row": lambda x, v: x[torch.arange(len(x)), (v.abs() % v.shape[1]).argmax(-1)],
    "picked numbers": lambda x, v: x.gather(-1, v.abs()[..., None].expand(-1, -1, 3) % 32),
    "results": lambda x, v: (x * 2, v.clamp(-1000, 1000), v > 0),
}


class Steps(nn.Module):
    """A few random steps on integers, and one use of what they give."""

    def __init__(self, seed: int, use: str) -> None:
        super().__init__()
        self.seed, self.use = seed, use

    def forward(self, ids: Tensor, mask: Tensor, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        random = Random(self.seed)
        values = [ids, mask]
        for _ in range(random.randint(1, 5)):
            values.append(random.choice(STEPS)(random.choice(values[-2:]), random.choice(values)))
        return USES[self.use](x, values[-1])


@pytest.mark.parametrize("use", USES)
def test_random_steps(use: str) -> None:
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randint(4, 13, (2, 6, 32), generator=generator).float() / 4
        mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
        calls = [(torch.randint(-3, 9, (2, 6), generator=generator), mask, x) for _ in range(2)]
        against_torch(Steps(seed, use), *calls, error=ATTENTION_ERROR)


class Biased(nn.Module):
    """Scores with a bias for each pair of tokens by what kinds they are: more ids than INT SRAM has words."""

    def __init__(self) -> None:
        super().__init__()
        self.biases = nn.Embedding(9, 2)

    def forward(self, x: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        bias = self.biases(kinds[:, :, None] * 3 + kinds[:, None, :]).permute(0, 3, 1, 2)
        return sdpa(*[heads(x)] * 3, attn_mask=bias), self.biases(kinds)


def test_the_host_looks_up_what_int_sram_has_no_words_for() -> None:
    torch.manual_seed(0)
    x, kinds = torch.randn(1, 34, 32), torch.randint(0, 3, (2, 1, 34))
    against_torch(Biased(), (x, kinds[0]), (x, kinds[1]), error=ATTENTION_ERROR)
