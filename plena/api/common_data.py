"""What programs on one HBM image have in common has the same contents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from plena.api.program import Program
from plena.buffers.common_image import key_of
from plena.dialects.plena.staging import symbols_of
from plena.errors import CompileError
from plena.host.staged_data import StagedData


def require_same_data(program: Program, others: Iterable[Program]) -> None:
    """Refuses a program that has something else under the name of a tensor of the programs that it is compiled beside.

    Raises:
        CompileError: which tensor it is.
    """
    for other in others:
        known = {key_of(p) for p in other.placements_of("data") if p.memory == "hbm"}
        for placement in program.placements_of("data"):
            symbol, shared = placement.source.symbol, key_of(placement) in known
            if shared and not _same(program.data, other.data, symbol):
                raise CompileError(
                    f"{symbol} is not what it is in the programs that this one is compiled beside",
                    "options",
                    "Give programs of the same model, unchanged, or leave `beside` out.",
                )


def _same(own: Any, other: Any, symbol: str) -> bool:
    if not (isinstance(own, StagedData) and isinstance(other, StagedData) and symbol in own.expressions):
        return _equal(own(symbol), other(symbol))
    return all(
        _equal(own.tensors[name], other.tensors[name]) for name in set(symbols_of(own.expressions[symbol]))
    )


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a is b or (a.shape == b.shape and (a.data_ptr() == b.data_ptr() or torch.equal(a, b)))


__all__ = ["require_same_data"]
