"""Windows that a kernel is laid over: where they begin, how many there are, and what they meet at each place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from xdsl.ir import SSAValue

from plena.frontend.spellings.shapes import slice_along

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def per_axis(values: Sequence[int], axes: int) -> tuple[int, ...]:
    """A setting of each axis; torch gives one number where all are the same."""
    return tuple(values) * (axes // len(values))


def around(padding: Sequence[int]) -> list[int]:
    """As much before as behind each axis, in the order of `pad`: the last axis comes first."""
    return [n for amount in reversed(padding) for n in (amount, amount)]


def window_counts(
    space: Sequence[int],
    kernel: Sequence[int],
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """How many windows of a kernel each axis has."""
    return [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(space, padding, dilation, kernel, stride, strict=True)
    ]


def tap(g: GraphBuilder, value: SSAValue, axis: int, start: int, count: int, step: int) -> SSAValue:
    """Elements start, start + step, ... of an axis, `count` of them."""
    return slice_along(g, value, axis, start, start + (count - 1) * step + 1, step)


def taps_of(
    g: GraphBuilder,
    value: SSAValue,
    first: int,
    starts: Sequence[Sequence[int]],
    counts: Sequence[int],
    steps: Sequence[int],
) -> Iterator[SSAValue]:
    """What all windows meet at each place of a kernel, the places of the last axis in succession.

    Args:
        first: the first axis of windows.
        starts: for each axis what the first window meets at each place.
        counts, steps: for each axis how many windows there are, and how far apart.
    """
    for place in product(*starts):
        part = value
        for axis, (start, count, step) in enumerate(zip(place, counts, steps, strict=True), first):
            part = tap(g, part, axis, start, count, step)
        yield part


def dilated(kernel: Sequence[int], dilation: Sequence[int]) -> list[range]:
    """What the first window meets at each place of a kernel, for each axis."""
    return [range(0, k * d, d) for k, d in zip(kernel, dilation, strict=True)]
