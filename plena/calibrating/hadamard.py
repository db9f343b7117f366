"""Orthogonal matrices that spread features over all others: Hadamard where there is one."""

from __future__ import annotations

import torch


def signs(size: int) -> torch.Tensor:
    """The Hadamard matrix of a power of two, ones of both signs, float64 [size, size]."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < size:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1)))
    return matrix


def hadamard(size: int) -> torch.Tensor:
    """The orthogonal Hadamard matrix of a power of two, float64 [size, size]; it is its own inverse."""
    return signs(size) / size**0.5


def matrix_of(features: int) -> torch.Tensor:
    """An orthogonal matrix, float64 [features, features], that spreads each feature over all.

    Hadamard of the largest power of two times a cosine transform of the rest, with signs of a fixed seed: without them
    a common part of all features would come together in one.
    """
    size = features & -features
    rest = features // size
    n = torch.arange(rest, dtype=torch.float64)
    cosines = torch.cos(torch.pi / rest * (n[None, :] + 0.5) * n[:, None]) * (2 / rest) ** 0.5
    cosines[0] /= 2**0.5
    signs = torch.randint(0, 2, (features,), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    return signs.double()[:, None] * torch.kron(cosines.T.contiguous(), hadamard(size))
