"""`keep-channels-last`: images whose channels lie last stay so, whatever comes between convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, IntegerAttr, ModuleOp, TensorType, UnitAttr, i64
from xdsl.ir import Attribute, BlockArgument, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.transforms.dead_code_elimination import dce

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.tensor.emission import Emitter
from plena.tensor.rewriting import rewrite

Elementwise = aten.UnaryOp | aten.BinaryOp


def pixels_of(value: SSAValue) -> SSAValue | None:
    """The [B, *S, C] of which a value is the image [B, C, *S]; None if it is no such view.

    With one spatial axis any transposition looks like that; those that convolutions make say so.
    """
    op = value.owner
    if not isinstance(op, aten.PermuteOp):
        return None
    dims, rank = tuple(op.dims.get_values()), len(shape_of(value))
    if rank < 3 or dims != (0, rank - 1, *range(1, rank - 1)):
        return None
    return op.input if rank > 3 or op.channels_last is not None else None


class _ImageEmitter(Emitter):
    """Makes ops on images for the one that is rewritten."""

    def permuted(self, value: SSAValue, dims: Sequence[int], image: bool = False) -> SSAValue:
        shape = shape_of(value)
        result = TensorType(element_type_of(value), [shape[d] for d in dims])
        properties: dict[str, Attribute] = {"dims": DenseArrayBase.from_list(i64, list(dims))}
        if image:
            properties["channels_last"] = UnitAttr()
        return self.add(aten.PermuteOp.build(operands=[value], properties=properties, result_types=[result]))

    def as_pixels(self, value: SSAValue, rank: int) -> SSAValue:
        """An operand of an operator on images with its channels last; numbers stay numbers."""
        shape = shape_of(value)
        known = pixels_of(value) if len(shape) == rank else None
        if known is not None or not shape:
            return value if known is None else known
        if len(shape) < rank:
            whole = TensorType(element_type_of(value), [*[1] * (rank - len(shape)), *shape])
            value = self.add(aten.ViewOp.build(operands=[value], result_types=[whole]))
        return self.permuted(value, (0, *range(2, rank), 1))

    def replace_by_image(self, pixels: SSAValue) -> None:
        """Replace the anchor by the image of these pixels."""
        rank = len(shape_of(pixels))
        image = self.permuted(pixels, (0, rank - 1, *range(1, rank - 1)), image=True)
        self.rewriter.replace(self.anchor, [], [image])

    def moved(self, operands: Sequence[SSAValue], **changed: Attribute) -> SSAValue:
        """The anchor on other operands, whose first has the result's rank."""
        op = self.anchor
        shape = shape_of(op.results[0])
        result = TensorType(element_type_of(op.results[0]), [shape[0], *shape[2:], shape[1]])
        return self.add(
            type(op).create(  # type: ignore[arg-type]
                operands=list(operands), result_types=[result], properties={**op.properties, **changed}
            )
        )


def _axis(axis: int, rank: int) -> int:
    """Where an axis of an image is when its channels lie last."""
    return axis if axis == 0 else rank - 1 if axis == 1 else axis - 1


class KeepElementwise(RewritePattern):
    """f(image(x), y) is image(f(x, y')) for operators on single elements."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: Elementwise, rewriter: PatternRewriter) -> None:
        shape = shape_of(op.result)
        images = [value for value in op.operands if shape_of(value) == shape and pixels_of(value) is not None]
        others = [value for value in op.operands if value not in images]
        if not images or isinstance(op, aten.ToOp) or not all(_moves_freely(v, shape) for v in others):
            return
        emitter = _ImageEmitter(rewriter, op)
        emitter.replace_by_image(
            emitter.moved([emitter.as_pixels(value, len(shape)) for value in op.operands])
        )


def _moves_freely(value: SSAValue, shape: Sequence[int]) -> bool:
    """Whether it costs nothing, or little, to put the channels of an operand last."""
    owner = value.owner
    if isinstance(value, BlockArgument) or isinstance(
        owner, aten.ParameterOp | aten.ConstantOp | aten.FullOp
    ):
        return True
    if isinstance(owner, aten.ViewOp | aten.PermuteOp | aten.ExpandOp | aten.SliceOp) and _moves_freely(
        owner.operands[0], shape
    ):
        return True
    own = (*(1,) * (len(shape) - len(shape_of(value))), *shape_of(value))
    return prod(own[2:]) == 1 or own[1] == 1


class KeepReductions(RewritePattern):
    """A reduction of an image, over its pixels or its channels."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.ReductionOp, rewriter: PatternRewriter) -> None:
        pixels = pixels_of(op.input)
        if pixels is None:
            return
        emitter = _ImageEmitter(rewriter, op)
        rank = len(shape_of(pixels))
        dims = sorted(_axis(d, rank) for d in op.dim.get_values())
        shape = [1 if axis in dims else n for axis, n in enumerate(shape_of(pixels))]
        kept = emitter.add(
            type(op).build(
                operands=[pixels],
                properties={"dim": DenseArrayBase.from_list(i64, dims), "keepdim": BoolAttr.from_bool(True)},
                result_types=[TensorType(element_type_of(op.result), shape)],
            )
        )
        if op.keepdim.value.data:
            emitter.replace_by_image(kept)
            return
        left = [axis for axis in range(rank) if axis not in dims]
        flat = emitter.add(
            aten.ViewOp.build(
                operands=[kept],
                result_types=[TensorType(element_type_of(op.result), [shape[axis] for axis in left])],
            )
        )
        order = [left.index(_axis(axis, rank)) for axis in range(rank) if _axis(axis, rank) in left]
        moved = flat if order == sorted(order) else emitter.permuted(flat, order)
        rewriter.replace(op, [], [moved])


class KeepParts(RewritePattern):
    """Parts of images, images side by side, and softmax along an axis."""

    @op_type_rewrite_pattern
    def match_and_rewrite(
        self, op: aten.SliceOp | aten.CatOp | aten.SoftmaxOp, rewriter: PatternRewriter
    ) -> None:
        values = list(op.operands)
        pixels = [pixels_of(value) for value in values]
        if not any(p is not None for p in pixels):
            return
        shape = shape_of(op.results[0])
        free = [p is not None or _moves_freely(v, shape) for p, v in zip(pixels, values, strict=True)]
        if not all(free):
            return
        emitter = _ImageEmitter(rewriter, op)
        rank = len(shape)
        dim = IntegerAttr(_axis(op.dim.value.data, rank), i64)
        emitter.replace_by_image(emitter.moved([emitter.as_pixels(value, rank) for value in values], dim=dim))


@dataclass(frozen=True)
class KeepChannelsLast(ModulePass):
    """Moves the views of pixels as images behind elementwise operators, reductions, slices and concatenations.

    A convolution has its pixels in rows and its channels in columns. Where the model works on the image, the machine
    works on the pixels.

    Before::

        builtin.module {
          func.func @main(%x: tensor<1x4x4x8xf32>) -> tensor<1x8x4x4xf32> {
            %0 = aten.permute %x {dims = array<i64: 0, 3, 1, 2>} : (tensor<1x4x4x8xf32>) -> tensor<1x8x4x4xf32>
            %1 = aten.relu %0 : (tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
            func.return %1 : tensor<1x8x4x4xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<1x4x4x8xf32>) -> tensor<1x8x4x4xf32> {
            %0 = aten.relu %x : (tensor<1x4x4x8xf32>) -> tensor<1x4x4x8xf32>
            %1 = aten.permute %0 {dims = array<i64: 0, 3, 1, 2>, channels_last} : (tensor<1x4x4x8xf32>) -> tensor<1x8x4x4xf32>
            func.return %1 : tensor<1x8x4x4xf32>
          }
        }
    """

    name = "keep-channels-last"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite(op, [KeepElementwise(), KeepReductions(), KeepParts()])
        dce(op)
