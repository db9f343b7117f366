"""Discrete Fourier transforms as products with constant matrices, axis by axis; torch decomposes them into these."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Parts:
    """A complex tensor by its parts; a real one has no imaginary part."""

    real: Tensor
    imaginary: Tensor | None

    @staticmethod
    def of(x: Tensor) -> _Parts:
        return _Parts(x.real, x.imag) if x.is_complex() else _Parts(x.float(), None)

    def joined(self) -> Tensor:
        imaginary = torch.zeros_like(self.real) if self.imaginary is None else self.imaginary
        return torch.complex(self.real, imaginary)


def _waves(rows: int, columns: int, length: int, factor: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of 2 pi i j / length, times a factor: two matrices [rows, columns].

    The angle is reduced while it is an integer: cosines of large float32 angles are wrong in the fourth digit.
    """
    turns = torch.arange(rows)[:, None] * torch.arange(columns) % length
    angles = turns.double() * (2 * math.pi / length)
    return (angles.cos() * factor).float(), (angles.sin() * factor).float()


def _along(x: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """The product of an axis and a matrix [size of the axis, new size]."""
    if dim == x.ndim - 1:
        return x @ matrix
    return (x.transpose(dim, -1) @ matrix).transpose(dim, -1)


def _factor(norm: str | None, length: int, inverse: bool) -> float:
    """What a transform is multiplied by."""
    if norm == "ortho":
        return length**-0.5
    return 1 / length if inverse == (norm != "forward") else 1.0


def _transformed(
    x: _Parts, dim: int, length: int, norm: str | None, inverse: bool, half: bool = False
) -> _Parts:
    """Along one axis that is cut off at, or continued with zeros to, `length`; of the frequencies half, if wanted."""
    used = min(length, x.real.shape[dim])
    size = length // 2 + 1 if half else length
    cosines, sines = _waves(used, size, length, _factor(norm, length, inverse))
    sines = sines if inverse else -sines
    real = x.real.narrow(dim, 0, used)
    if x.imaginary is None:
        return _Parts(_along(real, dim, cosines), _along(real, dim, sines))
    imaginary = x.imaginary.narrow(dim, 0, used)
    return _Parts(
        _along(real, dim, cosines) - _along(imaginary, dim, sines),
        _along(real, dim, sines) + _along(imaginary, dim, cosines),
    )


def _real_again(x: _Parts, dim: int, length: int, norm: str | None) -> Tensor:
    """The real signal of which an axis holds half of the frequencies: all but the first and the middle count twice."""
    used = min(length // 2 + 1, x.real.shape[dim])
    cosines, sines = _waves(used, length, length, _factor(norm, length, True))
    frequency = torch.arange(used)[:, None]
    alone = (frequency == 0) | (2 * frequency == length)
    twice = torch.where(alone, 1.0, 2.0)
    result = _along(x.real.narrow(dim, 0, used), dim, cosines * twice)
    if x.imaginary is None:
        return result
    return result - _along(x.imaginary.narrow(dim, 0, used), dim, sines * twice)


def _axes(
    x: Tensor, s: Sequence[int] | None, dim: Sequence[int] | None
) -> tuple[list[int], list[int | None]]:
    """The axes of a transform along several, and what their sizes become; None: what they are."""
    if dim is None:
        dim = list(range(x.ndim)) if s is None else list(range(x.ndim - len(s), x.ndim))
    sizes: list[int | None] = [None] * len(dim)
    if s is not None:
        sizes = [None if n == -1 else n for n in s]
    return [d % x.ndim for d in dim], sizes


def _complex(inverse: bool) -> Callable[..., Tensor]:
    """fftn and ifftn."""

    def transform(
        self: Tensor,
        s: Sequence[int] | None = None,
        dim: Sequence[int] | None = None,
        norm: str | None = None,
    ) -> Tensor:
        parts, (axes, sizes) = _Parts.of(self), _axes(self, s, dim)
        for axis, size in reversed(list(zip(axes, sizes, strict=True))):
            parts = _transformed(parts, axis, size or self.shape[axis], norm, inverse)
        return parts.joined()

    return transform


def _real(
    self: Tensor, s: Sequence[int] | None = None, dim: Sequence[int] | None = None, norm: str | None = None
) -> Tensor:
    """rfftn: half of the frequencies of the last axis."""
    axes, sizes = _axes(self, s, dim)
    parts = _transformed(
        _Parts.of(self), axes[-1], sizes[-1] or self.shape[axes[-1]], norm, inverse=False, half=True
    )
    for axis, size in reversed(list(zip(axes[:-1], sizes[:-1], strict=True))):
        parts = _transformed(parts, axis, size or self.shape[axis], norm, inverse=False)
    return parts.joined()


def _inverse_real(
    self: Tensor, s: Sequence[int] | None = None, dim: Sequence[int] | None = None, norm: str | None = None
) -> Tensor:
    """irfftn."""
    parts, (axes, sizes) = _Parts.of(self), _axes(self, s, dim)
    for axis, size in zip(axes[:-1], sizes[:-1], strict=True):
        parts = _transformed(parts, axis, size or self.shape[axis], norm, inverse=True)
    return _real_again(parts, axes[-1], sizes[-1] or 2 * (self.shape[axes[-1]] - 1), norm)


def _one_axis(transform: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def along_one(self: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
        return transform(self, None if n is None else [n], [dim], norm)

    return along_one


def _two_axes(transform: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def along_two(
        self: Tensor, s: Sequence[int] | None = None, dim: Sequence[int] = (-2, -1), norm: str | None = None
    ) -> Tensor:
        return transform(self, s, dim, norm)

    return along_two


_TRANSFORMS = {"fft": _complex(False), "ifft": _complex(True), "rfft": _real, "irfft": _inverse_real}

FOURIER: dict[Any, Callable[..., Tensor]] = {
    getattr(torch.ops.aten, f"fft_{name}{axes}").default: wrapped(transform)
    for name, transform in _TRANSFORMS.items()
    for axes, wrapped in (("", _one_axis), ("2", _two_axes), ("n", lambda t: t))
}
"""Decompositions by overload."""
