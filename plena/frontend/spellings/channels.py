"""Images with their channels last, as the rows of the machine: pixels in rows, channels in columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.spellings.shapes import permute, view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def batched(g: GraphBuilder, image: SSAValue, axes: int) -> SSAValue:
    """[B, C, *S] with so many spatial axes; one image [C, *S] is a batch of one."""
    shape = shape_of(image)
    return view(g, image, (1, *shape)) if len(shape) == axes + 1 else image


def to_pixels(g: GraphBuilder, image: SSAValue) -> SSAValue:
    """[B, *S, C] of an image [B, C, *S]."""
    rank = len(shape_of(image))
    return permute(g, image, (0, *range(2, rank), 1))


def from_pixels(g: GraphBuilder, pixels: SSAValue) -> SSAValue:
    """[B, C, *S] of pixels [B, *S, C]."""
    rank = len(shape_of(pixels))
    image = permute(g, pixels, (0, rank - 1, *range(1, rank - 1)))
    if isinstance(image.owner, aten.PermuteOp):
        image.owner.channels_last = UnitAttr()
    return image
