"""Operators that only show or repeat elements in another arrangement: views, permutations, repetition, slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.frontend.spellings.handlers import Arguments, Handler, ints

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _same(g: GraphBuilder, a: Arguments) -> Any:
    """The input itself: alias, clone, detach, contiguous."""
    return g.ssa(a["self"])


def _dropout(g: GraphBuilder, a: Arguments) -> Any:
    return NotImplemented if a["train"] and a["p"] > 0 else g.ssa(a["input"])


def _view(g: GraphBuilder, a: Arguments) -> SSAValue:
    return view(g, g.ssa(a["self"]), g.shape)


def view(g: GraphBuilder, value: SSAValue, shape: Sequence[int]) -> SSAValue:
    """`value` under another shape."""
    if shape_of(value) == tuple(shape):
        return value
    return g.build(aten.ViewOp, [value], shape=shape, element=element_type_of(value))


def permute(g: GraphBuilder, value: SSAValue, dims: Sequence[int]) -> SSAValue:
    """`value` with its axes reordered."""
    shape = shape_of(value)
    if list(dims) == list(range(len(shape))):
        return value
    return g.build(
        aten.PermuteOp,
        [value],
        {"dims": ints(dims)},
        shape=[shape[d] for d in dims],
        element=element_type_of(value),
    )


def _permute_like(g: GraphBuilder, a: Arguments) -> SSAValue:
    """Any operator that only reorders axes: torch tells how, on a tensor whose axes all differ in size."""
    value = g.ssa(a["self"])
    probe = torch.empty(tuple(range(1, len(shape_of(value)) + 1)), device="meta")
    arguments = {name: v for name, v in a.items() if name != "self"}
    reordered: torch.Tensor = g.node.target(probe, **arguments)  # type: ignore[operator]
    return permute(g, value, [size - 1 for size in reordered.shape])


def expand(g: GraphBuilder, value: SSAValue, shape: Sequence[int]) -> SSAValue:
    """`value` repeated to `shape`."""
    if shape_of(value) == tuple(shape):
        return value
    return g.build(aten.ExpandOp, [value], shape=shape, element=element_type_of(value))


def _expand(g: GraphBuilder, a: Arguments) -> SSAValue:
    return expand(g, g.ssa(a["self"]), g.shape)


def _repeat(g: GraphBuilder, a: Arguments) -> SSAValue:
    value, repeats = g.ssa(a["self"]), a["repeats"] if "repeats" in a else a["dims"]
    rank = max(len(repeats), len(shape_of(value)))
    shape = [1] * (rank - len(shape_of(value))) + list(shape_of(value))
    repeats = [1] * (rank - len(repeats)) + list(repeats)
    apart = [size for n in shape for size in (1, n)]
    repeated = [size for n, times in zip(shape, repeats, strict=True) for size in (times, n)]
    return view(g, expand(g, view(g, value, apart), repeated), g.shape)


def _repeat_interleave(g: GraphBuilder, a: Arguments) -> Any:
    value, dim = g.ssa(a["self"]), a["dim"]
    if dim is None:
        return NotImplemented
    shape = list(shape_of(value))
    dim %= len(shape)
    apart = [*shape[: dim + 1], 1, *shape[dim + 1 :]]
    repeated = [*shape[: dim + 1], a["repeats"], *shape[dim + 1 :]]
    return view(g, expand(g, view(g, value, apart), repeated), g.shape)


def slice_along(g: GraphBuilder, value: SSAValue, dim: int, start: int, end: int, step: int = 1) -> SSAValue:
    """Elements start, start + step, ... before end along dim, bounds as in Python."""
    shape = list(shape_of(value))
    dim %= len(shape)
    start, end, step = slice(start, end, step).indices(shape[dim])
    if (start, step) == (0, 1) and end == shape[dim]:
        return value
    part = _joined_part(value, dim, start, end) if step == 1 else None
    if part is not None:
        return part
    shape[dim] = len(range(start, end, step))
    numbers = {"dim": dim, "start": start, "end": end, "step": step}
    properties = {name: IntegerAttr(number, i64) for name, number in numbers.items()}
    return g.build(aten.SliceOp, [value], properties, shape=shape, element=element_type_of(value))


def _joined_part(value: SSAValue, dim: int, start: int, end: int) -> SSAValue | None:
    """What a slice of a concatenation is, if it is one of the tensors that were joined."""
    op = value.owner
    if not isinstance(op, aten.CatOp) or op.dim.value.data != dim:
        return None
    first = 0
    for tensor in op.tensors:
        size = shape_of(tensor)[dim]
        if (first, first + size) == (start, end):
            return tensor
        first += size
    return None


def _slice(g: GraphBuilder, a: Arguments) -> SSAValue:
    return slice_along(g, g.ssa(a["self"]), a["dim"], a["start"], a["end"], a["step"])


def _narrow(g: GraphBuilder, a: Arguments) -> SSAValue:
    return slice_along(g, g.ssa(a["self"]), a["dim"], a["start"], a["start"] + a["length"])


def _select(g: GraphBuilder, a: Arguments) -> SSAValue:
    value = g.ssa(a["self"])
    index = a["index"] % shape_of(value)[a["dim"]]
    return view(g, slice_along(g, value, a["dim"], index, index + 1), g.shape)


def _split(g: GraphBuilder, a: Arguments) -> list[SSAValue]:
    """split, split_with_sizes, chunk, tensor_split: the pieces have the sizes that torch gives them."""
    value = g.ssa(a["self"])
    shape, dim = shape_of(value), a["dim"] % len(shape_of(value))
    arguments = {name: v for name, v in a.items() if name != "self"}
    pieces = g.node.target(torch.empty(shape, device="meta"), **arguments)  # type: ignore[operator]
    ends = [sum(piece.shape[dim] for piece in pieces[: i + 1]) for i in range(len(pieces))]
    return [slice_along(g, value, dim, end - p.shape[dim], end) for p, end in zip(pieces, ends, strict=True)]


def _unbind(g: GraphBuilder, a: Arguments) -> list[SSAValue]:
    value = g.ssa(a["self"])
    shape, dim = shape_of(value), a["dim"] % len(shape_of(value))
    rest = [*shape[:dim], *shape[dim + 1 :]]
    return [view(g, slice_along(g, value, dim, i, i + 1), rest) for i in range(shape[dim])]


SPELLINGS: dict[str, Handler] = {
    **dict.fromkeys(
        [
            "aten.alias.default", "aten.clone.default", "aten.detach.default", "aten.contiguous.default",
            "aten.lift_fresh_copy.default", "aten.positive.default",
        ],
        _same,
    ),
    "aten.dropout.default": _dropout,
    **dict.fromkeys(
        [
            "aten.view.default", "aten.reshape.default", "aten._unsafe_view.default", "aten.unsqueeze.default",
            "aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims", "aten.flatten.using_ints",
            "aten.unflatten.int", "aten.view_as.default", "aten.reshape_as.default",
        ],
        _view,
    ),
    **dict.fromkeys(
        [
            "aten.permute.default", "aten.transpose.int", "aten.t.default", "aten.movedim.int",
            "aten.movedim.intlist", "aten.swapaxes.default", "aten.numpy_T.default", "aten.mT.default",
        ],
        _permute_like,
    ),
    "aten.expand.default": _expand,
    "aten.expand_as.default": _expand,
    "aten.broadcast_to.default": _expand,
    "aten.repeat.default": _repeat,
    "aten.tile.default": _repeat,
    "aten.repeat_interleave.self_int": _repeat_interleave,
    "aten.slice.Tensor": _slice,
    "aten.narrow.default": _narrow,
    "aten.select.int": _select,
    "aten.split.Tensor": _split,
    "aten.split_with_sizes.default": _split,
    "aten.split.sizes": _split,
    "aten.chunk.default": _split,
    "aten.tensor_split.sections": _split,
    "aten.unbind.int": _unbind,
}  # fmt: skip
"""Handlers by overload."""
