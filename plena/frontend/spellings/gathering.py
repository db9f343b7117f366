"""Elements picked along the last axis by constant numbers, other ones in every row: products with zeros and ones.

Scores by relative position are such: row i of every head is picked from by the numbers of position i.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.spellings.handlers import Arguments, Handler
from plena.frontend.spellings.joining import pick
from plena.frontend.spellings.shapes import permute, view
from plena.tensor.element_types import is_real

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder

LARGEST = 1 << 22
"""So many zeros and ones are staged at most."""


def _gather(g: GraphBuilder, a: Arguments) -> Any:
    """x.gather(-1, index) with a constant index whose rows repeat: a product for each row of the period.

    A product with a 1 and zeros otherwise is exact.
    """
    index, value = a["index"], g.ssa(a["self"])
    shape = shape_of(value)
    if not isinstance(index, torch.Tensor) or len(shape) < 2 or not is_real(value.type):
        return NotImplemented
    if a["dim"] % len(shape) != len(shape) - 1 or tuple(index.shape[:-1]) != shape[:-1]:
        return NotImplemented
    rows = _period(index.reshape(-1, index.shape[-1]))
    columns, picked = shape[-1], rows.shape[1]
    if len(rows) == 1:
        return pick(g, value, len(shape) - 1, rows[0].tolist())
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
