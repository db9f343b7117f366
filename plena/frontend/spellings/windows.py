"""Windows on an axis: unfolding, pooling, and the other rearrangements of whole axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import Float32Type
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.frontend.spellings.arithmetic import scaled
from plena.frontend.spellings.channels import batched, from_pixels, to_pixels
from plena.frontend.spellings.handlers import Arguments, Handler, reads_first_alone
from plena.frontend.spellings.joining import joined, pad, pick
from plena.frontend.spellings.reductions import reduce
from plena.frontend.spellings.shapes import permute, slice_along, view
from plena.frontend.spellings.taps import around, dilated, per_axis, tap, taps_of, window_counts

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _unfold(g: GraphBuilder, a: Arguments) -> SSAValue:
    """Windows of `size` elements every `step` along an axis; their elements are a new last axis.

    As many whole steps of a window as there are is each a view of the axis cut into steps; other elements are slices.
    """
    value, dim = g.ssa(a["self"]), a["dimension"] % max(1, len(shape_of(g.ssa(a["self"]))))
    size, step, count = a["size"], a["step"], g.shape[dim]
    whole = size // step if size == step or step >= LEAST_STEP else 0
    parts = [_steps(g, value, dim, n * step, count, step) for n in range(whole)]
    places = range(whole * step, size)
    if places:
        parts.append(_stacked(g, [tap(g, value, dim, n, count, step) for n in places]))
    return parts[0] if len(parts) == 1 else joined(g, parts, len(g.shape) - 1)


LEAST_STEP = 32
"""Windows that begin closer to each other are a slice for each of their elements: to cut the axis costs more then."""


def _steps(g: GraphBuilder, value: SSAValue, dim: int, start: int, count: int, step: int) -> SSAValue:
    """`count` times `step` elements of an axis, those of a step along a new last axis."""
    shape = shape_of(value)
    whole = slice_along(g, value, dim, start, start + count * step)
    apart = view(g, whole, (*shape[:dim], count, step, *shape[dim + 1 :]))
    rest = [axis for axis in range(len(shape) + 1) if axis != dim + 1]
    return permute(g, apart, (*rest, dim + 1))


def _im2col(g: GraphBuilder, a: Arguments) -> SSAValue:
    """nn.Unfold: [B, C * prod(kernel), windows] of an image [B, C, H, W]."""
    kernel = per_axis(a["kernel_size"], 2)
    settings = {name: per_axis(a[name], 2) for name in ("stride", "padding", "dilation")}
    image = g.ssa(a["self"])
    batch, channels, *space = shape_of(image)
    counts = window_counts(space, kernel, **settings)
    padded = pad(g, image, around(settings["padding"]))
    met = taps_of(g, padded, 2, dilated(kernel, settings["dilation"]), counts, settings["stride"])
    parts = [view(g, part, (batch, channels, 1, prod(counts))) for part in met]
    return view(g, joined(g, parts, 2), (batch, channels * len(parts), prod(counts)))


def _col2im(g: GraphBuilder, a: Arguments) -> Any:
    """nn.Fold of windows that do not overlap: [B, C * prod(kernel), windows] as an image [B, C, H, W]."""
    kernel, stride = per_axis(a["kernel_size"], 2), per_axis(a["stride"], 2)
    if stride != kernel or any(per_axis(a["padding"], 2)):
        return NotImplemented
    if any(d > 1 and k > 1 for d, k in zip(per_axis(a["dilation"], 2), kernel, strict=True)):
        return NotImplemented
    *batch, channels, height, width = g.shape
    counts = [size // k for size, k in zip((height, width), kernel, strict=True)]
    if [n * k for n, k in zip(counts, kernel, strict=True)] != [height, width]:
        return NotImplemented
    apart = view(g, g.ssa(a["self"]), (prod(batch) * channels, *kernel, *counts))
    return view(g, permute(g, apart, (0, 3, 1, 4, 2)), g.shape)


def _stacked(g: GraphBuilder, parts: Sequence[SSAValue]) -> SSAValue:
    """Tensors of one shape side by side along a new last axis."""
    shape = shape_of(parts[0])
    return joined(g, [view(g, part, (*shape, 1)) for part in parts], len(shape))


def _roll(g: GraphBuilder, a: Arguments) -> SSAValue:
    value, shape = g.ssa(a["self"]), shape_of(g.ssa(a["self"]))
    if not a["dims"]:
        flat = view(g, value, (prod(shape),))
        return view(g, _rolled(g, flat, 0, a["shifts"][0]), shape)
    for shift, dim in zip(a["shifts"], a["dims"], strict=True):
        value = _rolled(g, value, dim % len(shape), shift)
    return value


def _rolled(g: GraphBuilder, value: SSAValue, dim: int, shift: int) -> SSAValue:
    size = shape_of(value)[dim]
    first = -shift % size
    if first == 0:
        return value
    parts = [slice_along(g, value, dim, first, size), slice_along(g, value, dim, 0, first)]
    return joined(g, parts, dim)


def _flip(g: GraphBuilder, a: Arguments) -> SSAValue:
    value = g.ssa(a["self"])
    for dim in a["dims"]:
        axis = dim % len(shape_of(value))
        value = pick(g, value, axis, range(shape_of(value)[axis] - 1, -1, -1))
    return value


def _cumsum(g: GraphBuilder, a: Arguments) -> Any:
    """Along the last axis a product with a triangle of ones; along others sums over 2, 4, 8, ... elements."""
    value = g.ssa(a["self"])
    if not isinstance(g.element, Float32Type) or not isinstance(element_type_of(value), Float32Type):
        return NotImplemented
    shape = shape_of(value)
    dim = a["dim"] % max(1, len(shape))
    if not shape or shape[dim] == 1:
        return value
    size = shape[dim]
    if dim == len(shape) - 1:
        triangle = torch.ones(size, size).tril()
        g.name_constant(triangle)
        return g.build(aten.LinearOp, [value, triangle, []], shape=shape)
    reach = 1
    while reach < size:
        later = g.build(
            aten.AddOp,
            [slice_along(g, value, dim, reach, size), slice_along(g, value, dim, 0, size - reach)],
            shape=(*shape[:dim], size - reach, *shape[dim + 1 :]),
        )
        value = joined(g, [slice_along(g, value, dim, 0, reach), later], dim)
        reach *= 2
    return value


# Pooling.


def _pool(axes: int, average: bool) -> Handler:
    """Pooling over windows of the last axes, axis by axis."""

    def handler(g: GraphBuilder, a: Arguments) -> Any:
        kernel = per_axis(a["kernel_size"], axes)
        stride = per_axis(a["stride"], axes) if a["stride"] else kernel
        padding, dilation = per_axis(a["padding"], axes), per_axis(a.get("dilation", [1]), axes)
        image = batched(g, g.ssa(a["self"] if "self" in a else a["input"]), axes)
        counts = g.shape[-axes:]
        settings = list(zip(kernel, stride, padding, dilation, counts, strict=True))
        if not average:
            return view(g, _max_pool(g, image, settings), g.shape)
        if a.get("divisor_override") is not None:
            return NotImplemented
        return view(g, _average_pool(g, image, settings, a["count_include_pad"]), g.shape)

    return handler


Window = tuple[int, int, int, int, int]
"""Of one axis: size of a window, stride, padding, dilation, number of windows."""


def _max_pool(g: GraphBuilder, image: SSAValue, windows: Sequence[Window]) -> SSAValue:
    """The maximum of the windows of each axis in turn.

    What lies outside the image is left out: in its place the window's nearest element inside is taken once more.
    """
    pixels = to_pixels(g, image)
    for axis, (size, stride, padding, dilation, count) in enumerate(windows, 1):
        taps = [
            [
                _inside(o * stride - padding, t * dilation, dilation, size, shape_of(pixels)[axis])
                for o in range(count)
            ]
            for t in range(size)
        ]
        parts = [pick(g, pixels, axis, numbers) for numbers in taps]
        total = parts[0]
        for part in parts[1:]:
            total = g.build(aten.MaximumOp, [total, part], shape=shape_of(total))
        pixels = total
    return from_pixels(g, pixels)


def _inside(start: int, offset: int, dilation: int, size: int, length: int) -> int:
    """The element of a window at an offset, or the one nearest to it that lies on the axis."""
    places = [start + n * dilation for n in range(size)]
    return min((p for p in places if 0 <= p < length), key=lambda p: abs(p - start - offset))


def _average_pool(
    g: GraphBuilder, image: SSAValue, windows: Sequence[Window], count_padding: bool
) -> SSAValue:
    """Sums of the windows of each axis in turn, over the number of elements in a window."""
    pixels = to_pixels(g, image)
    sizes = [torch.ones(1)]
    for axis, (size, stride, padding, _, count) in enumerate(windows, 1):
        length = shape_of(pixels)[axis]
        need = (count - 1) * stride + size - padding
        # Elements behind the padded end, where a last window begins inside, never count.
        counted = length + padding if count_padding else length
        starts = [o * stride - padding for o in range(count)]
        low = -padding if count_padding else 0
        sizes.append(torch.tensor([float(min(s + size, counted) - max(s, low)) for s in starts]))
        pixels = _window_sums(g, pixels, axis, (size, stride, padding, max(0, need - length), count))
    area = sizes[1]
    for more in sizes[2:]:
        area = area[..., None] * more
    if bool((area == area.flatten()[0]).all()):
        return from_pixels(g, scaled(g, pixels, 1.0 / float(area.flatten()[0])))
    share = (1.0 / area)[None, ..., None]
    g.name_constant(share)
    return from_pixels(g, g.build(aten.MulOp, [pixels, share], shape=shape_of(pixels)))


def _window_sums(
    g: GraphBuilder, pixels: SSAValue, axis: int, window: tuple[int, int, int, int, int]
) -> SSAValue:
    """Sums over windows along an axis: size, stride, zeros before and behind it, number of windows."""
    size, stride, before, behind, count = window
    shape = shape_of(pixels)
    if size == stride and before == 0 and behind == 0 and axis == len(shape) - 2:
        whole = slice_along(g, pixels, axis, 0, count * size)
        apart = view(g, whole, (*shape[:axis], count, size, *shape[axis + 1 :]))
        return reduce(g, aten.SumOp, apart, axis + 1, keepdim=False)
    amounts = [0, 0] * (len(shape) - axis - 1) + [before, behind]
    padded = pad(g, pixels, amounts)
    total: SSAValue | None = None
    for n in range(size):
        part = tap(g, padded, axis, n, count, stride)
        total = part if total is None else g.build(aten.AddOp, [total, part], shape=shape_of(part))
    assert total is not None
    return total


def _adaptive_pool(reduction: type[aten.ReductionOp]) -> Handler:
    """A reduction of as many parts of each axis as the result has; parts overlap where they do not divide it."""

    def handler(g: GraphBuilder, a: Arguments) -> SSAValue:
        axes = len(a["output_size"])
        image = batched(g, g.ssa(a["self"]), axes)
        return view(g, _adaptive(g, image, g.shape[-axes:], reduction), g.shape)

    return handler


def _adaptive(
    g: GraphBuilder, image: SSAValue, counts: Sequence[int], reduction: type[aten.ReductionOp]
) -> SSAValue:
    pixels = to_pixels(g, image)
    batch, *space, channels = shape_of(pixels)
    if prod(counts) == 1:
        whole = reduce(g, reduction, view(g, pixels, (batch, prod(space), channels)), 1, keepdim=True)
        return from_pixels(g, view(g, whole, (batch, *counts, channels)))
    # The last axis first: its windows are consecutive rows.
    for axis, count in reversed(list(enumerate(counts, 1))):
        shape = shape_of(pixels)
        length = shape[axis]
        if length == count:
            continue
        if length % count == 0 and axis == len(counts):
            apart = view(g, pixels, (*shape[:axis], count, length // count, channels))
            parts = reduce(g, reduction, apart, axis + 1, keepdim=True)
            pixels = view(g, parts, (*shape[:axis], count, channels))
            continue
        bounds = [(n * length // count, -(-(n + 1) * length // count)) for n in range(count)]
        parts = [_over_axis(g, slice_along(g, pixels, axis, *bound), axis, reduction) for bound in bounds]
        pixels = joined(g, parts, axis)
    return from_pixels(g, pixels)


def _over_axis(g: GraphBuilder, pixels: SSAValue, axis: int, reduction: type[aten.ReductionOp]) -> SSAValue:
    """Over an axis whose elements are rows of the same columns, the axes behind it being one."""
    shape = shape_of(pixels)
    if axis == len(shape) - 2:
        return reduce(g, reduction, pixels, axis, keepdim=True)
    wide = view(g, pixels, (*shape[: axis + 1], prod(shape[axis + 1 :])))
    found = reduce(g, reduction, wide, axis, keepdim=True)
    return view(g, found, (*shape[:axis], 1, *shape[axis + 1 :]))


def _with_places(handler: Handler) -> Handler:
    """A maximum that gives its places too, which nobody may read."""

    def paired(g: GraphBuilder, a: Arguments) -> Any:
        if not reads_first_alone(g):
            return NotImplemented
        return [handler(g, a), None]

    return paired


SPELLINGS: dict[str, Handler] = {
    "aten.unfold.default": _unfold,
    "aten.im2col.default": _im2col,
    "aten.col2im.default": _col2im,
    "aten.roll.default": _roll,
    "aten.flip.default": _flip,
    "aten.cumsum.default": _cumsum,
    "aten.max_pool1d.default": _pool(1, average=False),
    "aten.max_pool2d.default": _pool(2, average=False),
    "aten.max_pool2d_with_indices.default": _with_places(_pool(2, average=False)),
    "aten.avg_pool1d.default": _pool(1, average=True),
    "aten.avg_pool2d.default": _pool(2, average=True),
    "aten.adaptive_avg_pool1d.default": _adaptive_pool(aten.MeanOp),
    "aten.adaptive_avg_pool2d.default": _adaptive_pool(aten.MeanOp),
    "aten._adaptive_avg_pool2d.default": _adaptive_pool(aten.MeanOp),
    "aten.adaptive_max_pool1d.default": _with_places(_adaptive_pool(aten.AmaxOp)),
    "aten.adaptive_max_pool2d.default": _with_places(_adaptive_pool(aten.AmaxOp)),
}  # fmt: skip
"""Handlers by overload."""
