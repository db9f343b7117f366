"""What functions of a program's inputs lose against PyTorch in float32, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from plena.api.program import Program

if TYPE_CHECKING:
    import torch

Function: TypeAlias = Callable[..., tuple[Any, ...]]
"""Gives outputs for the tensors of a call."""

Loss: TypeAlias = tuple[float, float]
"""What is lost, and what that is to be divided by."""


class SampleErrors:
    """Errors of the first output, over samples.

    Where a module takes integers alone the rows of its output are taken for logits, and the error is the mean of their
    KL divergence from PyTorch's; else it is the squared error over PyTorch's squares.

    Args:
        program: says what PyTorch computes.
        inputs: of every sample the tensors that the program takes.
    """

    def __init__(self, program: Program, inputs: Sequence[Sequence[torch.Tensor]]) -> None:
        assert program.source is not None
        self._float32, self.inputs = program.source.float32, inputs
        self._wanted: dict[int, torch.Tensor] = {}

    @property
    def measure(self) -> str:
        """What errors are called."""
        return "KL" if self._are_logits else "relative squared error"

    def loss(self, function: Function, sample: int) -> Loss:
        """What a function loses on a sample."""
        import torch

        from plena.checking.judging import kl_divergence

        wanted = self._exact(sample)
        with torch.no_grad():
            result = function(*self.inputs[sample])[0].float()
        if self._are_logits:
            found = kl_divergence(result, wanted)
            return float(found.sum()), float(found.numel())
        return float((result - wanted).square().sum()), float(wanted.square().sum())

    def error(self, function: Function) -> float:
        """Over all samples."""
        return error_of([self.loss(function, sample) for sample in range(len(self.inputs))])

    @cached_property
    def _are_logits(self) -> bool:
        return all(not x.is_floating_point() for x in self.inputs[0]) and self._exact(0).shape[-1] > 1

    def _exact(self, sample: int) -> torch.Tensor:
        if sample not in self._wanted:
            self._wanted[sample] = self._float32(*self.inputs[sample])[0].detach()
        return self._wanted[sample]


def error_of(losses: Sequence[Loss]) -> float:
    """The error over some samples."""
    return sum(lost for lost, _ in losses) / (sum(whole for _, whole in losses) or 1.0)
