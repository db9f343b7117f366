"""Operators that give a tensor with some of its slices replaced, as writes into buffers become."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.frontend.spellings.handlers import BOOLEAN, Arguments, Handler
from plena.frontend.spellings.shapes import expand, view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _index_copy(g: GraphBuilder, a: Arguments) -> Any:
    return _copied(g, g.ssa(a["self"]), a["dim"], g.ssa(a["index"]), g.ssa(a["source"]))


def index_put(g: GraphBuilder, a: Arguments) -> Any:
    """x[:, i] = values with one vector of integers that a run knows, or NotImplemented."""
    indices = [(axis, index) for axis, index in enumerate(a["indices"]) if index is not None]
    if a["accumulate"] or len(indices) != 1:
        return NotImplemented
    axis, index = indices[0]
    index = g.ssa(index)
    if element_type_of(index) == BOOLEAN or len(shape_of(index)) != 1:
        return NotImplemented
    return _copied(g, g.ssa(a["self"]), axis, index, g.ssa(a["values"]))


def slice_scatter(g: GraphBuilder, a: Arguments) -> SSAValue:
    """x[:, start:end:step] = values, as a write into x."""
    value = g.ssa(a["self"])
    dim = a["dim"] % len(shape_of(value))
    places = torch.arange(shape_of(value)[dim])[slice(a["start"], a["end"], a["step"])]
    g.name_constant(places)
    return _copied(g, value, dim, g.ssa(places), g.ssa(a["src"]))


def _copied(g: GraphBuilder, value: SSAValue, dim: int, index: SSAValue, source: SSAValue) -> SSAValue:
    """`value` with slices of `source` along `dim` in the places of `index`."""
    shape = list(shape_of(value))
    dim %= len(shape)
    flat = view(g, index, (prod(shape_of(index)),))
    shape[dim] = shape_of(flat)[0]
    given = expand(g, source, shape)
    properties = {"dim": IntegerAttr(dim, i64)}
    return g.build(
        aten.IndexCopyOp,
        [value, flat, given],
        properties,
        shape=shape_of(value),
        element=element_type_of(value),
    )


def _copy(g: GraphBuilder, a: Arguments) -> Any:
    """x.copy_(y) is y in the shape of x; of another dtype it is converted."""
    source = g.ssa(a["src"])
    if element_type_of(source) != g.element:
        source = g.build(aten.ToOp, [source], shape=shape_of(source))
    return expand(g, source, g.shape)


SPELLINGS: dict[str, Handler] = {
    "aten.index_copy.default": _index_copy,
    "aten.copy.default": _copy,
}  # fmt: skip
"""Handlers by overload."""
