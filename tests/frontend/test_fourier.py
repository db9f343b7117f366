"""Fourier transforms: every overload is what torch computes, and programs with them are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import plena
from plena.frontend.fourier import FOURIER

AXES = {"": {"dim": 1}, "2": {"dim": (2, 1)}, "n": {"dim": (0, 2, 1)}}


def transforms() -> list[Any]:
    return [pytest.param(overload, id=str(overload).split(".")[1]) for overload in FOURIER]


@pytest.mark.parametrize("norm", [None, "forward", "backward", "ortho"])
@pytest.mark.parametrize("overload", transforms())
def test_decompositions_are_what_torch_computes(overload: Any, norm: str | None) -> None:
    """Axes in any order, even and odd sizes, signals cut off and continued with zeros."""
    name = str(overload).split(".")[1].removeprefix("fft_")
    axes = AXES[name[len(name.rstrip("2n")) :]]
    count = 1 if isinstance(axes["dim"], int) else len(axes["dim"])
    size = "n" if count == 1 else "s"
    real = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))
    signals = [real] if name.startswith("rfft") else [real, torch.complex(real, real.flip(0))]
    for x in signals:
        for sizes in (None, (4,) * count, (9,) * count):
            given = {} if sizes is None else {size: sizes[0] if count == 1 else sizes}
            found, wanted = (f(x, norm=norm, **axes, **given) for f in (FOURIER[overload], overload))
            assert found.dtype == wanted.dtype and found.shape == wanted.shape
            torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


def test_default_axes_and_sizes() -> None:
    x = torch.randn(2, 4, 6)
    for name in ("fft", "rfft", "fft2", "rfft2", "fftn", "rfftn"):
        overload = getattr(torch.ops.aten, f"fft_{name}").default
        torch.testing.assert_close(FOURIER[overload](x), overload(x), atol=1e-5, rtol=1e-4)
    overload = torch.ops.aten.fft_fftn.default
    torch.testing.assert_close(FOURIER[overload](x, [3, -1]), overload(x, [3, -1]), atol=1e-5, rtol=1e-4)


def _filtered(self: Any, x: Tensor) -> Tensor:
    """A global filter: a product with a learnt one among the frequencies of two axes."""
    spectrum = torch.fft.rfft2(x, norm="ortho") * torch.view_as_complex(self.filter)
    return torch.fft.irfft2(spectrum, s=x.shape[-2:], norm="ortho")


def _parts(self: Any, x: Tensor) -> tuple[Tensor, ...]:
    y = torch.fft.fft(x)
    return y.imag, y.abs(), torch.fft.ifft(y).real, torch.view_as_real(y)


def _correlated(self: Any, x: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(x + 1).conj(), n=16)


def _moved(self: Any, x: Tensor) -> Tensor:
    """Sums, differences, products with real numbers, moved elements; the first sines are no result."""
    power = torch.fft.rfft(x, n=20)[..., 1:].real
    y = torch.fft.rfft(x, n=20).transpose(1, 2)[:, 1:] * 0.5 - 1j
    return power + (y + x.sum(-1)[:, None, :4]).imag.transpose(1, 2)


MODELS: dict[str, Callable[[Any, Tensor], Any]] = {
    "mixed": lambda self, x: torch.fft.fftn(x, dim=(1, 2)).real,
    "filtered": _filtered,
    "parts": _parts,
    "correlated": _correlated,
    "moved": _moved,
}


class Transformed(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.filter = nn.Parameter(torch.randn(4, 9, 2) * 0.1 + 0.5)

    def forward(self, x: Tensor) -> Any:
        return MODELS[self.name](self, x)


@pytest.mark.parametrize("name", MODELS)
def test_programs_are_right(name: str) -> None:
    torch.manual_seed(0)
    program = plena.compile(Transformed(name), (torch.randn(1, 4, 16),))
    report = program.check(quiet=True)
    assert report.passed, str(report)
    assert report.machine is not None and report.machine.relative_rms == 0
    assert report.quantized is not None and report.quantized.relative_rms < 0.015


@pytest.mark.parametrize("function", [torch.angle, lambda y: y / y, lambda y: y.sum(-1)])
def test_other_operators_on_complex_tensors_are_refused(function: Any) -> None:
    class Complex(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(torch.fft.fft(x)).real

    with pytest.raises(plena.PlenaError, match=r"aten\.\w+.*complex.*") as caught:
        plena.compile(Complex(), (torch.randn(2, 8),))
    assert "test_fourier.py" in str(caught.value) and "view_as_real" in str(caught.value)
