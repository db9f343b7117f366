"""Rounding a weight column by column, what one loses made good by those that follow.

The error of a layer is `tr(D H D^T)` with D what rounding changes and H the second moments of its inputs: columns that
correlate can make up for each other. Where the inputs are off already, the weight that is rounded is the one that makes
the best of them. Going through the columns, the error of each is spread over the columns behind it
as the least-squares solution says ("optimal brain surgeon"; for whole layers known as GPTQ): its coefficients are rows
of the upper Cholesky factor of the inverse of H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from plena.calibrating.grid import Grid
from plena.machine.scalar_codes import F32

Matrix: TypeAlias = NDArray[np.float64]

TOGETHER = 32
"""Columns whose errors reach the columns behind them in one product."""


@dataclass(frozen=True)
class Moments:
    """Sums over inputs x that should have been x + d, [K, K] each.

    Attributes:
        inputs: of x x^T.
        drift: of d x^T.
        lost: of d d^T.
    """

    inputs: Matrix
    drift: Matrix
    lost: Matrix

    @staticmethod
    def of(x: torch.Tensor, exact: torch.Tensor) -> Moments:
        """Of inputs [M, K] and what they should have been."""
        d = exact - x
        return Moments(*((a.T @ b).double().numpy() for a, b in ((x, x), (d, x), (d, d))))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.inputs + other.inputs, self.drift + other.drift, self.lost + other.lost)

    def error(self, weight: F32, change: F32) -> float:
        """Squared error of the outputs of a changed weight [N, K] over those of the weight for exact inputs."""
        inputs, drift, lost = (m.astype(np.float32) for m in (self.inputs, self.drift, self.lost))
        terms = (change @ inputs) * change - 2 * (weight @ drift) * change + (weight @ lost) * weight
        return float(terms.sum(dtype=np.float64))

    def size(self, weight: F32) -> float:
        """Sum of the squares of the outputs."""
        return float(((weight @ self.inputs.astype(np.float32)) * weight).sum(dtype=np.float64))

    def wanted(self, weight: F32, damping: float | None) -> F32:
        """What is to be rounded: the weight, or with a damping the adapted one."""
        return weight if damping is None else self.adapted(weight, damping)

    def adapted(self, weight: F32, damping: float) -> F32:
        """The weight that makes of the inputs what it should have been."""
        damped = torch.from_numpy(self.inputs) + _damping(self.inputs, damping)
        move = torch.linalg.solve(damped, torch.from_numpy(self.drift.T)).T
        return weight + (weight @ move.float().numpy())


@dataclass(frozen=True)
class Feedback:
    """In which order columns are rounded, and how the error of each is spread over those behind it.

    Attributes:
        order: columns that see the largest inputs first.
        spread: upper Cholesky factor of the inverse of the damped moments, in this order.
    """

    order: NDArray[np.intp]
    spread: F32

    @staticmethod
    def of(moments: Matrix, damping: float) -> Feedback:
        """Of the second moments of inputs [K, K].

        Args:
            damping: added to the moments of every input, over their mean: less is made of what few inputs say.
        """
        order = np.argsort(-np.diagonal(moments), kind="stable")
        return Feedback(order, _spread(moments[np.ix_(order, order)], damping))


def round_with_feedback(weight: F32, feedback: Feedback, grid: Grid) -> F32:
    """The weight [N, K] in the numbers of a grid; equal arguments give equal results."""
    exponents = grid.exponents(weight)
    order, spread = feedback.order, feedback.spread
    rest = np.ascontiguousarray(weight[:, order].T)
    scales = np.ascontiguousarray(exponents[:, order].T)
    found = np.empty_like(rest)
    for start in range(0, len(rest), TOGETHER):
        stop = min(start + TOGETHER, len(rest))
        errors = np.empty((stop - start, rest.shape[1]), np.float32)
        for column in range(start, stop):
            found[column] = grid.nearest(rest[column], scales[column])
            error = (rest[column] - found[column]) / spread[column, column]
            errors[column - start] = error
            rest[column + 1 : stop] -= np.outer(spread[column, column + 1 : stop], error)
        rest[stop:] -= spread[start:stop, stop:].T @ errors
    result = np.empty_like(weight)
    result[:, order] = found.T
    return result


def _damping(moments: Matrix, damping: float) -> torch.Tensor:
    """What is added to moments, diagonal."""
    mean = float(np.diagonal(moments).mean()) or 1.0
    return damping * mean * torch.eye(len(moments), dtype=torch.float64)


def _spread(moments: Matrix, damping: float) -> F32:
    """The factor; the damping grows until the moments are positive definite in spite of rounding."""
    while True:
        damped = torch.from_numpy(moments) + _damping(moments, damping)
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            inverse = torch.cholesky_inverse(lower)
            upper, failed = torch.linalg.cholesky_ex(inverse, upper=True)
            if not failed:
                return upper.float().numpy()
        damping *= 10
