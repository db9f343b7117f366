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
from plena.frontend.spellings.shapes import expand, slice_along, view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


MOST_ROWS = 8
"""Slices that are written at run-time places into what is no buffer; each is a choice over the whole tensor."""


def is_state(value: SSAValue) -> bool:
    """Whether a value is a buffer that runs update, with what a run has written into it so far."""
    owner = value.owner
    while isinstance(owner, aten.IndexCopyOp):
        owner = owner.operands[0].owner
    return isinstance(owner, aten.StateOp)


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
    if shape[dim] <= MOST_ROWS and not is_state(value):
        return _chosen(g, value, dim, flat, given)
    properties = {"dim": IntegerAttr(dim, i64)}
    return g.build(
        aten.IndexCopyOp,
        [value, flat, given],
        properties,
        shape=shape_of(value),
        element=element_type_of(value),
    )


def _chosen(g: GraphBuilder, value: SSAValue, dim: int, index: SSAValue, source: SSAValue) -> SSAValue:
    """The same slice by slice: where a place is the one that the index names, the slice, elsewhere `value`."""
    shape, many = shape_of(value), shape_of(index)[0]
    places = torch.eye(shape[dim], dtype=torch.bool)
    g.name_constant(places)
    properties = {"dim": IntegerAttr(0, i64)}
    named = g.build(
        aten.IndexSelectOp,
        [places, index],
        properties,
        shape=(many, shape[dim]),
        element=BOOLEAN,
    )
    for number in range(many):
        here = slice_along(g, named, 0, number, number + 1)
        here = view(g, here, [shape[dim] if axis == dim else 1 for axis in range(len(shape))])
        part = expand(g, slice_along(g, source, dim, number, number + 1), shape)
        value = g.build(aten.WhereOp, [here, part, value], shape=shape, element=element_type_of(value))
    return value


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
