"""Operators that put tensors together or pick parts of them: concatenation, padding, constant indices."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, prod
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.frontend.refusals import refusal_at
from plena.frontend.spellings.handlers import BOOLEAN, Arguments, Handler
from plena.frontend.spellings.shapes import expand, permute, slice_along, view
from plena.tensor.element_types import torch_dtype

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _cat(g: GraphBuilder, a: Arguments) -> SSAValue:
    empty = [0 in (x.shape if isinstance(x, torch.Tensor) else shape_of(g.ssa(x))) for x in a["tensors"]]
    tensors = [g.ssa(tensor) for tensor, skip in zip(a["tensors"], empty, strict=True) if not skip]
    if len(tensors) == 1:
        return tensors[0]
    return joined(g, tensors, a["dim"] % len(g.shape))


def joined(g: GraphBuilder, tensors: Sequence[SSAValue], dim: int) -> SSAValue:
    """A concatenation; of parts that are infinite throughout zeros are joined, the infinities are chosen behind."""
    numbers = [aten.full_value(tensor) for tensor in tensors]
    infinities = sorted({number for number in numbers if number is not None and isinf(number)})
    sizes = [shape_of(tensor)[dim] for tensor in tensors]
    shape = list(shape_of(tensors[0]))
    shape[dim] = sum(sizes)
    finite = [
        g.ssa(torch.zeros(shape_of(tensor))) if number in infinities else tensor
        for tensor, number in zip(tensors, numbers, strict=True)
    ]
    element = element_type_of(tensors[0])
    value = g.build(aten.CatOp, [finite], {"dim": IntegerAttr(dim, i64)}, shape=shape, element=element)
    for infinity in infinities:
        kept = torch.cat([torch.full((size,), n != infinity) for size, n in zip(sizes, numbers, strict=True)])
        kept = kept.view([-1 if axis == dim else 1 for axis in range(len(shape))])
        g.name_constant(kept)
        value = g.build(aten.WhereOp, [kept, value, infinity], shape=shape, element=element)
    return value


def _stack(g: GraphBuilder, a: Arguments) -> SSAValue:
    dim = a["dim"] % len(g.shape)
    slices = [*g.shape[:dim], 1, *g.shape[dim + 1 :]]
    return joined(g, [view(g, g.ssa(tensor), slices) for tensor in a["tensors"]], dim)


def _index(g: GraphBuilder, a: Arguments) -> Any:
    """x[i, j, ...] where constant indices only place axes, or one index vector picks along one axis."""
    value, indices = g.ssa(a["self"]), a["indices"]
    tensors = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(tensors) == len(shape_of(value)) and all(isinstance(i, torch.Tensor) for _, i in tensors):
        placed = _placed_axes(shape_of(value), [index for _, index in tensors])
        if placed is not None:
            return expand(g, view(g, value, placed), g.shape)
    if len(tensors) != 1:
        return _picked_together(g, value, dict(tensors))
    axis, index = tensors[0]
    if isinstance(index, torch.Tensor) and index.dtype != torch.bool:
        index = _from_the_front(g, index, shape_of(value)[axis])
        numbers = index.flatten().tolist()
        if index.ndim == 1 or (g.node not in g.plan.host and len(_even_runs(numbers)) <= MOST_PIECES):
            return view(g, pick(g, value, axis, numbers), g.shape)
        g.name_constant(index)
    index = g.ssa(index)
    if element_type_of(index) == BOOLEAN:
        return NotImplemented
    flat = view(g, index, (prod(shape_of(index)),))
    shape = list(shape_of(value))
    shape[axis] = shape_of(flat)[0]
    picked = g.build(aten.IndexSelectOp, [value, flat], {"dim": IntegerAttr(axis, i64)}, shape=shape)
    return view(g, picked, g.shape)


MOST_PIECES = 64
"""Slices that picking by constant numbers of several axes may take: more is a gather, not a rearrangement."""


def _picked_together(g: GraphBuilder, value: SSAValue, indices: dict[int, Any]) -> Any:
    """x[..., i, j, ...] with constant numbers i, j of several axes, which count from behind where they are negative."""
    shape = shape_of(value)
    if g.node in g.plan.host:
        return NotImplemented
    if not all(
        isinstance(i, torch.Tensor) and i.dtype in (torch.int64, torch.int32) for i in indices.values()
    ):
        return NotImplemented
    numbers = {axis: _from_the_front(g, index, shape[axis]) for axis, index in indices.items()}
    axes, rank = list(numbers), max(index.ndim for index in numbers.values())
    together = axes == list(range(axes[0], axes[-1] + 1))
    wanted = g.shape
    if together and _are_of_own_axes(list(numbers.values()), rank):
        for axis, index in numbers.items():
            value = pick(g, value, axis, index.flatten().tolist())
        return view(g, value, wanted)
    picked = torch.broadcast_tensors(*numbers.values())
    places = picked[0]
    for axis, index in zip(axes[1:], picked[1:], strict=True):
        places = places * shape[axis] + index
    runs = _even_runs(places.flatten().tolist())
    if len(runs) > MOST_PIECES:
        return NotImplemented
    others = [axis for axis in range(len(shape)) if axis not in numbers]
    front = permute(g, value, (*axes, *others))
    flat = view(g, front, (prod(shape[axis] for axis in axes), *(shape[axis] for axis in others)))
    found = pick(g, flat, 0, places.flatten().tolist())
    found = view(g, found, (*places.shape, *(shape[axis] for axis in others)))
    if not together:
        return found
    before = range(rank, rank + axes[0])
    return permute(g, found, (*before, *range(rank), *range(rank + axes[0], rank + len(others))))


def _are_of_own_axes(indices: Sequence[torch.Tensor], rank: int) -> bool:
    """Whether each index counts along an axis of its own, in their order, as torch.meshgrid makes them."""
    last = -1
    for index in indices:
        long_axes = [axis + rank - index.ndim for axis, n in enumerate(index.shape) if n > 1]
        if len(long_axes) > 1 or (long_axes and long_axes[0] <= last):
            return False
        last = long_axes[0] if long_axes else last
    return True


def _index_select(g: GraphBuilder, a: Arguments) -> Any:
    if not isinstance(a["index"], torch.Tensor):
        return NotImplemented
    value = g.ssa(a["self"])
    return pick(g, value, a["dim"] % len(shape_of(value)), a["index"].flatten().tolist())


def pick(g: GraphBuilder, value: SSAValue, axis: int, indices: Sequence[int]) -> SSAValue:
    """The slices of value along axis with constant numbers: runs of evenly spaced ones are slices.

    Raises:
        OperatorError: a number lies outside of the axis.
    """
    numbers = _from_the_front(g, torch.tensor(indices, dtype=torch.int64), shape_of(value)[axis]).tolist()
    parts = [
        slice_along(g, value, axis, run[0], run[-1] + 1, run[1] - run[0] if len(run) > 1 else 1)
        for run in _even_runs(numbers)
    ]
    if len(parts) == 1:
        return parts[0]
    shape = list(shape_of(value))
    shape[axis] = len(indices)
    properties = {"dim": IntegerAttr(axis, i64)}
    return g.build(aten.CatOp, [parts], properties, shape=shape, element=element_type_of(value))


def _from_the_front(g: GraphBuilder, index: torch.Tensor, size: int) -> torch.Tensor:
    """Constant numbers of an axis, of which those below zero count from behind.

    Raises:
        OperatorError: one lies outside.
    """
    outside = index[(index < -size) | (index >= size)]
    if outside.numel():
        raise refusal_at(
            g.node,
            f"index {int(outside.flatten()[0])} is out of bounds for an axis of {size}",
            f"Numbers go from {-size} to {size - 1}.",
        )
    return index % size


def _even_runs(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers in runs of a constant, positive step; two numbers that a longer run could have are none by themselves."""
    runs: list[list[int]] = []
    for place, number in enumerate(numbers):
        last = runs[-1] if runs else []
        following = numbers[place + 1] - number if place + 1 < len(numbers) else 0
        step = number - last[-1] if last else 0
        begins = len(last) == 1 and step > 0 and (following == step or following <= 0)
        if begins or (len(last) > 1 and step == last[1] - last[0]):
            last.append(number)
        else:
            runs.append([number])
    return runs


def _placed_axes(shape: Sequence[int], indices: Sequence[torch.Tensor]) -> list[int] | None:
    """The shape that gives x[indices] as a view of x, if index k counts 0, 1, ... along an axis of its
    own."""
    rank = max(index.ndim for index in indices)
    placed, last = [1] * rank, -1
    for size, index in zip(shape, indices, strict=True):
        if index.dtype == torch.bool or not torch.equal(index.flatten(), torch.arange(size)):
            return None
        long_axes = [axis + rank - index.ndim for axis, n in enumerate(index.shape) if n > 1]
        if size == 1:
            continue
        if len(long_axes) != 1 or long_axes[0] <= last:
            return None
        last = long_axes[0]
        placed[last] = size
    return placed


def _pad(g: GraphBuilder, a: Arguments) -> Any:
    return pad(g, g.ssa(a["self"]), a["pad"], a["value"])


def pad(g: GraphBuilder, value: SSAValue, amounts: Sequence[int], number: float | None = None) -> SSAValue:
    """Constant padding as concatenation with uniform tensors; negative padding cuts. The last axis comes first."""
    rank = len(shape_of(value))
    for i in range(len(amounts) // 2):
        dim, before, after = rank - 1 - i, amounts[2 * i], amounts[2 * i + 1]
        if min(before, after) < 0:
            value = slice_along(g, value, dim, max(-before, 0), shape_of(value)[dim] - max(-after, 0))
        parts = [
            _uniform_part(g, value, dim, before, number),
            [value],
            _uniform_part(g, value, dim, after, number),
        ]
        tensors = [tensor for part in parts for tensor in part]
        if len(tensors) > 1:
            value = joined(g, tensors, dim)
    return value


def _uniform_part(
    g: GraphBuilder, value: SSAValue, dim: int, size: int, number: float | None
) -> list[SSAValue]:
    if size <= 0:
        return []
    shape = list(shape_of(value))
    shape[dim] = size
    return [g.ssa(torch.full(shape, number or 0, dtype=torch_dtype(element_type_of(value))))]


SPELLINGS: dict[str, Handler] = {
    "aten.cat.default": _cat,
    "aten.concat.default": _cat,
    "aten.stack.default": _stack,
    "aten.index.Tensor": _index,
    "aten.index_select.default": _index_select,
    "aten.constant_pad_nd.default": _pad,
}  # fmt: skip
"""Handlers by overload."""
