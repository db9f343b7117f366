"""Arithmetic of whole matrices, rows, columns, parts of rows and numbers; what may be overwritten; fused chains."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plena.assembly import decode
from tests.covering import pairwise
from tests.kernels.checking import MACHINES, check

OPERATORS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
}


def positive(*shape: int) -> torch.Tensor:
    """Divisors."""
    return torch.rand(shape) + 0.5


OPERANDS = {"matrix": (7, 75), "row": (75,), "column": (7, 1)}


@pytest.mark.parametrize(("operand", "kind", "mlen"), pairwise(OPERANDS, OPERATORS, MACHINES))
def test_operands_from_outside(operand: str, kind: str, mlen: int) -> None:
    torch.manual_seed(0)
    check(OPERATORS[kind], torch.randn(7, 75), positive(*OPERANDS[operand]), target=MACHINES[mlen])


@pytest.mark.parametrize(("size", "kind", "mlen"), pairwise([32, 64, 128], ["mul", "div"], MACHINES))
def test_one_number_per_head(size: int, kind: str, mlen: int) -> None:
    """Computed and staged, in parts of rows narrower and wider than a row of lanes."""
    torch.manual_seed(1)
    x = torch.randn(6, 4 * size)

    def computed(x: torch.Tensor) -> torch.Tensor:
        heads = x.view(6, 4, size)
        return OPERATORS[kind](heads, heads.abs().amax(-1, keepdim=True)).reshape(6, -1)

    def staged(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return OPERATORS[kind](x.view(6, 4, size), y.view(6, 4, 1)).reshape(6, -1)

    check(computed, x, target=MACHINES[mlen])
    check(staged, x, positive(6, 4), target=MACHINES[mlen])


def test_numbers() -> None:
    torch.manual_seed(2)
    x = torch.randn(9, 80)
    check(lambda x: x * 3 + 1, x)
    check(lambda x: (1 - x) / 7, x)
    check(lambda x: x * 1e-9 + 2e-9, x * 10)
    check(lambda x: x.clamp(-0.5, 0.25), x)
    check(lambda x: x.clamp(min=0.1) + (-x).clamp(max=0.1), x)
    check(lambda x: 2.0 / (x.abs() + 1), x)


def test_numbers_of_few_columns() -> None:
    """The scalar unit has no minimum."""
    torch.manual_seed(3)
    x = torch.randn(9, 80)
    check(lambda x: x * x.sum(-1, keepdim=True).clamp(-3, 3), x)
    check(lambda x: x / (x.square().mean(-1, keepdim=True) + 1).sqrt(), x)
    check(lambda x: x * (x.amax(-1, keepdim=True) - x.mean(-1, keepdim=True)), x)
    check(lambda x: x * torch.exp(-x.abs().amax(-1, keepdim=True)), x)


def test_nothing_is_overwritten_that_is_read_later() -> None:
    torch.manual_seed(4)
    x, y = torch.randn(2, 8, 96)
    check(lambda x, y: (x + y, x * y, x - y), x, y)
    check(lambda x, y: (x + y) * x + (y - x) * y, x, y)
    check(lambda x: x + x, x)

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(96, 96)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.linear(x)
            z = y * 2
            return z + 1, y

    check(Shared(), x)


def test_chains_are_one_loop() -> None:
    """Every value of a chain is read from vector SRAM and written to it once."""
    torch.manual_seed(5)
    x, y = torch.randn(2, 64, 128)
    program = check(lambda x, y: torch.relu((x * 2 + y) * 3 - x), x, y, objective="size")
    code = [i.mnemonic for i in decode(program.words)]
    loops = [n for n, mnemonic in enumerate(code) if mnemonic == "C_LOOP_START"]
    vectors = [n for n, mnemonic in enumerate(code) if mnemonic.startswith("V_")]
    assert sum(loops[-1] < n for n in vectors) == len(vectors) == 5


def test_a_chain_with_a_second_reader_keeps_its_value() -> None:
    torch.manual_seed(6)
    x, y = torch.randn(2, 16, 64)

    def stream(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = x + y
        return torch.relu(z) * 2, z.sum(-1)

    check(stream, x, y)


def test_operands_that_lie_differently() -> None:
    """Heads of 24 come out of attention 32 lanes apart, a gain from outside does not."""
    torch.manual_seed(7)
    q, k, v = torch.randn(3, 1, 2, 16, 24)

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        out = nn.functional.scaled_dot_product_attention(q, k, v)
        return out.transpose(1, 2).reshape(16, 48) * gain

    check(attention, q, k, v, positive(16, 48), error=0.02)
    check(attention, q, k, v, positive(48), error=0.02)


@settings(max_examples=15)
@given(
    st.integers(1, 9),
    st.integers(1, 140),
    st.sampled_from([16, 64]),
    st.lists(
        st.sampled_from(["add", "mul", "relu", "row", "column", "number", "self"]), min_size=1, max_size=6
    ),
    st.integers(0, 99),
)
def test_any_chain(rows: int, columns: int, mlen: int, chain: list[str], seed: int) -> None:
    torch.manual_seed(seed)
    x, y = torch.randn(2, rows, columns)
    row, column = torch.randn(columns), torch.randn(rows, 1)

    def function(x: torch.Tensor, y: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        z = x + 0 * (y + row + column)
        for step in chain:
            z = {
                "add": lambda z: z + y,
                "mul": lambda z: z * y,
                "relu": torch.relu,
                "row": lambda z: z * row,
                "column": lambda z: z - column,
                "number": lambda z: z * 0.75 + 0.5,
                "self": lambda z: z * x,
            }[step](z)
        return z

    check(function, x, y, row, column, target=MACHINES[mlen], error=0.02)
