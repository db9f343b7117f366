"""Resizing of images: torch says how each axis is resampled, as a constant matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.spellings.arithmetic import scaled
from plena.frontend.spellings.channels import from_pixels, to_pixels
from plena.frontend.spellings.handlers import Arguments, Handler
from plena.frontend.spellings.joining import joined, pick
from plena.frontend.spellings.shapes import expand, view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _upsample(g: GraphBuilder, a: Arguments) -> SSAValue:
    """Any interpolation that treats the axes one after the other."""
    image = g.ssa(a["self"] if "self" in a else a["input"])
    sizes = g.shape[2:]
    pixels = to_pixels(g, image)
    for axis, size in enumerate(sizes):
        matrix = _matrix(g, a, axis, shape_of(image)[2 + axis], size)
        pixels = _resampled(g, pixels, axis + 1, matrix)
    return from_pixels(g, pixels)


def _matrix(g: GraphBuilder, a: Arguments, axis: int, before: int, after: int) -> torch.Tensor:
    """[after, before]: what the operator makes of each unit vector along one axis, constant along the others.

    The others have size 2: antialiased resizing in torch resamples only the last axis of [8, 1, 8, 1] right.
    """
    axes = len(g.shape) - 2
    space = [1] * axes
    space[axis] = before
    whole = [before if n == axis else 2 for n in range(axes)]
    units = torch.eye(before).view(before, 1, *space).expand(before, 1, *whole).contiguous()
    arguments = {name: value for name, value in a.items() if name not in ("self", "input")}
    if arguments.get("output_size") is not None:
        arguments["output_size"] = [after if n == axis else 2 for n in range(axes)]
    if arguments.get("scale_factors") is not None:
        factors = arguments["scale_factors"]
        arguments["scale_factors"] = [factors[n] if n == axis else 1.0 for n in range(axes)]
    for n, name in enumerate(("scales_d", "scales_h", "scales_w")[3 - axes :]):
        if name in arguments and n != axis:
            arguments[name] = None
    result: torch.Tensor = g.node.target(units, **arguments)  # type: ignore[operator]
    for n in reversed(range(axes)):
        result = result if n == axis else result.select(2 + n, 0)
    return result.reshape(before, after).T


def _resampled(g: GraphBuilder, pixels: SSAValue, axis: int, matrix: torch.Tensor) -> SSAValue:
    """The matrix times an axis of pixels [B, *S, C]: weighted sums of slices.

    If the axis grows by a whole factor, the results that lie so far apart are one slice each: they are made together.
    """
    after, before = matrix.shape
    shape = shape_of(pixels)
    if after == before and torch.equal(matrix, torch.eye(before)):
        return pixels
    factor = after // before if after % before == 0 else 1
    if factor > 1 and torch.equal(matrix, torch.eye(before).repeat_interleave(factor, 0)):
        apart = view(g, pixels, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
        repeated = expand(g, apart, (*shape[: axis + 1], factor, *shape[axis + 1 :]))
        return view(g, repeated, (*shape[:axis], after, *shape[axis + 1 :]))
    phases = [_weighted_slices(g, pixels, axis, matrix[phase::factor]) for phase in range(factor)]
    if factor == 1:
        return phases[0]
    stacked = joined(g, [view(g, p, (*shape[: axis + 1], 1, *shape[axis + 1 :])) for p in phases], axis + 1)
    return view(g, stacked, (*shape[:axis], after, *shape[axis + 1 :]))


def _weighted_slices(g: GraphBuilder, pixels: SSAValue, axis: int, matrix: torch.Tensor) -> SSAValue:
    """The sum over terms of the slices with each row's numbers, times each row's weights."""
    total: SSAValue | None = None
    for numbers, weights in _taps(matrix):
        part = pick(g, pixels, axis, numbers)
        if bool((weights == weights[0]).all()):
            part = scaled(g, part, float(weights[0]))
        else:
            column = weights.view(-1, *[1] * (len(shape_of(pixels)) - axis - 1))
            g.name_constant(column)
            part = g.build(aten.MulOp, [part, column], shape=shape_of(part))
        total = part if total is None else g.build(aten.AddOp, [total, part], shape=shape_of(part))
    assert total is not None
    return total


def _taps(matrix: torch.Tensor) -> Sequence[tuple[list[int], torch.Tensor]]:
    """For each place in a row's window the elements that the rows take there, and their weights.

    Windows advance evenly; one that begins before the axis or ends behind it takes the element at the edge for what
    it lacks, so that equal rows in the middle and at the edges have equal weights as far as possible.
    """
    count, length = matrix.shape
    used = [row.nonzero().flatten() for row in matrix]
    size = max(int(places[-1] - places[0]) + 1 for places in used)
    middle = count // 2
    ahead = int(used[middle][0])
    step = int(used[middle][0] - used[middle - 1][0]) if count > 1 else 1
    typical = _lengthened(matrix[middle][ahead : ahead + size], size)
    taps: list[tuple[list[int], torch.Tensor]] = []
    starts: list[int] = []
    rows: list[torch.Tensor] = []
    for number in range(count):
        start = ahead + (number - middle) * step
        places = (start + torch.arange(size)).clamp(0, length - 1)
        guess = torch.zeros(length).index_add_(0, places, typical)
        if torch.allclose(guess, matrix[number], atol=1e-6):
            starts.append(start)
            rows.append(typical)
            continue
        first = min(int(used[number][0]), max(0, length - size))
        starts.append(first)
        rows.append(_lengthened(matrix[number][first : first + size], size))
    for place in range(size):
        numbers = [min(max(start + place, 0), length - 1) for start in starts]
        weights = torch.stack([row[place] for row in rows])
        if bool(weights.any()):
            taps.append((numbers, weights))
    return taps


def _lengthened(weights: torch.Tensor, size: int) -> torch.Tensor:
    """Weights with zeros behind them."""
    return torch.nn.functional.pad(weights, (0, size - len(weights)))


SPELLINGS: dict[str, Handler] = {
    f"aten.{name}": _upsample
    for name in (
        *(f"upsample_nearest{n}d.{kind}" for n in (1, 2) for kind in ("default", "vec")),
        *("upsample_linear1d.default", "upsample_linear1d.vec"),
        *(f"upsample_{kind}2d.{o}" for kind in ("bilinear", "bicubic") for o in ("default", "vec")),
        *(f"_upsample_{kind}2d_aa.{o}" for kind in ("bilinear", "bicubic") for o in ("default", "vec")),
    )
}
"""Handlers by overload."""
