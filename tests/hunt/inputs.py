"""What the inputs of random modules hold: numbers, integers of any value, flags, and what is added to scores."""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST = torch.finfo(torch.float32).min

ADDED = {"-inf": float("-inf"), "minimum": LOWEST, "-1e9": -1e9, "-1e4": -1e4, "-200": -200.0}
"""What a mask adds where attention must not look, by the name of the kind of input."""

FLOATING = frozenset({"zeros", "signs", "bias", *ADDED})
BOOLEAN = frozenset({"flags", "padding", "left padding"})
INTEGRAL = frozenset({"integers", "counts", "0/1", "ids"})


def tensor(kind: int | str, shape: tuple[int, ...]) -> Tensor:
    """A tensor of a kind, from torch's random numbers."""
    if isinstance(kind, int):
        return torch.randint(kind, shape) if kind else torch.randn(shape)
    if kind in ADDED:
        return torch.zeros(shape).masked_fill(torch.rand(shape) < _share(), ADDED[kind])
    match kind:
        case "zeros":
            return torch.randn(shape) * (torch.rand(shape) < 0.6) + 0.0
        case "signs":
            return torch.randint(-1, 2, shape).float()
        case "bias":
            return -torch.rand(shape) * 10.0 ** torch.randint(0, 5, ())
        case "flags":
            return torch.rand(shape) > _share()
        case "padding" | "left padding":
            lengths = torch.randint(0, shape[-1] + 1, (*shape[:-1], 1))
            kept = torch.arange(shape[-1]) < lengths
            return kept.flip(-1) if kind == "left padding" else kept
        case "integers":
            return torch.randint(-3, int(10 ** torch.randint(1, 4, ())), shape)
        case "counts":
            return torch.randint(0, int(torch.randint(2, 9, ())), shape)
        case "0/1":
            return (torch.rand(shape) < 0.6).long()
        case "ids":
            return torch.randint(4, shape)
        case _:
            raise ValueError(kind)


def _share() -> float:
    """Of masked elements: few, many, or all."""
    return (0.2, 0.5, 0.8, 1.0)[int(torch.randint(4, ()))]
