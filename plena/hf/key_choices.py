"""Keys that a step of a language model picks by the order of their numbers, as the top-k of sparse attention does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from plena.hf.step_module import CachedStep

ORDERS = frozenset(["topk", "kthvalue", "sort", "argmax", "argmin"])
"""Operators that put an axis in order, or say where one of it lies."""


@dataclass(frozen=True)
class Ordered:
    """An operator that put an axis of `size` numbers in order; `most` is the longest axis of which it keeps all."""

    operator: str
    most: int
    size: int

    def __str__(self) -> str:
        return f"aten.{self.operator} picks from {self.size} keys"


def orders_of_keys(step: CachedStep, shorter: CachedStep) -> list[Ordered]:
    """Where the order of numbers decides what `step` sees; axes of one size in both steps are not of keys.

    Args:
        step: the one that is asked about.
        shorter: a step of the same model that attends to fewer keys.
    """
    others = Counter(_orders(shorter))
    return [*(Counter(found for found in _orders(step)) - others)]


def _orders(step: CachedStep) -> list[Ordered]:
    """The operators of one token that put an axis in order."""
    first = torch.zeros(step.taken, 1, dtype=torch.int64)
    with _Orders() as mode:
        step(first, first.clone())
    return mode.found


class _Orders(TorchDispatchMode):
    """Notes the operators that put an axis in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Ordered] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in ORDERS and args[0].ndim:
            given = dict(zip((one.name for one in func._schema.arguments), args, strict=False)) | (
                kwargs or {}
            )
            size = args[0].shape[given["dim"] if given.get("dim") is not None else -1]
            most = given["k"] if name == "topk" else 1
            if most < size:
                self.found.append(Ordered(name, most, size))
        return func(*args, **(kwargs or {}))
