"""Norms and softmax: whole rows, parts of rows, lanes that belong to nothing, small epsilons, forms of the variance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import layer_norm, rms_norm

from plena.machine.number_formats import bf16_round
from tests.covering import pairwise
from tests.kernels.checking import MACHINES, check

Floats = npt.NDArray[np.float32]

tiles = pytest.mark.parametrize("mlen", MACHINES)


def randomised(module: nn.Module) -> nn.Module:
    """Gains around 1, biases around 0."""
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, 0.0 if "bias" in name else 1.0, 0.2)
    return module


@pytest.mark.parametrize(
    ("make", "columns", "mlen"), pairwise([nn.LayerNorm, nn.RMSNorm], [96, 100], MACHINES)
)
def test_norms_with_gain(make: Callable[[int], nn.Module], columns: int, mlen: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(9, columns) + 0.25
    check(randomised(make(columns)), x, target=MACHINES[mlen])


@pytest.mark.parametrize(
    ("make", "blocks", "mlen"), pairwise([nn.LayerNorm, nn.RMSNorm], [1, 4, 8, 9], MACHINES)
)
def test_norms_made_small(make: Callable[..., nn.Module], blocks: int, mlen: int) -> None:
    """Sums of up to 8 column blocks are added as numbers; longer rows are added lane by lane."""
    torch.manual_seed(4)
    columns = blocks * mlen
    norm = make(columns, eps=1e-5)
    norm.weight.data = torch.randn(columns) * 0.2 + 1
    x = torch.randn(5, columns) * 2 + 0.5
    check(norm, x, target=MACHINES[mlen], objective="size")


@pytest.mark.parametrize("eps", [1e-12, 1e-6, 1e-5, 0.5])
def test_epsilons_that_fp16_cannot_hold(eps: float) -> None:
    """The rows' own mean squares are as small as the epsilon."""
    torch.manual_seed(1)
    x = torch.randn(8, 64) * eps**0.5
    check(nn.LayerNorm(64, eps=eps), x)
    check(nn.RMSNorm(64, eps=eps), x)


@tiles
@pytest.mark.parametrize("size", [32, 64, 128])
def test_norms_of_heads(size: int, mlen: int) -> None:
    torch.manual_seed(2)
    x = torch.randn(6, 4 * size)
    gain, bias = torch.randn(size) * 0.2 + 1, torch.randn(size) * 0.2

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain, self.bias = nn.Parameter(gain), nn.Parameter(bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            heads = x.view(6, 4, size)
            return (rms_norm(heads, (size,), self.gain) + layer_norm(heads, (size,), None, self.bias)).view(
                6, -1
            )

    check(Heads(), x, target=MACHINES[mlen])


def test_a_residual_stream_survives_its_norm() -> None:
    """A norm may overwrite its input only if nothing reads it afterwards."""
    torch.manual_seed(3)
    check(lambda x: layer_norm(x, (64,)) + x, torch.randn(8, 64))


@tiles
@pytest.mark.parametrize("columns", [40, 64, 200])
def test_softmax(columns: int, mlen: int) -> None:
    torch.manual_seed(4)
    check(lambda x: torch.softmax(x, -1), torch.randn(7, columns) * 3, target=MACHINES[mlen])


@tiles
@pytest.mark.parametrize("size", [32, 64])
def test_softmax_of_heads(size: int, mlen: int) -> None:
    torch.manual_seed(5)
    x = torch.randn(5, 4 * size)
    check(lambda x: torch.softmax(x.view(5, 4, size), -1).reshape(5, -1), x, target=MACHINES[mlen])


def test_softmax_of_what_is_needed_later() -> None:
    torch.manual_seed(6)
    check(lambda x: torch.softmax(x, -1) * x, torch.randn(5, 70))


@pytest.mark.parametrize("options", [{}, {"objective": "size"}])
def test_softmax_of_long_rows(options: dict[str, Any]) -> None:
    """Column blocks are added lane by lane: a sum in a scalar register loses two bits with 64 of them."""
    torch.manual_seed(7)
    x = torch.randn(5, 64 * 64)
    program = check(lambda x: torch.softmax(x, -1), x, **options)
    assert (program.run(x, progress=False).sum(-1) - 1).abs().max() < 0.01


@settings(max_examples=12)
@given(
    st.integers(1, 20), st.integers(1, 150), st.sampled_from([16, 32, 64]), st.booleans(), st.integers(0, 99)
)
def test_any_shape(rows: int, columns: int, mlen: int, layer: bool, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(rows, columns) * 2
    # The deviation of a row of one or two columns is all cancellation.
    error = 0.006 if columns > 8 else 0.2
    check((nn.LayerNorm if layer else nn.RMSNorm)(columns), x, target=MACHINES[mlen], error=error)


def _mean(rows: Floats, start: float = 0.0) -> Any:
    """Lane sums over column blocks, one reduction, one multiplication, all rounded to bf16."""
    blocks = rows.reshape(len(rows), -1, 64)
    lanes = blocks[:, 0]
    for block in range(1, blocks.shape[1]):
        lanes = bf16_round(lanes + blocks[:, block])
    total = bf16_round(np.float32(start) + lanes.sum(1, dtype=np.float32))
    return bf16_round(total * bf16_round(np.float32(1 / rows.shape[1])))


def _scaled(deviations: Floats, variance: Floats) -> Floats:
    factor = bf16_round(np.float32(1) / bf16_round(np.sqrt(variance)))
    return bf16_round(deviations * factor[:, None])


def _two_passes(x: Floats, eps: float) -> Floats:
    deviations = bf16_round(x - _mean(x)[:, None])
    return _scaled(deviations, _mean(bf16_round(deviations * deviations), x.shape[1] * eps))


def _one_pass(x: Floats, eps: float) -> Floats:
    mean = _mean(x)
    squares = _mean(bf16_round(x * x))
    variance = bf16_round(bf16_round(squares - bf16_round(mean * mean)) + np.float32(eps))
    return _scaled(bf16_round(x - mean[:, None]), variance)


def _shifted(x: Floats, eps: float) -> Floats:
    deviations = bf16_round(x - _mean(x)[:, None])
    shift = _mean(deviations)
    squares = _mean(bf16_round(deviations * deviations), x.shape[1] * eps)
    variance = bf16_round(squares - bf16_round(shift * shift))
    return _scaled(bf16_round(deviations - shift[:, None]), variance)


VARIANCE_ERRORS = {
    _one_pass: {0: 0.004, 1: 0.0065, 4: 0.05, 16: float("inf")},
    _two_passes: {0: 0.004, 1: 0.0055, 4: 0.014, 16: 0.045},
    _shifted: {0: 0.004, 1: 0.004, 4: 0.004, 16: 0.004},
}
"""Bounds of the relative RMS error by form of the variance and mean in standard deviations."""


@pytest.mark.parametrize("form", VARIANCE_ERRORS, ids=lambda form: form.__name__.strip("_"))
def test_forms_of_the_variance(form: Callable[[Floats, float], Floats]) -> None:
    """The figures in the docstring of plena.kernels.norms.lower_layer_norm."""
    rng = np.random.default_rng(0)
    for mean, bound in VARIANCE_ERRORS[form].items():
        x = bf16_round((rng.standard_normal((64, 384)) + mean).astype(np.float32))
        exact = layer_norm(torch.from_numpy(x).double(), (384,), eps=1e-5).numpy()
        with np.errstate(all="ignore"):
            found = form(x, 1e-5)
        error = np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean())
        assert not error > bound, f"{error:.4f} at a mean of {mean}"


def test_the_machine_makes_two_passes() -> None:
    """The compiled layer norm is the two-pass form, to the bit but for the order of float32 sums."""
    rng = np.random.default_rng(7)
    x = torch.from_numpy((rng.integers(-8, 9, (16, 192)) / 4).astype(np.float32))
    program = check(nn.LayerNorm(192, elementwise_affine=False), x)
    expected = _two_passes(x.numpy(), 1e-5)
    found = program.run(x, progress=False).numpy()
    assert np.abs(found - expected).max() <= 2.0**-6
