"""Sums, means and maxima along rows and over them; pooling and normalisation as sentence models write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from plena.api.compile import compile
from tests.covering import pairwise
from tests.kernels.checking import MACHINES, Function, check
from tests.poison import check_reads_what_is_defined

tiles = pytest.mark.parametrize("mlen", MACHINES)
REDUCTIONS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "sum": lambda x, axis: x.sum(axis),
    "mean": lambda x, axis: x.mean(axis),
    "max": lambda x, axis: x.amax(axis),
}


@pytest.mark.parametrize(("columns", "kind", "mlen"), pairwise([40, 128, 150], REDUCTIONS, MACHINES))
def test_along_rows(columns: int, kind: str, mlen: int) -> None:
    torch.manual_seed(0)
    check(lambda x: REDUCTIONS[kind](x, -1), torch.randn(9, columns) + 0.2, target=MACHINES[mlen])


@pytest.mark.parametrize(("size", "kind", "mlen"), pairwise([32, 64], REDUCTIONS, MACHINES))
def test_along_heads(size: int, kind: str, mlen: int) -> None:
    torch.manual_seed(1)
    x = torch.randn(5, 4 * size) + 0.2
    check(lambda x: REDUCTIONS[kind](x.view(5, 4, size), -1), x, target=MACHINES[mlen])


@pytest.mark.parametrize(("rows", "kind", "mlen"), pairwise([1, 2, 5, 33], REDUCTIONS, MACHINES))
def test_over_rows(rows: int, kind: str, mlen: int) -> None:
    torch.manual_seed(2)
    x = torch.randn(2, rows, 70) + 0.2
    check(lambda x: REDUCTIONS[kind](x, 1), x, target=MACHINES[mlen])


def test_maxima_over_rows_are_rows_own_numbers() -> None:
    """To the bit."""
    torch.manual_seed(3)
    x = torch.randn(1, 60, 64) * torch.logspace(-1, 1, 64)
    program = check(lambda x: x.amax(1), x, error=1e-6)
    assert program.quantized_reference is not None


@pytest.mark.parametrize(
    ("number", "fill", "mlen"),
    pairwise([0.5, -0.0078125], [-1e4, -1e6, -1e9, torch.finfo(torch.float32).min], MACHINES),
)
def test_maxima_over_rows_beside_a_fill(number: float, fill: float, mlen: int) -> None:
    """The usual maximum over the tokens that count."""
    mask = torch.tensor([[0, 1, 0, 1, 1]])
    x = torch.full((1, 5, 20), number)
    x[:, 4] -= 1.0
    program = check(
        lambda x, m: x.masked_fill(m[..., None] == 0, fill).amax(1), x, mask, target=MACHINES[mlen]
    )
    assert torch.equal(program.run(x, mask), torch.full((1, 20), number))


def pooled(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean of the tokens that count."""
    weights = mask.unsqueeze(-1).float()
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


@pytest.mark.parametrize("batch", [1, 3])
def test_pooling_under_a_mask(batch: int) -> None:
    torch.manual_seed(4)
    mask = torch.ones(batch, 20, dtype=torch.int64)
    mask[0, 11:] = 0
    hidden = torch.randn(batch, 20, 96)
    check(pooled, hidden, mask)
    check(lambda hidden, mask: normalize(pooled(hidden, mask), dim=1), hidden, mask)


@tiles
def test_euclidean_normalisation(mlen: int) -> None:
    torch.manual_seed(5)
    check(lambda x: normalize(x, p=2, dim=1), torch.randn(7, 90), target=MACHINES[mlen])


@settings(max_examples=12)
@given(
    st.integers(1, 12), st.integers(1, 140), st.sampled_from([16, 32, 64]), st.sampled_from(list(REDUCTIONS)),
    st.sampled_from([0, 1]), st.integers(0, 99),
)  # fmt: skip
def test_any_shape(rows: int, columns: int, mlen: int, kind: str, axis: int, seed: int) -> None:
    torch.manual_seed(seed)
    # Numbers of one sign: the sum of others may be all cancellation.
    x = torch.rand(1, rows, columns) + 0.1
    check(lambda x: REDUCTIONS[kind](x, 1 + axis), x, target=MACHINES[mlen])


@pytest.mark.parametrize("kind", ["sum", "mean", "amax"])
@pytest.mark.parametrize(("rows", "parts", "mlen"), [(300, 1, 16), (130, 2, 16), (270, 4, 64), (100, 3, 16)])
def test_more_numbers_than_fp_sram_has_words(rows: int, parts: int, mlen: int, kind: str) -> None:
    """They are made piece by piece, and read piece by piece where they meet their rows again."""
    torch.manual_seed(4)

    def scaled(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = x.unflatten(-1, (parts, -1))
        found = getattr(y, kind)(-1, keepdim=True)
        return found.flatten(-2) * 0.5, (y * torch.sigmoid(found)).flatten(-2)

    x = torch.randn(rows, parts * 8)
    program = check(scaled, x, target=MACHINES[mlen], error=0.02)
    check_reads_what_is_defined(program, x)


def test_a_column_of_many_rows_repeated() -> None:
    torch.manual_seed(5)

    def repeated(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)[..., None].expand(10, 9, 4, 6).flatten(0, 2).softmax(-1) + 1

    check(repeated, torch.randn(10, 9, 4), target=MACHINES[16])


@tiles
@pytest.mark.parametrize("axis", [0, 1])
def test_sums_of_rows_divided_by_their_sums(axis: int, mlen: int) -> None:
    """Lanes behind the last column hold reciprocals of zero: a sum along rows leaves them out whatever they are."""
    torch.manual_seed(4)
    x = torch.rand(9, 50) + 0.1
    check(lambda x: (x * (1 / x.sum(-1, keepdim=True))).sum(axis), x, target=MACHINES[mlen])


LONG: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sum": lambda x: x.square().sum(-1),
    "mean of all": lambda x: x.square().mean(),
    "rms_norm": lambda x: torch.nn.functional.rms_norm(x, x.shape[-1:]),
    "layer_norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "group_norm": lambda x: torch.nn.functional.group_norm(x.view(2, 2, -1, 5), 2),
}


@pytest.mark.parametrize("columns", [16 * 300, 16 * 600 + 10])
@pytest.mark.parametrize("name", LONG)
def test_sums_of_long_rows_do_not_stall(name: str, columns: int) -> None:
    """One after the other, more than 256 bf16 numbers of one size add nothing any more."""
    torch.manual_seed(5)
    x = torch.randn(2, columns) + 1
    target = MACHINES[min(MACHINES)].with_settings({"VECTOR_SRAM_SIZE": 1 << 20})
    program = compile(Function(LONG[name]), (x,), target=target)
    report = program.check(quiet=True)
    assert report.passed, report.failures
    result, wanted = program.run(x, progress=False), LONG[name](x)
    size = wanted.square().mean().sqrt()
    assert (result - wanted).square().mean().sqrt() < 0.05 * size
