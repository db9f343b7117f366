"""Elements picked along an axis by constant numbers: slices where they are the same for all others.

Other ones in every row along the last axis are products with zeros and ones. Scores by relative position are such: row
i of every head is picked from by the numbers of position i.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch

from plena.dialects import aten
from plena.dialects.tensor_shapes import is_real, shape_of
from plena.frontend.spellings.handlers import Arguments, Handler
from plena.frontend.spellings.joining import pick
from plena.frontend.spellings.shapes import permute, view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder

LARGEST = 1 << 22
"""So many zeros and ones are staged at most."""


def _gather(g: GraphBuilder, a: Arguments) -> Any:
    """x.gather(dim, index) with a constant index, the same for all other axes or along the last axis.

    Then it is a product for each row until the numbers repeat; a product with a 1 and zeros otherwise is exact.
    """
    index, value = a["index"], g.ssa(a["self"])
    shape = shape_of(value)
    if not isinstance(index, torch.Tensor) or not shape or not is_real(value.type):
        return NotImplemented
    dim = a["dim"] % len(shape)
    if tuple(index.shape[:dim] + index.shape[dim + 1 :]) != (*shape[:dim], *shape[dim + 1 :]):
        return NotImplemented
    alike = index.movedim(dim, 0).flatten(1)
    if bool((alike == alike[:, :1]).all()):
        return pick(g, value, dim, alike[:, 0].tolist())
    if dim != len(shape) - 1:
        return NotImplemented
    rows = _period(index.reshape(-1, index.shape[-1]))
    columns, picked = shape[-1], rows.shape[1]
    if rows.numel() * columns > LARGEST:
        return NotImplemented
    times = prod(shape[:-1]) // len(rows)
    chosen = torch.nn.functional.one_hot(rows, columns).transpose(1, 2).to(torch.float32)
    g.name_constant(chosen)
    together = permute(g, view(g, value, (times, len(rows), columns)), (1, 0, 2))
    product = g.build(aten.MatmulOp, [together, chosen], shape=(len(rows), times, picked))
    return view(g, permute(g, product, (1, 0, 2)), g.shape)


def _period(index: torch.Tensor) -> torch.Tensor:
    """The first rows of a matrix that are repeated throughout it."""
    number = len(index)
    for count in (n for n in range(1, number) if number % n == 0):
        if torch.equal(index[count:], index[:-count]):
            return index[:count]
    return index


SPELLINGS: dict[str, Handler] = {"aten.gather.default": _gather}
"""Handlers by overload."""
