"""Norms of images: over the batch with fixed statistics, over groups of channels, over the pixels of each channel."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import FloatAttr, f64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.spellings.arithmetic import scaled
from plena.frontend.spellings.channels import from_pixels, to_pixels
from plena.frontend.spellings.handlers import Arguments, Handler, reads_first_alone
from plena.frontend.spellings.reductions import reduce
from plena.frontend.spellings.shapes import view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _batch_norm(g: GraphBuilder, a: Arguments) -> Any:
    """x * scale + shift for each channel, scale and shift being made of parameters and fixed statistics alone.

    scale = weight / sqrt(variance + eps) and shift = bias - mean * scale.
    """
    mean, variance = a["running_mean"], a["running_var"]
    fixed = isinstance(mean, torch.Tensor) and isinstance(variance, torch.Tensor)
    if a.get("training", False) or not fixed:
        return NotImplemented
    inverse = torch.rsqrt(variance.float() + a["eps"])
    shift = -mean.float() * inverse
    for derived in (inverse, shift):
        g.name_constant(derived)
    return _affine(g, to_pixels(g, g.ssa(a["input"])), inverse, shift, a["weight"], a["bias"])


def _native_batch_norm(g: GraphBuilder, a: Arguments) -> Any:
    """With the statistics of the batch as second and third result, which nobody may read."""
    if not reads_first_alone(g):
        return NotImplemented
    result = _batch_norm(g, a)
    return result if result is NotImplemented else [result, None, None]


def _affine(g: GraphBuilder, pixels: SSAValue, scale: Any, shift: Any, weight: Any, bias: Any) -> SSAValue:
    """An image of pixels * scale + shift, then times weight plus bias, all of them vectors of channels or None."""
    shape = shape_of(pixels)
    channels = shape[-1:]
    if weight is not None:
        scale = weight if scale is None else g.build(aten.MulOp, [weight, scale], shape=channels)
        if shift is not None:
            shift = g.build(aten.MulOp, [weight, shift], shape=channels)
    if bias is not None:
        shift = bias if shift is None else g.build(aten.AddOp, [bias, shift], shape=channels)
    if scale is not None:
        pixels = g.build(aten.MulOp, [pixels, scale], shape=shape)
    if shift is not None:
        pixels = g.build(aten.AddOp, [pixels, shift], shape=shape)
    return from_pixels(g, pixels)


def _group_norm(g: GraphBuilder, a: Arguments) -> SSAValue:
    x = g.ssa(a["input"])
    return normalized(g, x, int(a["num_groups"]), float(a["eps"]), a["weight"], a["bias"])


def _native_group_norm(g: GraphBuilder, a: Arguments) -> Any:
    if not reads_first_alone(g):
        return NotImplemented
    x = g.ssa(a["input"])
    return [normalized(g, x, int(a["group"]), float(a["eps"]), a["weight"], a["bias"]), None, None]


def _instance_norm(g: GraphBuilder, a: Arguments) -> Any:
    if not a["use_input_stats"]:
        return _batch_norm(g, a)
    x = g.ssa(a["input"])
    return normalized(g, x, shape_of(x)[1], float(a["eps"]), a["weight"], a["bias"])


def normalized(g: GraphBuilder, image: SSAValue, groups: int, eps: float, weight: Any, bias: Any) -> SSAValue:
    """Every group of channels of every image [B, C, *S] with mean 0 and variance 1, then times weight plus bias."""
    batch, channels, *space = shape_of(image)
    rows = prod(space)
    pixels = to_pixels(g, image)
    flat = view(g, pixels, (batch, rows, channels))
    centered = g.build(aten.SubOp, [flat, _group_mean(g, flat, groups)], shape=(batch, rows, channels))
    square = g.build(aten.MulOp, [centered, centered], shape=(batch, rows, channels))
    variance = _group_mean(g, square, groups)
    if groups != channels:
        # A sum of squares; nothing sees it in a product with ones.
        variance = g.build(aten.ClampOp, [variance], {"min": FloatAttr(0.0, f64)}, shape=shape_of(variance))
    safe = g.build(aten.AddOp, [variance, eps], shape=shape_of(variance))
    inverse = g.build(aten.RsqrtOp, [safe], shape=shape_of(safe))
    result = g.build(aten.MulOp, [centered, inverse], shape=(batch, rows, channels))
    return _affine(g, view(g, result, shape_of(pixels)), None, None, weight, bias)


def _group_mean(g: GraphBuilder, flat: SSAValue, groups: int) -> SSAValue:
    """The mean of every group of columns over all rows of a sample, [B, 1, C] of [B, rows, C].

    Columns are added up and spread over their group by one product with zeros and ones.
    """
    batch, _, channels = shape_of(flat)
    mean = reduce(g, aten.MeanOp, flat, 1, keepdim=True)
    if groups == channels:
        return mean
    width = channels // groups
    alike = torch.block_diag(*[torch.ones(width, width)] * groups)
    g.name_constant(alike)
    total = g.build(aten.LinearOp, [mean, alike, []], shape=(batch, 1, channels))
    return scaled(g, total, 1.0 / width)


SPELLINGS: dict[str, Handler] = {
    "aten.batch_norm.default": _batch_norm,
    "aten._native_batch_norm_legit_no_training.default": _native_batch_norm,
    "aten.group_norm.default": _group_norm,
    "aten.native_group_norm.default": _native_group_norm,
    "aten.instance_norm.default": _instance_norm,
}  # fmt: skip
"""Handlers by overload."""
