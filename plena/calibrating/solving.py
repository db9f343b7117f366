"""Every weight of a model in turn: the moments of its inputs, the rounded weight, whether it is better."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from xdsl.ir import Attribute

from plena.calibrating.error_feedback import Feedback, Moments, round_with_feedback
from plena.calibrating.grid import Grid
from plena.calibrating.walk import Seen
from plena.host.calibration import CalibratedLayer, exact_bits, key_of
from plena.host.staged_data import symbol_of
from plena.machine.scalar_codes import F32, bf16_from_bits

HELD_BACK = 5
"""One sample of so many is not used, but judged by; of fewer samples, one row of so many."""

DAMPINGS = (0.01, 0.1, 1.0)
"""Tried for every weight; what held-back inputs like best is taken."""


class CalibrationWarning(UserWarning):
    """Samples that say less than a calibration needs."""


@dataclass
class Solver:
    """Rounds the weights that `walk` comes by.

    Attributes:
        grid: what they may become.
        single: keys of weights that one layer alone reads; others stay as they are.
        known: layers that were solved before, with their bits if those are better.
        found: is called with every layer that was solved.
        layers, weights: as of `Calibration`.
    """

    grid: Grid
    single: frozenset[str]
    known: dict[str, tuple[CalibratedLayer, NDArray[np.uint16] | None]]
    found: Callable[[CalibratedLayer, NDArray[np.uint16] | None], None]
    layers: list[CalibratedLayer] = field(default_factory=list[CalibratedLayer])
    weights: dict[str, NDArray[np.uint16]] = field(default_factory=dict[str, NDArray[np.uint16]])
    _inputs: _Inputs | None = None

    def __call__(self, expression: Attribute, weight: torch.Tensor, inputs: Sequence[Seen]) -> torch.Tensor:
        """The weight as it will be staged."""
        started = time.perf_counter()
        values: F32 = np.ascontiguousarray(weight.numpy(), np.float32)
        plain = self.grid.nearest(values, self.grid.exponents(values))
        symbol = symbol_of(expression)
        if symbol not in self.single:
            return torch.from_numpy(plain)
        key = key_of(weight)
        layer, bits = self.known.get(key, (None, None))
        if layer is None:
            layer, bits = self._solved(
                CalibratedLayer(symbol, key, values.shape, 0, 0.0, 0.0, 0.0), values, plain, inputs
            )
            layer = replace(layer, seconds=round(time.perf_counter() - started, 3))
            self.found(layer, bits)
        self.layers.append(layer)
        if bits is None:
            return torch.from_numpy(plain)
        self.weights[key] = bits
        return torch.from_numpy(bf16_from_bits(bits))

    def _solved(
        self, layer: CalibratedLayer, values: F32, plain: F32, inputs: Sequence[Seen]
    ) -> tuple[CalibratedLayer, NDArray[np.uint16] | None]:
        if self._inputs is None or not self._inputs.are(inputs):
            self._inputs = _Inputs.of(inputs)
        seen = self._inputs
        scale = seen.held_back.size(values) or 1.0
        nearest = seen.held_back.error(values, plain - values) / scale
        best = _Best(nearest, None, DAMPINGS[0], None)

        def attempt(damping: float, adapting: float | None) -> bool:
            """Whether this is better than what is known."""
            nonlocal best
            rounded = round_with_feedback(
                seen.used.wanted(values, adapting), seen.feedback(damping), self.grid
            )
            bits, error = exact_bits(rounded), seen.held_back.error(values, rounded - values) / scale
            if bits is None or not error < best.error:
                return False
            best = _Best(error, bits, damping, adapting)
            return True

        for damping in DAMPINGS:
            if not attempt(damping, None) and best.bits is not None:
                break
        for adapting in DAMPINGS[1:]:
            if seen.used.lost.any() and not attempt(best.damping, adapting):
                break
        return replace(layer, rank=seen.rank, nearest=nearest, calibrated=best.error), self._of_all(
            values, seen, best
        )

    def _of_all(self, values: F32, seen: _Inputs, best: _Best) -> NDArray[np.uint16] | None:
        """The bits of what was best, made of all inputs: those that were held back have judged by now."""
        if best.bits is None or seen.every is seen.held_back:
            return best.bits
        feedback = seen.feedback(best.damping, every=True)
        rounded = round_with_feedback(seen.every.wanted(values, best.adapting), feedback, self.grid)
        bits = exact_bits(rounded)
        worse = seen.held_back.error(values, rounded - values) > seen.held_back.error(
            values, bf16_from_bits(best.bits) - values
        )
        return best.bits if bits is None or worse else bits

    def warn(self) -> None:
        """Says whether layers saw inputs of a lower rank than they have features."""
        low = [layer for layer in self.layers if layer.rank < layer.shape[1]]
        if low:
            worst = min(low, key=lambda layer: layer.rank / layer.shape[1])
            warnings.warn(
                f"too few samples for {len(low)} of {len(self.layers)} layers: the inputs of {worst.name} have rank "
                f"{worst.rank} at most, it has {worst.shape[1]} features; give more or longer samples",
                CalibrationWarning,
                stacklevel=3,
            )


@dataclass(frozen=True)
class _Best:
    """The best rounded weight so far: its error, its bits, the dampings of the feedback and of what was wanted."""

    error: float
    bits: NDArray[np.uint16] | None
    damping: float
    adapting: float | None


@dataclass
class _Inputs:
    """What the samples say of the inputs [M, K] of some weights.

    Attributes:
        inputs: of every sample.
        used, held_back, every: moments of the ones that weights are made of, of those that judge, of both.
        rank: of the used ones, at most.
    """

    inputs: Sequence[Seen]
    used: Moments
    held_back: Moments
    every: Moments
    rank: int
    _feedback: dict[tuple[float, bool], Feedback] = field(default_factory=dict[tuple[float, bool], Feedback])

    @staticmethod
    def of(inputs: Sequence[Seen]) -> _Inputs:
        """Each different input counts once, with about the same weight: texts may begin alike, and few inputs that
        are far larger than all others would be all that counts.
        """
        x, exact = (torch.cat(parts) for parts in zip(*inputs, strict=True))
        sample = torch.repeat_interleave(torch.tensor([len(i.rounded) for i in inputs]))
        first = _first_occurrences(x)
        x, exact, sample = x[first], exact[first], sample[first]
        number = sample if len(inputs) >= HELD_BACK else torch.arange(len(x))
        held = number % HELD_BACK == HELD_BACK - 1
        if not held.any():
            held[:] = True
            used = held
        else:
            used = ~held
        size = x.square().sum(1)
        size = (size + size.mean()).sqrt().clamp(min=torch.finfo(x.dtype).tiny)[:, None]
        x, exact = x / size, exact / size
        seen, judges = Moments.of(x[used], exact[used]), Moments.of(x[held], exact[held])
        every = judges if used is held else seen + judges
        rank = min(int(used.sum()), int(np.count_nonzero(np.diagonal(seen.inputs))))
        return _Inputs(inputs, seen, judges, every, rank)

    def are(self, inputs: Sequence[Seen]) -> bool:
        """Whether these are the same tensors."""
        return len(inputs) == len(self.inputs) and all(
            a.rounded is b.rounded for a, b in zip(inputs, self.inputs, strict=True)
        )

    def feedback(self, damping: float, *, every: bool = False) -> Feedback:
        """Of the used ones, or of all; computed once."""
        key = damping, every
        if key not in self._feedback:
            self._feedback[key] = Feedback.of((self.every if every else self.used).inputs, damping)
        return self._feedback[key]


def _first_occurrences(x: torch.Tensor) -> NDArray[np.intp]:
    """The rows that are unlike all rows before them, ascending."""
    rows = np.ascontiguousarray(x.numpy())
    whole = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]
    return np.sort(np.unique(whole, return_index=True)[1])
