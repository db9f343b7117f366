"""Rotary embedding: halves and interleaved, heads narrower and wider than a row of lanes, heads that turn in part."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plena.assembly import decode
from tests.covering import in_turn, pairwise
from tests.kernels.checking import FUNCTION_ERROR, MACHINES, check, machine
from tests.poison import check_reads_what_is_defined


class Rotary(nn.Module):
    """x * cos + rotate(x) * sin in the first `width` features of every head."""

    def __init__(self, length: int, heads: int, size: int, width: int = 0, interleaved: bool = False) -> None:
        super().__init__()
        self.heads, self.size, self.width, self.interleaved = heads, size, width or size, interleaved
        frequencies = 10000.0 ** -(torch.arange(0, self.width, 2).float() / self.width)
        angles = torch.arange(length).float()[:, None] * frequencies[None]
        angles = angles.repeat_interleave(2, -1) if interleaved else torch.cat([angles, angles], -1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        heads = x.view(batch, length, self.heads, self.size).transpose(1, 2)
        turned, rest = heads[..., : self.width], heads[..., self.width :]
        if self.interleaved:
            other = torch.stack([-turned[..., 1::2], turned[..., ::2]], -1).flatten(-2)
        else:
            half = self.width // 2
            other = torch.cat([-turned[..., half:], turned[..., :half]], -1)
        turned = turned * self.cos + other * self.sin
        if self.width < self.size:
            turned = torch.cat([turned, rest], -1)
        return turned.transpose(1, 2).reshape(batch, length, -1)


@pytest.mark.parametrize(("size", "interleaved", "mlen"), pairwise([32, 64, 128], [False, True], MACHINES))
def test_whole_heads(size: int, interleaved: bool, mlen: int) -> None:
    torch.manual_seed(0)
    check(Rotary(17, 2, size, interleaved=interleaved), torch.randn(2, 17, 2 * size), target=MACHINES[mlen])


@pytest.mark.parametrize(("case", "mlen"), in_turn([(64, 32), (128, 64), (64, 16)], MACHINES, each=2))
def test_parts_of_heads(case: tuple[int, int], mlen: int) -> None:
    """The rest passes: cosines of 1 and sines of 0."""
    size, width = case
    torch.manual_seed(1)
    check(Rotary(9, 4, size, width), torch.randn(1, 9, 4 * size), target=MACHINES[mlen])


TURNED = [(72, 72), (80, 80), (96, 96), (100, 100), (112, 112), (160, 160), (192, 192), (128, 96)]


@pytest.mark.parametrize(("case", "mlen"), in_turn(TURNED, MACHINES, each=2))
def test_halves_that_are_no_whole_rows(case: tuple[int, int], mlen: int) -> None:
    """Heads of Phi-3-mini (96), Phi-4-mini (96 of 128), OpenLLaMA (100) and others: lanes of several blocks turn."""
    size, width = case
    torch.manual_seed(4)
    check(Rotary(9, 3, size, width), torch.randn(1, 9, 3 * size), target=MACHINES[mlen])


@pytest.mark.parametrize("size", [64, 80])
@pytest.mark.parametrize("matmul", ["mm", "broadcast"])
def test_schedules(matmul: str, size: int) -> None:
    """The rotation is exact in both."""
    torch.manual_seed(2)
    check(Rotary(70, 3, size), torch.randn(1, 70, 3 * size), matmul=matmul)


@pytest.mark.parametrize(("batch", "length", "slots"), [(1, 1, 2), (1, 1, 8), (3, 2, 4)])
def test_few_rows_turn_as_vectors(batch: int, length: int, slots: int) -> None:
    """One row of five heads is five vectors; more rows come with their padding, which may not be anything."""
    torch.manual_seed(5)
    x = torch.randn(batch, length, 5 * 16)
    target = machine(16, HLEN=16 // slots, BROADCAST_AMOUNT=slots)
    program = check(Rotary(length, 5, 16), x, target=target, matmul="vector")
    assert sum(i.mnemonic == "M_BTMV" for i in decode(program.words))
    check_reads_what_is_defined(program, x)


def test_what_is_turned_is_read_later() -> None:
    torch.manual_seed(3)
    rotary = Rotary(16, 2, 64)

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rotary = rotary

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = x * 2
            return self.rotary(y), y

    check(Both(), torch.randn(1, 16, 128))
    wide = Rotary(16, 2, 128)
    check(lambda x: wide(x * 2) + x * 2, torch.randn(1, 16, 256))


def test_halves_of_whole_blocks_need_no_product() -> None:
    program = check(Rotary(16, 2, 128), torch.randn(1, 16, 256))
    assert not any(i.mnemonic.startswith("M_") for i in decode(program.words))


@settings(max_examples=10)
@given(
    st.integers(1, 3), st.integers(1, 40), st.integers(1, 5), st.sampled_from([16, 20, 32, 64, 72, 128]), st.booleans(),
    st.sampled_from([16, 32, 64]), st.integers(0, 99),
)  # fmt: skip
def test_any_shape(
    batch: int, length: int, heads: int, size: int, interleaved: bool, mlen: int, seed: int
) -> None:
    torch.manual_seed(seed)
    module = Rotary(length, heads, size, interleaved=interleaved)
    check(module, torch.randn(batch, length, heads * size), target=MACHINES[mlen])


class QueriesAndKeys(nn.Module):
    """Queries and keys of one input, turned by the same tables; their products per head as attention has them."""

    def __init__(
        self, length: int, heads: tuple[int, int], size: int, interleaved: bool, norms: bool
    ) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.turn = nn.ModuleList(Rotary(length, count, size, interleaved=interleaved) for count in heads)
        self.of = nn.ModuleList(nn.Linear(32, count * size, bias=False) for count in (*heads, heads[1]))
        self.norms = nn.ModuleList(nn.RMSNorm(size, eps=1e-5) if norms else nn.Identity() for _ in heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        parts = [layer(x).view(batch, length, -1, self.size) for layer in self.of]
        q, k = (
            turn(norm(part).reshape(batch, length, -1)).view(batch, length, -1, self.size).transpose(1, 2)
            for turn, norm, part in zip(self.turn, self.norms, parts[:2], strict=True)
        )
        y = nn.functional.scaled_dot_product_attention(q, k, parts[2].transpose(1, 2), enable_gqa=True)
        return y.transpose(1, 2).reshape(batch, length, -1)


@pytest.mark.parametrize(
    ("case", "norms", "mlen"), pairwise([((6, 2), 64), ((4, 2), 16), ((3, 3), 24)], [False, True], MACHINES)
)
def test_queries_and_keys_turn_together(case: tuple[tuple[int, int], int], norms: bool, mlen: int) -> None:
    """Four kernels behind each other."""
    heads, size = case
    torch.manual_seed(2)
    module = QueriesAndKeys(10, heads, size, interleaved=size == 16, norms=norms)
    check(module, torch.randn(2, 10, 32), target=MACHINES[mlen], error=4 * FUNCTION_ERROR)
