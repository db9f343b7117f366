"""Attention with one query a sample by M_BTMV and M_BMM: any heads, keys and masks on any machine; the choice."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as sdpa

import plena
from plena.checking.reference import as_tensors
from plena.machine.target import Target
from tests.covering import in_turn
from tests.kernels.checking import check
from tests.kernels.stateful_modules import CachedAttention, seen_up_to
from tests.kernels.test_vector_products import MACHINES, NO_UNIT, machine
from tests.poison import check_reads_what_is_defined

ROUNDING = 0.02
"""Relative RMS error against PyTorch on what the machine sees: weights of the softmax are rounded to bf16."""

PROJECTED = 0.03
"""With values that the program computes: those between two MX numbers may be rounded to the other one."""


class Attending(nn.Module):
    """Attention over keys and values that are inputs, or whose values the program computes."""

    def __init__(self, computed: bool, **options: Any) -> None:
        super().__init__()
        self.computed, self.options = computed, options

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return sdpa(q, k, v + v if self.computed else v, attn_mask=mask, enable_gqa=True, **self.options)


def operands(heads: int, kv_heads: int, keys: int, size: int, batch: int = 1) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(heads * keys)
    shapes = [(batch, heads, 1, size), *[(batch, kv_heads, keys, size)] * 2]
    return tuple(0.5 * torch.randn(shape, generator=generator) for shape in shapes)


def is_vector(program: plena.Program) -> bool:
    return any("attention: vector" in decision for decision in program.decisions)


HEADS = [(9, 3, 70, 16, 1), (5, 1, 40, 24, 2), (2, 2, 16, 40, 1), (11, 1, 5, 8, 1)]


@pytest.mark.parametrize(("case", "name"), in_turn(product(HEADS, [False, True]), MACHINES, 2), ids=str)
def test_any_heads(case: tuple[tuple[int, int, int, int, int], bool], name: str) -> None:
    """Sizes are those of `operands`."""
    sizes, computed = case
    inputs = operands(*sizes)
    error = PROJECTED if computed else ROUNDING
    program = check(Attending(computed), *inputs, target=MACHINES[name], error=error, matmul="vector")
    check_reads_what_is_defined(program, *inputs)


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(sorted(MACHINES)),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(1, 6),
    st.integers(1, 90),
    st.sampled_from([4, 8, 16, 20, 32, 40]),
    st.sampled_from(["none", "boolean", "bias of heads"]),
    st.booleans(),
)
def test_any_masks(
    name: str, batch: int, kv_heads: int, group: int, keys: int, size: int, mask: str, computed: bool
) -> None:
    inputs = operands(kv_heads * group, kv_heads, keys, size, batch)
    generator = torch.Generator().manual_seed(keys)
    if mask == "boolean":
        seen = torch.rand(batch, 1, 1, keys, generator=generator) > 0.5
        seen[..., 0] = True
        inputs = (*inputs, seen)
    elif mask == "bias of heads":
        inputs = (*inputs, torch.randn(batch, kv_heads * group, 1, keys, generator=generator))
    error = PROJECTED if computed else ROUNDING
    program = check(Attending(computed), *inputs, target=MACHINES[name], error=error, matmul="vector")
    check_reads_what_is_defined(program, *inputs)


@pytest.mark.parametrize("computed", [False, True])
def test_longer_caches_than_matrix_sram_holds(computed: bool) -> None:
    """Tile by tile, the sum stays open in the accumulator; rows of scores are summed in chunks."""
    target = machine(16, 4, 4, 4, 8)
    inputs = operands(6, 1, 300, 40)
    program = check(Attending(computed), *inputs, target=target, error=PROJECTED)
    assert is_vector(program)
    check_reads_what_is_defined(program, *inputs)


def test_a_window_and_a_scale_of_its_own() -> None:
    inputs = operands(4, 2, 200, 64)
    program = check(Attending(False, is_causal=True, scale=0.3), *inputs, error=ROUNDING)
    assert is_vector(program)


def test_a_decode_step_with_a_cache_chooses_it() -> None:
    """Keys and values in HBM as rows, a mask at run time."""
    torch.manual_seed(0)
    module = CachedAttention(features=64, heads=3, kv_heads=1, size=64, length=128).eval()

    def step(at: int) -> tuple[Tensor, Tensor, Tensor]:
        positions = torch.tensor([at])
        return torch.randn(1, 1, 64), positions, seen_up_to(positions, 128)

    program = plena.compile(module, step(0))
    assert is_vector(program)
    for at in (0, 1, 63, 64, 127):
        args = step(at)
        report = program.check(*args, quiet=True)
        assert report.passed, str(report)
        with torch.no_grad():
            wanted = module(*args)
        found = program.run(*args)
        assert isinstance(found, Tensor)
        assert (found - wanted).norm() < 0.09 * wanted.norm()
    check_reads_what_is_defined(program, *step(5))


@pytest.mark.parametrize(
    ("target", "queries", "options"),
    [
        (Target(), 2, {}),
        (Target(), 1, {"matmul": "mm"}),
        (Target(), 1, {"attention": "online"}),
        (Target(), 1, {"objective": "size"}),
        (NO_UNIT, 1, {}),
    ],
)
def test_other_forms_where_it_does_not_apply(target: Target, queries: int, options: dict[str, Any]) -> None:
    _, k, v = operands(2, 1, 70, 16)
    q = 0.5 * torch.randn(1, 2, queries, 16)
    assert not is_vector(check(Attending(False), q, k, v, target=target, error=ROUNDING, **options))


def test_queries_that_may_be_nan_do_not_share_products() -> None:
    q, k, v = operands(2, 1, 70, 64)

    class Rooted(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return sdpa(torch.sqrt(q), k, v, enable_gqa=True)

    assert not is_vector(plena.compile(Rooted(), (q.abs(), k, v)))


@pytest.mark.parametrize(("computed", "most"), [(False, 5_000), (True, 35_500)])
def test_figures(computed: bool, most: int) -> None:
    """1,024 keys, 9 heads on 3: 132,544 cycles in the broadcast schedule."""
    program = plena.compile(Attending(computed), operands(9, 3, 1024, 64))
    assert is_vector(program)
    assert program.stats().cycles["transactional"] <= most


@pytest.mark.parametrize("computed", [False, True])
def test_alike_scores_of_very_many_keys(computed: bool) -> None:
    """A running sum in bf16 would stop growing at 256."""
    _, k, v = operands(2, 1, 131_072, 16)
    q, v = torch.zeros(1, 2, 1, 16), v + 1.0
    program = plena.compile(Attending(computed), (q, k, v))
    assert is_vector(program)
    found = program.run(q, k, v, progress=False)
    assert isinstance(found, Tensor) and program.quantized_reference is not None
    (wanted,) = as_tensors(program.quantized_reference(q, k, v))
    assert (found - wanted).norm() <= 0.006 * wanted.norm()


def test_the_text_does_not_hang_on_the_number_of_keys() -> None:
    """8,192 to 131,072 keys, 9 heads on 3, counted without a run."""
    sizes: set[int] = set()
    cycles: dict[int, int] = {}
    for keys in (8192, 32_768, 131_072):
        operand = torch.zeros(1, 3, keys, 64)
        program = plena.compile(Attending(False), (torch.zeros(1, 9, 1, 64), operand, operand))
        assert is_vector(program)
        statistics = program.stats()
        sizes.add(statistics.static)
        cycles[keys] = statistics.cycles["transactional"]
    assert len(sizes) == 1 and sizes.pop() < 250
    # What heads cost apart from their keys is the same everywhere.
    assert cycles[131_072] - cycles[32_768] == 4 * (cycles[32_768] - cycles[8192])


def test_a_decode_step_at_very_long_caches_is_counted_as_it_runs() -> None:
    """A layer with its cache: constants of far addresses alone make its text longer; at 8,192 keys it is run."""
    torch.manual_seed(0)
    sizes: list[int] = []
    cycles: list[int] = []
    for length in (8192, 16_384, 32_768):
        module = CachedAttention(features=64, heads=9, kv_heads=3, size=64, length=length).eval()
        positions = torch.tensor([length - 1])
        args = (torch.randn(1, 1, 64), positions, seen_up_to(positions, length))
        program = plena.compile(module, args)
        assert is_vector(program)
        statistics = program.stats()
        sizes.append(statistics.static)
        cycles.append(statistics.cycles["transactional"])
        if length == 8192:
            assert program.emulate(*args).cycles == cycles[0]
            assert program.check(*args, quiet=True).passed
    assert max(sizes) <= min(sizes) + 8 < 270
    assert cycles[2] - cycles[1] == pytest.approx(2 * (cycles[1] - cycles[0]), rel=1e-4)


@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "keys", "size", "batch", "mask"),
    [
        (6, 1, 2100, 16, 1, False),
        (4, 2, 2048, 24, 2, False),
        (3, 3, 3072, 16, 1, True),
        (11, 1, 2048, 8, 1, True),
    ],
)
def test_heads_take_steps_one_after_the_other_over_very_many_keys(
    heads: int, kv_heads: int, keys: int, size: int, batch: int, mask: bool, computed: bool
) -> None:
    """From 128 tiles on: several samples, heads that do not fill the slots, biases, a last tile in part."""
    target = machine(16, 4, 4, 4, 8)
    inputs = operands(heads, kv_heads, keys, size, batch)
    if mask:
        bias = torch.randn(batch, heads, 1, keys, generator=torch.Generator().manual_seed(keys))
        inputs = (*inputs, bias)
    program = check(Attending(computed), *inputs, target=target, error=PROJECTED, matmul="vector")
    check_reads_what_is_defined(program, *inputs)
    assert program.emulate(*inputs).cycles == program.stats().cycles["transactional"]
