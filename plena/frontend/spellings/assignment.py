"""Assignments to parts of a tensor inside a forward, as torch.export makes functions of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import Float32Type
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.spellings import state
from plena.frontend.spellings.conversions import convert
from plena.frontend.spellings.handlers import Arguments, Handler
from plena.frontend.spellings.joining import joined, pick
from plena.frontend.spellings.shapes import expand, slice_along, view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _slice_scatter(g: GraphBuilder, a: Arguments) -> SSAValue:
    if state.is_state(g.ssa(a["self"])):
        return state.slice_scatter(g, a)
    dim = a["dim"] % len(g.shape)
    numbers = range(*slice(a["start"], a["end"], a["step"]).indices(g.shape[dim]))
    return _with_parts(g, g.ssa(a["self"]), g.ssa(a["src"]), dim, list(numbers))


def _select_scatter(g: GraphBuilder, a: Arguments) -> SSAValue:
    dim = a["dim"] % len(g.shape)
    part = view(g, g.ssa(a["src"]), [*g.shape[:dim], 1, *g.shape[dim + 1 :]])
    return _with_parts(g, g.ssa(a["self"]), part, dim, [a["index"] % g.shape[dim]])


def _index_put(g: GraphBuilder, a: Arguments) -> Any:
    """x[..., i, ...] = y for one vector of constant places, each of them once."""
    value, indices = g.ssa(a["self"]), a["indices"]
    placed = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(placed) != 1 or a["accumulate"]:
        return NotImplemented
    axis, index = placed[0]
    if not isinstance(index, torch.Tensor) or state.is_state(value):
        return state.index_put(g, a)
    if index.dtype == torch.bool:
        return _masked(g, value, index, a["values"]) if axis == 0 else NotImplemented
    numbers = [number % g.shape[axis] for number in index.flatten().tolist()]
    if index.ndim != 1 or len(set(numbers)) != len(numbers):
        return NotImplemented
    shape = [*g.shape[:axis], len(numbers), *g.shape[axis + 1 :]]
    part = expand(g, convert(g, g.ssa(a["values"]), g.element), shape)
    return _with_parts(g, value, part, axis, numbers)


def _masked(g: GraphBuilder, value: SSAValue, mask: torch.Tensor, written: Any) -> Any:
    """A constant mask of the first axes chooses where one number is written."""
    if shape_of(g.ssa(written)) not in ((), (1,)):
        return NotImplemented
    kept = ~mask.reshape(*mask.shape, *[1] * (len(g.shape) - mask.ndim))
    g.name_constant(kept)
    return g.build(aten.WhereOp, [kept, value, convert(g, g.ssa(written), g.element)])


def _with_parts(g: GraphBuilder, value: SSAValue, part: SSAValue, dim: int, places: list[int]) -> SSAValue:
    """`value` with the slices of `part` along dim at these places."""
    size = shape_of(value)[dim]
    start, end = (min(places), max(places) + 1) if places else (0, 0)
    if places == list(range(start, end)):
        around = [slice_along(g, value, dim, 0, start)] if start else []
        behind = [slice_along(g, value, dim, end, size)] if end < size else []
        parts = [*around, *([part] if places else []), *behind]
        return parts[0] if len(parts) == 1 else joined(g, parts, dim)
    numbers = list(range(size))
    for number, place in enumerate(places):
        numbers[place] = size + number
    return pick(g, joined(g, [value, part], dim), dim, numbers)


def _fill(g: GraphBuilder, a: Arguments) -> SSAValue:
    value = a["value"]
    if isinstance(value, int) and isinstance(g.element, Float32Type):
        value = float(value)
    return expand(g, convert(g, g.ssa(value), g.element), g.shape)


SPELLINGS: dict[str, Handler] = {
    "aten.slice_scatter.default": _slice_scatter,
    "aten.select_scatter.default": _select_scatter,
    "aten.index_put.default": _index_put,
    "aten.fill.Scalar": _fill,
    "aten.fill.Tensor": _fill,
}  # fmt: skip
"""Handlers by overload."""
