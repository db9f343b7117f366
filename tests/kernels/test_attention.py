"""Attention kernels on the emulator: what the random cases of tests/properties/test_attention.py have found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as sdpa

from plena.checking.reference import as_tensors
from plena.program.thresholds import Comparison, Thresholds
from tests.kernels.checking import Function, check, machine
from tests.poison import check_reads_what_is_defined

SMALL = machine(16, MATRIX_SRAM_SIZE=4 * 16)

SCHEDULES = pytest.mark.parametrize("options", [{}, {"matmul": "mm", "objective": "size"}])


def heads(*shape: int) -> Tensor:
    return 0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


@SCHEDULES
@pytest.mark.parametrize("shape", [(1, 2, 70, 70), (1, 1, 1, 70)])
def test_constant_biases_are_staged_beyond_the_format(
    shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    """In MX E4M3 alone a bias of 1 is off by up to 0.06, and so is every weight of the softmax."""
    torch.manual_seed(1)
    bias, q = torch.randn(shape), heads(1, 2, 70, 32)
    program = check(lambda q: sdpa(q, q, q, attn_mask=bias), q, error=0.01, **options)
    with torch.no_grad():
        keys = Function(lambda q: sdpa(q, q, q, attn_mask=bias))(q)
    comparison = Comparison.of(as_tensors(program.run(q, progress=False)), [keys], Thresholds())
    assert comparison.cosine > 0.998
    check_reads_what_is_defined(program, q)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_run_time_masks_of_hidden_keys(dtype: torch.dtype) -> None:
    """Two masks through one program; keys that are hidden do not matter."""
    q, k = heads(2, 2, 9, 32), heads(2, 2, 70, 32)
    hidden = (torch.arange(70)[None] >= torch.tensor([[70], [11]])).to(dtype)

    class Hiding(nn.Module):
        def forward(self, q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
            scores = q @ k.mT * 0.25
            return (scores + mask[:, None, None, :].float() * -1e9).softmax(-1) @ k

    program = check(Hiding(), q, k, hidden, error=0.01)
    other = k.clone()
    other[1, :, 11:] = 3.0
    assert torch.equal(
        program.run(q, k, hidden, progress=False), program.run(q, other, hidden, progress=False)
    )
    check_reads_what_is_defined(program, q, k, hidden)


def test_watchdog_in_the_broadcast_schedule() -> None:
    """Soft-capping makes an iteration of the loop over heads longer than allowed: the loop is expanded."""
    q, k = heads(1, 8, 60, 4), heads(1, 2, 60, 4)

    def capped(q: Tensor, k: Tensor) -> Tensor:
        k = k.repeat_interleave(4, 1)
        return (torch.tanh(q @ k.mT / 60) * 30).softmax(-1) @ k

    target = SMALL.with_settings({"MAX_LOOP_INSTRUCTIONS": 30_000})
    program = check(capped, q, k, target=target, error=0.02, matmul="broadcast")
    assert "M_BTMM" in program.stats().opcodes
    assert any("for the watchdog" in decision for decision in program.decisions)
    roomy = check(capped, q, k, target=SMALL, error=0.02, matmul="broadcast")
    assert not any("for the watchdog" in decision for decision in roomy.decisions)


@pytest.mark.parametrize("size", [0.25, 0.5])
@pytest.mark.parametrize("options", [{}, {"matmul": "mm", "objective": "size"}])
def test_many_keys_that_matter_alike(size: float, options: dict[str, Any]) -> None:
    """Weights of one size lose most when they are added up: 2.5 % is allowed at 4,096 keys."""
    torch.manual_seed(2)
    q, k, v = (size * torch.randn(1, 1, length, 64) for length in (16, 4096, 4096))
    check(sdpa_of, q, k, v, error=0.015, **options)


def sdpa_of(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return sdpa(q, k, v)


@SCHEDULES
@pytest.mark.parametrize("scale", [None, -0.1])
def test_queries_that_are_keys_or_values_too_are_not_scaled_in_place(
    scale: float | None, options: dict[str, Any]
) -> None:
    """Keys and values are stored after the queries were scaled: a computed tensor that is both needs a copy."""
    torch.manual_seed(0)
    first, second = nn.Linear(64, 64), nn.Linear(64, 64)

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = first, second

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            q, k = (p(x).view(1, 8, 2, 32).transpose(1, 2) for p in (self.first, self.second))
            found = (sdpa(*three, scale=scale) for three in ((q, q, q), (q, k, q), (q, q, k)))
            return tuple(y.transpose(1, 2).reshape(8, 64) for y in found)

    class Last(Shared):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            q = self.first(x).view(1, 8, 2, 32).transpose(1, 2)
            return sdpa(q, q, q, scale=scale).transpose(1, 2).reshape(8, 64)

    for module in (Shared(), Last()):
        check(module, heads(8, 64), error=0.02, **options)
