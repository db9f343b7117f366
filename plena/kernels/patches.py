"""Patch embedding: the host cuts the image into patches while it stages it, the rest is a linear layer."""

from __future__ import annotations

from xdsl.ir import Operation

from plena.dialects.plena import PatchEmbeddingOp
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import shape_of
from plena.host.view import Permute, Reshape, Slice
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.linear import Layer, lower_layers
from plena.kernels.selection import value_at


@kernel_for(PatchEmbeddingOp)
def lower_patch_embedding(op: Operation, ctx: KernelContext) -> None:
    """Patches [B*P, C*kh*kw] of an image [B, C, H, W], row by row; what lies behind the last whole one is left out."""
    assert isinstance(op, PatchEmbeddingOp)
    image, weight = ctx.host(op.input), ctx.host(op.weight)
    if image is None or weight is None:
        raise refusal(
            op,
            "the image is computed",
            "Give the image as an input of the model, or make the stride smaller than the kernel.",
        )
    batch, channels, height, width = shape_of(op.input)
    kh, kw = op.kernel.get_values()
    down, across = height // kh, width // kw
    patches = image.through(
        Slice(2, 0, down * kh),
        Slice(3, 0, across * kw),
        Reshape((batch, channels, down, kh, across, kw)),
        Permute((0, 2, 4, 1, 3, 5)),
        Reshape((batch * down * across, channels * kh * kw)),
    )
    bias = None if op.bias is None else ctx.host(op.bias)
    value = value_at(ctx, patches, *patches.shape)
    lower_layers(op, value, [Layer(weight, bias, op.result)], ctx)
    ctx.forget_packed(value)
