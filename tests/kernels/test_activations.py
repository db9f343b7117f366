"""Activation functions over every finite bf16 argument, on the emulator, against float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from plena.api.compile import compile
from plena.dialects.tile import PanelRows
from plena.interpreters.plena import _activations  # pyright: ignore[reportPrivateUsage]
from plena.kernels.activations import ACTIVATIONS, SLOPED
from plena.kernels.builder import TileBuilder
from plena.kernels.context import KernelContext
from plena.kernels.lanes import Lanes, emit_elementwise
from plena.kernels.logarithms import LOGARITHMS
from plena.kernels.schedule import Schedule
from tests.harness_tile import TARGETS, run_both
from tests.kernels.checking import Function, check

Floats = npt.NDArray[np.float64]

TARGET = TARGETS["64x4"]
SLOPES = {"leaky_relu": 0.1, "elu": 0.7}

ABSOLUTE_BEYOND_ONE_ULP = {
    "silu": 3.5e-3,
    "gelu_erf": 1e-3,
    "gelu_tanh": 3.5e-3,
    "gelu_quick": 3.5e-3,
    "relu": 0.0,
    "sigmoid": 2e-3,
    "tanh": 9e-3,
    "exp": 0.0,
    "abs": 0.0,
    "leaky_relu": 0.0,
    "elu": 2e-3,
    "expm1": 4e-3,
    "softplus": 4e-3,
    "mish": 9e-3,
}
"""How far a computed value may be from the exact one, one bf16 ulp of that apart."""


ULPS_OF_SMALL_NUMBERS = {"elu": 2.5, "expm1": 2.5, "tanh": 2.5}
"""How far it may be from the exact one where that is nearly proportional to the argument."""


def every_number() -> Floats:
    """All finite bf16 numbers up to 80 in magnitude, whole rows of them."""
    bits = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    numbers = bits.view(np.float32)
    numbers = numbers[np.isfinite(numbers) & (np.abs(numbers) <= 80)]
    return np.pad(numbers, (0, -len(numbers) % TARGET.vlen)).astype(np.float64)


def computed(kind: str, x: Floats) -> Floats:
    """The kernel's expression run by the tile level and by the emulator, which must agree."""
    vlen = TARGET.vlen
    builder = TileBuilder(TARGET)
    ctx = KernelContext(builder, Schedule())
    source, result = (builder.buffer(name, "vector", len(x)) for name in "xy")

    def expression(lanes: Lanes) -> object:
        if kind in SLOPED:
            return SLOPED[kind](lanes, lanes.inputs[0], SLOPES[kind])
        if kind in LOGARITHMS:
            return LOGARITHMS[kind](lanes, lanes.inputs[0], True)
        return ACTIVATIONS[kind](lanes, lanes.inputs[0])

    panels = [PanelRows(buffer, vlen, len(x)) for buffer in (result, source)]
    emit_elementwise(ctx, panels[:1], panels[1:], (len(x) // vlen, 1), expression)  # type: ignore[arg-type]
    both = run_both(builder.finish(), TARGET, {"x": x})
    # Numbers that do not fit into registers are kept in FP SRAM, behind the buffers.
    both = both if kind not in LOGARITHMS else replace(both, outside={})
    both.assert_equal(skip=["row"])
    return both.emulated["y"].astype(np.float64)


@pytest.mark.parametrize("kind", ABSOLUTE_BEYOND_ONE_ULP)
def test_every_argument(kind: str) -> None:
    x = every_number()
    slope = () if kind not in SLOPES else (SLOPES[kind],)
    exact = _activations()[kind](torch.from_numpy(x), *slope).numpy()
    ulp = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(exact), 2.0**-126))) - 7)
    found = computed(kind, x)
    excess = np.abs(found - exact) - ulp
    worst = int(excess.argmax())
    assert excess[worst] <= ABSOLUTE_BEYOND_ONE_ULP[kind], f"{excess[worst]:.3g} at {x[worst]}"
    if kind in ULPS_OF_SMALL_NUMBERS:
        ulps = np.abs(found - exact)[np.abs(x) < 0.25] / ulp[np.abs(x) < 0.25]
        assert ulps.max() <= ULPS_OF_SMALL_NUMBERS[kind]


@pytest.mark.parametrize("kind", LOGARITHMS)
def test_logarithms_of_every_number(kind: str) -> None:
    """Of all finite bf16 numbers: within two ulps and a half, also next to the zero of the function; what PyTorch has
    elsewhere.
    """
    bits = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    x = bits.view(np.float32)
    normal = np.isfinite(x) & ((np.abs(x) >= 2.0**-126) | (x == 0)) & (x < 2.0**127)
    x = x[normal].astype(np.float64)
    x = np.pad(x, (0, -len(x) % TARGET.vlen), constant_values=1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.log(x) if kind == "log" else np.log1p(x)
    found = computed(kind, x)
    finite = np.isfinite(exact)
    assert np.array_equal(found[~finite], exact[~finite], equal_nan=True)
    found, exact = found[finite], exact[finite]
    ulp = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(exact), 2.0**-126))) - 7)
    errors = np.abs(found - exact) / ulp
    worst = int(errors.argmax())
    assert errors[worst] <= (2.0 if kind == "log" else 2.5), f"{errors[worst]:.3g} ulps at {x[finite][worst]}"


def test_what_logarithms_are_used_for() -> None:
    torch.manual_seed(5)
    x = torch.randn(7, 75) * 3
    check(lambda x: torch.logsumexp(x, -1), x)
    check(lambda x: torch.log2(x.abs() + 0.5), x, error=0.01)
    check(lambda x: torch.log_softmax(x, 0), x, error=0.01)
    check(lambda x: torch.log1p(x.abs()) * torch.expm1(x * 0.1), x, error=0.01)
    found = compile(Function(torch.log), (x,)).run(torch.tensor([[0.0, -0.0, -1.0, 1.0] + [2.0] * 71] * 7))
    wanted = torch.tensor([float("-inf"), float("-inf"), float("nan"), 0.0])
    torch.testing.assert_close(found[0, :4], wanted, equal_nan=True)


@pytest.mark.parametrize(
    "module",
    [
        nn.SiLU(),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.ReLU(),
        nn.ReLU6(),
        nn.LeakyReLU(0.2),
        nn.ELU(0.5),
        nn.SELU(),
        nn.CELU(0.5),
        nn.PReLU(75),
        nn.Hardswish(),
        nn.Sigmoid(),
        nn.Tanh(),
        nn.Softplus(),
        nn.Softplus(beta=2.0),
        nn.Mish(),
        nn.LogSigmoid(),
        nn.LogSoftmax(-1),
    ],
    ids=str,
)
def test_modules(module: nn.Module) -> None:
    """Rows that are no multiple of anything, columns that end within a block."""
    torch.manual_seed(0)
    check(module, torch.randn(7, 75) * 2, error=0.01)


def test_roots_and_reciprocals() -> None:
    torch.manual_seed(1)
    x = torch.rand(6, 70) * 40 + 0.05
    check(torch.sqrt, x)
    check(torch.rsqrt, x)
    check(torch.reciprocal, x)
    check(torch.exp, -x)


@pytest.mark.parametrize("scale", [1e-36, 1e-18, 1e-6, 1.0, 1e6, 1e18, 1e36])
def test_roots_of_small_and_large_numbers(scale: float) -> None:
    """Many go through the vector unit's iteration, few through the scalar unit."""
    torch.manual_seed(2)
    x = (torch.rand(4, 64) + 0.5) * scale
    check(torch.sqrt, x)
    if scale > 1e-30:
        check(lambda x: torch.rsqrt(x) / 8, x)
    check(lambda x: torch.sqrt(x.sum(-1, keepdim=True)) * (x / scale), x)


def test_gates() -> None:
    torch.manual_seed(3)
    gate, up = torch.randn(2, 7, 90)
    check(lambda a, b: nn.functional.silu(a) * b, gate, up)
    check(lambda a, b: nn.functional.gelu(a, approximate="tanh") * b, gate, up)
    check(lambda a, b: nn.functional.silu(a) * b + a, gate, up)
