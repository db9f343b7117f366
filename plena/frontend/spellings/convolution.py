"""Convolutions as products with shifted images: pixels become rows and channels columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import lcm, prod
from typing import TYPE_CHECKING, Any

import torch
from xdsl.ir import BlockArgument, SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.spellings.channels import from_pixels, to_pixels
from plena.frontend.spellings.joining import joined, pad, pick
from plena.frontend.spellings.shapes import expand, permute, slice_along, view
from plena.frontend.spellings.taps import around, dilated, taps_of, window_counts

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


FEATURES = 16
"""Channels from which on pixels are features that a layer computed rather than colours of an image."""

TOGETHER = 64
"""Channels from which on groups of channels have products of their own: in less a matrix unit has idle lanes."""


def is_patches(
    image: SSAValue,
    weight: SSAValue,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> bool:
    """Whether kernels cut an input of the model, an image of few channels, into patches; the host does it."""
    inputs, *kernel = shape_of(weight)[1:]
    whole = tuple(stride) == tuple(kernel) and not any(padding) and set(dilation) == {1}
    while isinstance(image.owner, aten.ViewOp | aten.PermuteOp | aten.ToOp):
        image = image.owner.operands[0]
    return whole and inputs < FEATURES and isinstance(image, BlockArgument)


def by_patches(g: GraphBuilder, image: SSAValue, weight: SSAValue, bias: Any) -> SSAValue:
    """A convolution whose kernels cut an image [B, C, *S] into patches; each is a row of the product."""
    batch, channels, *space = shape_of(image)
    outputs, _, *kernel = shape_of(weight)
    counts = [n // k for n, k in zip(space, kernel, strict=True)]
    for axis, (count, k) in enumerate(zip(counts, kernel, strict=True), 2):
        image = slice_along(g, image, axis, 0, count * k)
    apart = view(g, image, (batch, channels, *(n for pair in zip(counts, kernel, strict=True) for n in pair)))
    axes = len(kernel)
    order = (0, *range(2, 2 + 2 * axes, 2), 1, *range(3, 3 + 2 * axes, 2))
    rows = view(g, permute(g, apart, order), (batch * prod(counts), channels * prod(kernel)))
    matrix = view(g, weight, (outputs, channels * prod(kernel)))
    operands = [rows, matrix, [] if bias is None else [bias]]
    result = g.build(aten.LinearOp, operands, shape=(batch * prod(counts), outputs))
    return from_pixels(g, view(g, result, (batch, *counts, outputs)))


def by_taps(
    g: GraphBuilder,
    image: SSAValue,
    weight: SSAValue,
    bias: Any,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> SSAValue:
    """A convolution of images [B, C, *S] by kernels [O, C / groups, *K].

    For each place in the kernel, a tap, the pixels that it meets are a slice of the padded image. The slices side by
    side are the rows of one product; with a group for each channel they are weighted and added. Groups of some channels
    each are one product whose matrix has zeros between groups, or several where there are many channels.
    """
    outputs, inputs, *kernel = shape_of(weight)
    padded = _padded_pixels(g, image, around(padding), prod(kernel))
    sizes = window_counts(shape_of(image)[2:], kernel, stride=stride, padding=padding, dilation=dilation)
    met = list(taps_of(g, padded, 1, dilated(kernel, dilation), sizes, stride))
    if groups == outputs and inputs == 1 and groups > 1:
        pixels = _weighted(g, met, weight, bias)
    else:
        pixels = _grouped(g, met, weight, bias, groups)
    return from_pixels(g, view(g, pixels, (shape_of(image)[0], *sizes, outputs)))


def _padded_pixels(g: GraphBuilder, image: SSAValue, amounts: Sequence[int], taps: int) -> SSAValue:
    """[B, *S, C] with zeros before and behind the spatial axes, the last axis first, for so many taps.

    If there are none to add, one that no tap meets goes behind the last axis: what is joined has its pixels in rows,
    where slices of an image as it is would move with its axes.
    """
    if not any(amounts) and taps > 1:
        amounts = (0, 1)
    return pad(g, to_pixels(g, image), (0, 0, *amounts))


def _grouped(g: GraphBuilder, taps: Sequence[SSAValue], weight: SSAValue, bias: Any, groups: int) -> SSAValue:
    """[rows, O] of taps [B, *S, C], each group of outputs of its own group of channels."""
    outputs, inputs = shape_of(weight)[:2]
    if groups == 1:
        return _product(g, taps, weight, bias)
    together = lcm(inputs, TOGETHER) // inputs
    if groups % together or outputs // groups * together % TOGETHER:
        together = groups
    parts: list[SSAValue] = []
    for first in range(0, groups, together):
        channels = (first * inputs, (first + together) * inputs)
        rows = (first * (outputs // groups), (first + together) * (outputs // groups))
        mine = [slice_along(g, tap, len(shape_of(tap)) - 1, *channels) for tap in taps]
        dense = _block_diagonal(g, slice_along(g, weight, 0, *rows), together)
        own = None if bias is None else slice_along(g, g.ssa(bias), 0, *rows)
        parts.append(_product(g, mine, dense, own))
    return parts[0] if len(parts) == 1 else joined(g, parts, 1)


def _block_diagonal(g: GraphBuilder, weight: SSAValue, groups: int) -> SSAValue:
    """[O, C, *K] with zeros outside of the groups, of [O, C / groups, *K]."""
    outputs, inputs, *kernel = shape_of(weight)
    each, width = outputs // groups, inputs * prod(kernel)
    flat = view(g, weight, (outputs, width))
    blocks = [
        pad(g, slice_along(g, flat, 0, n * each, (n + 1) * each), (n * width, (groups - 1 - n) * width))
        for n in range(groups)
    ]
    whole = blocks[0] if groups == 1 else joined(g, blocks, 0)
    return view(g, whole, (outputs, groups * inputs, *kernel))


def _product(g: GraphBuilder, taps: Sequence[SSAValue], weight: SSAValue, bias: Any) -> SSAValue:
    """[rows, O] of taps [B, *S, C]: their channels side by side times the kernel, tap by tap."""
    outputs, inputs, *kernel = shape_of(weight)
    last = permute(g, view(g, weight, (outputs, inputs, prod(kernel))), (0, 2, 1))
    return _side_by_side(g, taps, view(g, last, (outputs, len(taps) * inputs)), bias)


def _side_by_side(g: GraphBuilder, taps: Sequence[SSAValue], matrix: SSAValue, bias: Any) -> SSAValue:
    """[rows, O] of taps [B, *S, C] and a matrix [O, taps * C]."""
    outputs, columns = shape_of(matrix)
    shape = shape_of(taps[0])
    whole = taps[0] if len(taps) == 1 else joined(g, taps, len(shape) - 1)
    rows = view(g, whole, (prod(shape[:-1]), columns))
    operands = [rows, matrix, [] if bias is None else [bias]]
    return g.build(aten.LinearOp, operands, shape=(prod(shape[:-1]), outputs))


def _weighted(g: GraphBuilder, taps: Sequence[SSAValue], weight: SSAValue, bias: Any) -> SSAValue:
    """[rows, C] of taps [B, *S, C]: the sum of all, each channel by its own weight."""
    channels, _, *kernel = shape_of(weight)
    weights = permute(g, view(g, weight, (channels, prod(kernel))), (1, 0))
    shape = (prod(shape_of(taps[0])[:-1]), channels)
    total: SSAValue | None = None
    for number, tap in enumerate(taps):
        factors = view(g, slice_along(g, weights, 0, number, number + 1), (channels,))
        term = g.build(aten.MulOp, [view(g, tap, shape), factors], shape=shape)
        total = term if total is None else g.build(aten.AddOp, [term, total], shape=shape)
    assert total is not None
    return total if bias is None else g.build(aten.AddOp, [total, bias], shape=shape)


def transposed(
    g: GraphBuilder,
    image: SSAValue,
    weight: SSAValue,
    bias: Any,
    sizes: Sequence[int],
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> SSAValue:
    """A transposed convolution of images [B, C, *S] by kernels [C, O / groups, *K] to images [B, O, *sizes].

    Results `stride` apart meet the image alike. So the results of one stretch of that length are one product, its
    columns; those taps that a result does not have are zeros in its column.
    """
    outputs, *kernel = shape_of(weight)[1:]
    if groups > 1:
        weight, outputs = _block_diagonal(g, weight, groups), outputs * groups
    axes = [
        _Axis.of(*numbers)
        for numbers in zip(shape_of(image)[2:], kernel, stride, padding, dilation, sizes, strict=True)
    ]
    amounts = [n for axis in reversed(axes) for n in (axis.before, axis.behind)]
    padded = _padded_pixels(g, image, amounts, prod(axis.reach for axis in axes))
    starts = [range(axis.first + axis.before, axis.first + axis.before + axis.reach) for axis in axes]
    counts = [axis.count for axis in axes]
    met = list(taps_of(g, padded, 1, starts, counts, [1] * len(axes)))
    phases = list(product(*(range(axis.stride) for axis in axes)))
    matrix = _phases(g, weight, axes, phases)
    if bias is not None:
        repeated = expand(g, view(g, g.ssa(bias), (1, outputs)), (len(phases), outputs))
        bias = view(g, repeated, (len(phases) * outputs,))
    rows = _side_by_side(g, met, matrix, bias)
    split = view(g, rows, (shape_of(image)[0], *counts, *(axis.stride for axis in axes), outputs))
    n = len(axes)
    order = (0, *(i for axis in range(n) for i in (1 + axis, 1 + n + axis)), 2 * n + 1)
    whole = view(
        g, permute(g, split, order), (shape_of(image)[0], *(a.count * a.stride for a in axes), outputs)
    )
    for number, size in enumerate(sizes, 1):
        whole = slice_along(g, whole, number, 0, size)
    return from_pixels(g, whole)


class _Axis:
    """How a transposed convolution runs along an axis.

    Attributes:
        count: stretches of `stride` results.
        first: the element that the first tap meets at stretch 0; `reach` taps follow each other.
        before, behind: zeros that are needed around the axis.
    """

    def __init__(self, stride: int, count: int, first: int, reach: int, before: int, behind: int) -> None:
        self.stride, self.count, self.first, self.reach = stride, count, first, reach
        self.before, self.behind = before, behind
        self.offsets: dict[tuple[int, int], int] = {}

    @staticmethod
    def of(length: int, kernel: int, stride: int, padding: int, dilation: int, size: int) -> _Axis:
        """Result q * stride + r is the sum over places t in the kernel of the element
        q + (r + padding - t * dilation) / stride where that is whole.
        """
        offsets = {
            (r, (r + padding - t * dilation) // stride): t
            for r in range(stride)
            for t in range(kernel)
            if (r + padding - t * dilation) % stride == 0
        }
        elements = [element for _, element in offsets] or [0]
        first, last = min(elements), max(elements)
        count = -(-size // stride)
        before, behind = max(0, -first), max(0, count - 1 + last - (length - 1))
        axis = _Axis(stride, count, first, last - first + 1, before, behind)
        axis.offsets = {(r, element - first): t for (r, element), t in offsets.items()}
        return axis


def _phases(
    g: GraphBuilder, weight: SSAValue, axes: Sequence[_Axis], phases: Sequence[Sequence[int]]
) -> SSAValue:
    """[phases * O, taps * C]: the kernel's places that each result of a stretch has at each tap, 0 where none."""
    inputs, outputs, *kernel = shape_of(weight)
    places = prod(kernel)
    rows = permute(g, view(g, weight, (inputs * outputs, places)), (1, 0))
    numbers: list[int] = []
    taps = list(product(*(range(axis.reach) for axis in axes)))
    for phase in phases:
        for tap in taps:
            found = [
                axis.offsets.get(pair) for axis, pair in zip(axes, zip(phase, tap, strict=True), strict=True)
            ]
            place = 0
            for k, t in zip(kernel, found, strict=True):
                place = places if t is None or place == places else place * k + t
            numbers.append(place)
    if places in numbers:
        rows = joined(g, [rows, g.ssa(torch.zeros(1, inputs * outputs))], 0)
    picked = view(g, pick(g, rows, 0, numbers), (len(phases), len(taps), inputs, outputs))
    return view(g, permute(g, picked, (0, 3, 1, 2)), (len(phases) * outputs, len(taps) * inputs))
