"""Elementwise kernels on tensors of few columns in FP SRAM: one number at a time, but with a square root."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from plena.dialects.plena import ActivationOp, BinaryOp, UnaryOp
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import MapScalarsOp
from plena.host.view import Expand
from plena.kernels.context import KernelContext
from plena.kernels.fp_sram import new_scalars, number
from plena.kernels.operands import as_scalars
from plena.kernels.tensors import Scalars

FUNCTIONS: dict[str, Sequence[str]] = {
    "exp": ("exp",),
    "reciprocal": ("reciprocal",),
    "sqrt": ("sqrt",),
    "rsqrt": ("sqrt", "reciprocal"),
}
"""Activations as scalar instructions one after the other."""


def _map(
    ctx: KernelContext, kind: str, out: Scalars, a: Scalars, b: SSAValue | None = None, b_step: int = 0
) -> None:
    """out = kind(a, b) on all scalars."""
    ctx.builder.insert(
        MapScalarsOp(
            kind=kind,
            out=out.buffer,
            a=a.buffer,
            b=b,
            count=a.rows * a.groups,
            out_step=1,
            a_step=1,
            b_step=b_step,
        )
    )


def _operand(ctx: KernelContext, value: SSAValue) -> Scalars:
    location = ctx.locations[value]
    assert isinstance(location, Scalars)
    return location


def lower_activation(op: ActivationOp, source: Scalars, ctx: KernelContext) -> None:
    result = new_scalars(ctx, source.rows, source.groups)
    for step in FUNCTIONS[op.kind.data]:
        _map(ctx, step, result, source)
        source = result
    ctx.set(op.result, result)


def lower_number(op: UnaryOp, kind: str, value: float, ctx: KernelContext) -> None:
    source = _operand(ctx, op.input)
    result = new_scalars(ctx, source.rows, source.groups)
    _map(ctx, kind, result, source, number(ctx, value))
    ctx.set(op.result, result)


def lower_clamp(op: UnaryOp, low: float | None, high: float | None, ctx: KernelContext) -> None:
    """There is no minimum: min(x, h) = -max(-x, -h)."""
    source = _operand(ctx, op.input)
    result = new_scalars(ctx, source.rows, source.groups)
    if low is not None:
        _map(ctx, "max", result, source, number(ctx, low))
        source = result
    if high is not None:
        minus = number(ctx, -1.0)
        _map(ctx, "mul", result, source, minus)
        _map(ctx, "max", result, result, number(ctx, -high))
        _map(ctx, "mul", result, result, minus)
    ctx.set(op.result, result)


def lower_binary(op: BinaryOp, kind: str, ctx: KernelContext) -> None:
    """Both operands [M, G] in FP SRAM, the right one possibly [M, 1]."""
    lhs = _operand(ctx, op.lhs)
    rhs = _right(ctx, op, lhs)
    if kind in ("max", "min") and ctx.undefined.may_be_nan(op.rhs):
        # The scalar unit's maximum gives NaN of its first operand alone.
        if ctx.undefined.may_be_nan(op.lhs) or lhs.groups != rhs.groups:
            raise refusal(
                op,
                "both operands are single numbers for each row that may be NaN",
                "Keep what overflows finite before, as in y / x.abs().clamp(min=1e-6).",
            )
        lhs, rhs = rhs, lhs
    result = new_scalars(ctx, lhs.rows, lhs.groups)
    if kind == "min":
        minus = number(ctx, -1.0)
        negative = new_scalars(ctx, rhs.rows, rhs.groups)
        _map(ctx, "mul", negative, rhs, minus)
        _map(ctx, "mul", result, lhs, minus)
        _combine(ctx, "max", result, result, negative)
        _map(ctx, "mul", result, result, minus)
        ctx.set(op.result, result)
        return
    if kind == "div":
        inverse = new_scalars(ctx, rhs.rows, rhs.groups)
        _map(ctx, "reciprocal", inverse, rhs)
        kind, rhs = "mul", inverse
    _combine(ctx, kind, result, lhs, rhs)
    ctx.set(op.result, result)


def _combine(ctx: KernelContext, kind: str, result: Scalars, lhs: Scalars, rhs: Scalars) -> None:
    if rhs.groups == lhs.groups:
        _map(ctx, kind, result, lhs, rhs.buffer, 1)
    else:
        with ctx.builder.loop(lhs.groups) as g:
            ctx.builder.insert(
                MapScalarsOp(
                    kind=kind,
                    out=ctx.builder.view(result.buffer, g),
                    a=ctx.builder.view(lhs.buffer, g),
                    b=rhs.buffer,
                    count=lhs.rows,
                    out_step=lhs.groups,
                    a_step=lhs.groups,
                    b_step=1,
                )
            )


def _right(ctx: KernelContext, op: Operation, lhs: Scalars) -> Scalars:
    value = op.operands[1]
    tensor = ctx.host(value)
    if tensor is not None:
        shape = (lhs.rows, lhs.groups)
        return Scalars(ctx.place_scalars("scalars", tensor.through(Expand(shape)), "fp"), *shape)
    groups = shape_of(value)[1]
    if groups not in (1, lhs.groups):
        raise refusal(
            op,
            f"{groups} numbers per row do not fit {lhs.groups}",
            "Use as many numbers in each row on both sides, or one.",
        )
    return as_scalars(ctx, op, value)
