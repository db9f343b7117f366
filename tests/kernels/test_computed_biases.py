"""Attention whose scores get biases that the machine computes, or several: as DeBERTa, SAM and Swin V2 have them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.kernels.checking import MACHINES, check
from tests.poison import check_reads_what_is_defined

FLIPS = 0.03
"""Relative RMS error where an operand's last bit decides how it is rounded once more."""


class Biased(nn.Module):
    """Two samples of seven rows, four heads of eight features, `kv_heads` of keys."""

    def __init__(self, kind: str, kv_heads: int) -> None:
        super().__init__()
        self.kind, self.kv_heads = kind, kv_heads
        self.q, self.k, self.v = nn.Linear(24, 32), nn.Linear(24, 8 * kv_heads), nn.Linear(24, 8 * kv_heads)
        self.bias = nn.Linear(24, 7)
        self.table = nn.Parameter(torch.randn(1, 4, 7, 7))
        self.other = nn.Parameter(torch.randn(2, 1, 7, 7))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t(x).unflatten(-1, (-1, 8)).transpose(1, 2) for t in (self.q, self.k, self.v))
        match self.kind:
            case "computed":
                bias = self.bias(x)[:, None]
            case "computed and staged":
                bias = self.table + self.bias(x)[:, None]
            case _:
                bias = self.table + self.other
        if self.kv_heads == 4 and self.kind != "computed":
            found = (q @ k.mT / 8**0.5 + bias).softmax(-1) @ v
        else:
            found = functional.scaled_dot_product_attention(q, k, v, bias, enable_gqa=True)
        return found.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("kind", ["computed", "computed and staged", "two staged"])
@pytest.mark.parametrize(("kv_heads", "mlen"), [(4, 16), (2, 16), (4, 64)])
def test_biases(kv_heads: int, mlen: int, kind: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 7, 24)
    program = check(Biased(kind, kv_heads), x, target=MACHINES[mlen], error=FLIPS)
    check_reads_what_is_defined(program, x)


class OfPositions(nn.Module):
    """Scores of positions beside those of contents, both of integers alone (LiLT)."""

    def __init__(self) -> None:
        super().__init__()
        self.content, self.place = nn.Embedding(12, 16), nn.Embedding(12, 16)

    def forward(self, ids: Tensor) -> Tensor:
        x, y = self.content(ids), self.place(ids.cumsum(-1) % 12)
        return (x @ x.mT * 0.25 + y @ y.mT * 0.25).softmax(-1) @ x


def test_a_bias_that_the_machine_computes_of_integers() -> None:
    torch.manual_seed(0)
    check(OfPositions(), torch.randint(0, 12, (2, 7)), target=MACHINES[16], error=FLIPS)
