"""`fuse-norms`: RMS and layer norms that a model writes out."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)

from plena.dialects import aten, plena
from plena.dialects.aten import full_value
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import Emitter
from plena.tensor.rewriting import rewrite
from plena.tensor.tracing import trace


@dataclass(frozen=True)
class Normalized:
    """x / sqrt(mean(x^2) + eps) over the last axis, times a gain if there is one."""

    input: SSAValue
    eps: float
    gain: SSAValue | None = None


def _last_axis_mean(value: SSAValue) -> SSAValue | None:
    """x if the value is the mean of x over its last axis, with the axis kept."""
    op = value.owner
    if not isinstance(op, aten.MeanOp) or not op.keepdim.value.data:
        return None
    return op.input if op.dim.get_values() == (len(shape_of(op.input)) - 1,) else None


def _squared(value: SSAValue) -> SSAValue | None:
    op = value.owner
    return op.input if isinstance(op, aten.MulOp) and op.input == op.other else None


def _plus_number(value: SSAValue) -> tuple[SSAValue, float]:
    """(x, c) of x + c; (x, 0) of anything else."""
    op = value.owner
    if isinstance(op, aten.AddOp):
        for x, number in ((op.input, op.other), (op.other, op.input)):
            constant = full_value(number)
            if constant is not None:
                return x, constant
    return value, 0.0


def _inverse_root(value: SSAValue) -> SSAValue | None:
    """y if the value is y to the -1/2: rsqrt(y), 1 / sqrt(y), reciprocal(sqrt(y))."""
    match value.owner:
        case aten.RsqrtOp(input=y):
            return y
        case aten.ReciprocalOp(input=root):
            return _root(root)
        case aten.DivOp() as division if full_value(division.input) == 1.0:
            return _root(division.other)
        case _:
            return None


def _root(value: SSAValue) -> SSAValue | None:
    return value.owner.input if isinstance(value.owner, aten.SqrtOp) else None


def match_normalized(value: SSAValue) -> Normalized | None:
    """x * (mean(x^2) + eps)^-1/2 in any of its spellings; x may have been multiplied by a gain before."""
    op = value.owner
    if isinstance(op, aten.MulOp):
        pairs = [(op.input, _inverse_root(op.other)), (op.other, _inverse_root(op.input))]
    elif isinstance(op, aten.DivOp):
        pairs = [(op.input, _root(op.other))]
    else:
        return None
    for x, radicand in pairs:
        if radicand is None:
            continue
        mean, eps = _plus_number(radicand)
        square = _last_axis_mean(mean)
        source = _squared(square) if square is not None else None
        if source is None:
            continue
        if source == x:
            return Normalized(x, eps)
        gain = _factor(x, source)
        if gain is not None:
            return Normalized(source, eps, gain)
    return None


def _factor(product: SSAValue, value: SSAValue) -> SSAValue | None:
    """g if the product is g * value with a vector g that nothing else needs."""
    op = product.owner
    if not isinstance(op, aten.MulOp) or not product.has_one_use() or value not in op.operands:
        return None
    return _vector(op.other if op.input == value else op.input, shape_of(value)[-1])


def _centered(value: SSAValue) -> SSAValue | None:
    """x if the value is x - mean(x) over the last axis."""
    op = value.owner
    if isinstance(op, aten.SubOp) and _last_axis_mean(op.other) == op.input:
        return op.input
    return None


def _vector(value: SSAValue, width: int) -> SSAValue | None:
    """A staged vector of `width` elements behind views that only add leading axes of size 1."""
    traced = trace(value)
    source = traced.base.owner
    staged = isinstance(source, aten.ParameterOp | aten.ConstantOp | plena.ParameterOp)
    return traced.base if staged and shape_of(traced.base) == (width,) and traced.layout.is_reshape else None


class FuseNormalization(RewritePattern):
    """The root is the product with the inverse root; a gain and a bias behind it join."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, aten.MulOp | aten.DivOp):
            return
        found = match_normalized(op.result)
        if found is None:
            return
        emitter = Emitter(rewriter, op)
        source = _centered(found.input)
        if source is not None:
            norm = plena.LayerNormOp(emitter.flat(source), found.gain, None, found.eps)
        else:
            norm = plena.RmsNormOp(emitter.flat(found.input), found.gain, found.eps)
        emitter.replace(emitter.add(norm))


class JoinGain(RewritePattern):
    """norm(x) * g where nothing else reads norm(x)."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.MulOp, rewriter: PatternRewriter) -> None:
        for normed, factor in ((op.input, op.other), (op.other, op.input)):
            norm = _norm_behind(normed)
            if norm is None or norm.gain is not None or getattr(norm, "bias", None) is not None:
                continue
            gain = _vector(factor, norm.group_size)
            if gain is None:
                continue
            emitter = Emitter(rewriter, op)
            eps, groups = norm.eps.value.data, norm.groups.value.data
            joined = (
                plena.RmsNormOp(norm.input, gain, eps, groups)
                if isinstance(norm, plena.RmsNormOp)
                else plena.LayerNormOp(norm.input, gain, None, eps, groups)
            )
            joined.attributes.update(norm.attributes)
            emitter.replace(emitter.add(joined))
            return


class JoinBias(RewritePattern):
    """layer_norm(x) + b where nothing else reads the norm."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.AddOp, rewriter: PatternRewriter) -> None:
        for normed, addend in ((op.input, op.other), (op.other, op.input)):
            norm = _norm_behind(normed)
            if not isinstance(norm, plena.LayerNormOp) or norm.bias is not None:
                continue
            bias = _vector(addend, norm.group_size)
            if bias is None:
                continue
            emitter = Emitter(rewriter, op)
            joined = plena.LayerNormOp(norm.input, norm.gain, bias, norm.eps.value.data)
            joined.attributes.update(norm.attributes)
            emitter.replace(emitter.add(joined))
            return


def _norm_behind(value: SSAValue) -> plena.RmsNormOp | plena.LayerNormOp | None:
    """The norm that a value is under another shape, if it is its only reader."""
    while isinstance(value.owner, plena.ReshapeOp | aten.ViewOp) and value.has_one_use():
        value = value.owner.input
    norm = value.owner
    if isinstance(norm, plena.RmsNormOp | plena.LayerNormOp) and value.has_one_use():
        return norm
    return None


@dataclass(frozen=True)
class FuseNorms(ModulePass):
    """Replaces x * rsqrt(mean(x^2) + eps) by `plena.rms_norm` and the same of x - mean(x) by
    `plena.layer_norm`.

    A gain that follows becomes the kernel's; one computed from a parameter (1 + weight) has been folded into
    a constant by the importer.

    Before::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
            %0 = aten.mul %x, %x : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
            %1 = aten.mean %0 {dim = array<i64: 1>, keepdim = true} : (tensor<4x8xf32>) -> tensor<4x1xf32>
            %2 = aten.full 1.000000e-05 : f64 : tensor<f32>
            %3 = aten.add %1, %2 : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
            %4 = aten.rsqrt %3 : (tensor<4x1xf32>) -> tensor<4x1xf32>
            %5 = aten.mul %x, %4 : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
            %6 = aten.parameter @g : tensor<8xf32>
            %7 = aten.mul %6, %5 : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
            func.return %7 : tensor<4x8xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
            %0 = aten.parameter @g : tensor<8xf32>
            %1 = plena.rms_norm %x, gain = %0 {eps = 1.000000e-05 : f64} : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
            func.return %1 : tensor<4x8xf32>
          }
        }
    """

    name = "fuse-norms"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns: list[RewritePattern] = [FuseNormalization(), JoinGain(), JoinBias()]
        rewrite(op, patterns)
