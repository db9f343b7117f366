"""Convolutions whose kernels overlap, as products with shifted images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.spellings.joining import pad
from plena.frontend.spellings.shapes import permute, slice_along, view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


FEATURES = 16
"""Channels from which on pixels are features that a layer computed rather than colours of an image."""


def is_patches(
    weight: SSAValue, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> bool:
    """Whether kernels cut an image of few channels into patches: the host puts each into a row."""
    inputs, *kernel = shape_of(weight)[1:]
    whole = tuple(stride) == tuple(kernel) and not any(padding) and set(dilation) == {1}
    return whole and inputs < FEATURES


def has_taps(weight: SSAValue, groups: int) -> bool:
    """Whether `by_taps` covers so many groups of channels: one, or one for each channel."""
    outputs, inputs = shape_of(weight)[:2]
    return groups == 1 or (groups == outputs and inputs == 1)


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
    """A convolution of images [B, C, *S] by kernels [O, C / groups, *K] with one or two spatial axes.

    Pixels become rows and channels columns. For each place in the kernel, a tap, the pixels that it meets are a slice
    of the padded image. The slices side by side are the rows of one product; with a group for each channel they are
    weighted and added.
    """
    axes = len(stride)
    kernel = shape_of(weight)[2:]
    padded = _padded_pixels(g, image, padding, kernel)
    sizes = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(shape_of(image)[2:], padding, dilation, kernel, stride, strict=True)
    ]
    taps: list[SSAValue] = []
    for place in product(*(range(k) for k in kernel)):
        tap = padded
        for axis in range(axes):
            start = place[axis] * dilation[axis]
            end = start + (sizes[axis] - 1) * stride[axis] + 1
            tap = slice_along(g, tap, axis + 1, start, end, stride[axis])
        taps.append(tap)
    pixels = _weighted(g, taps, weight, bias) if groups > 1 else _product(g, taps, weight, bias)
    channels = shape_of(pixels)[-1]
    moved = view(g, pixels, (shape_of(image)[0], *sizes, channels))
    return permute(g, moved, (0, axes + 1, *range(1, axes + 1)))


def _padded_pixels(
    g: GraphBuilder, image: SSAValue, padding: Sequence[int], kernel: Sequence[int]
) -> SSAValue:
    """[B, *S, C] with zeros around the spatial axes.

    If there are none to add, one that no tap meets goes behind the last axis: what is joined has its pixels in rows,
    where slices of an image as it is would move with its axes.
    """
    axes = len(padding)
    pixels = permute(g, image, (0, *range(2, axes + 2), 1))
    amounts = [n for amount in reversed(padding) for n in (amount, amount)]
    if not any(amounts) and prod(kernel) > 1:
        amounts[1] = 1
    return pad(g, pixels, [0, 0, *amounts])


def _product(g: GraphBuilder, taps: Sequence[SSAValue], weight: SSAValue, bias: Any) -> SSAValue:
    """[rows, O] of taps [B, *S, C]: their channels side by side times the kernel, tap by tap."""
    outputs, inputs, *kernel = shape_of(weight)
    shape = list(shape_of(taps[0]))
    columns = len(taps) * inputs
    joined = taps[0]
    if len(taps) > 1:
        properties = {"dim": IntegerAttr(len(shape) - 1, i64)}
        joined = g.build(aten.CatOp, [list(taps)], properties, shape=[*shape[:-1], columns])
    rows = view(g, joined, (prod(shape[:-1]), columns))
    last = permute(g, view(g, weight, (outputs, inputs, prod(kernel))), (0, 2, 1))
    matrix = view(g, last, (outputs, columns))
    operands = [rows, matrix, [] if bias is None else [bias]]
    return g.build(aten.LinearOp, operands, shape=(prod(shape[:-1]), outputs))


def _weighted(g: GraphBuilder, taps: Sequence[SSAValue], weight: SSAValue, bias: Any) -> SSAValue:
    """[rows, C] of taps [B, *S, C]: the sum of all, each channel by its own weight."""
    channels, _, *kernel = shape_of(weight)
    weights = permute(g, view(g, weight, (channels, prod(kernel))), (1, 0))
    shape = (prod(shape_of(taps[0])[:-1]), channels)
    total: SSAValue | None = None if bias is None else g.ssa(bias)
    for number, tap in enumerate(taps):
        factors = view(g, slice_along(g, weights, 0, number, number + 1), (channels,))
        term = g.build(aten.MulOp, [view(g, tap, shape), factors], shape=shape)
        total = term if total is None else g.build(aten.AddOp, [term, total], shape=shape)
    assert total is not None
    return total
