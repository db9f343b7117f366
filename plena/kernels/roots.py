"""Square roots: on the scalar unit where there are few, by iteration on the vector unit where there are many."""

from __future__ import annotations

from plena.dialects.plena import ActivationOp
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import SqrtRowsOp
from plena.kernels.context import KernelContext
from plena.kernels.lanes import emit_elementwise, rows_of
from plena.kernels.operands import as_words, guarded, like, reciprocal_of
from plena.kernels.scalars import lower_activation
from plena.kernels.tensors import Panel
from plena.kernels.words import few, word

STEPS = 24
"""Iterations of the vector unit's square root: each halves what is far too large, the last few double the digits.
Roots of numbers from 2^-40 to 2^40 come out to a bf16 ulp, smaller ones below 2^-20."""


def lower_root(op: ActivationOp, ctx: KernelContext) -> None:
    """sqrt or rsqrt of a tensor in vector SRAM."""
    rows, columns = shape_of(op.input)
    kind = op.kind.data
    panel = ctx.panel(op.input)
    if few(ctx, rows, columns) and columns <= min(4, ctx.target.vlen) and panel.is_packed:
        lower_activation(op, as_words(ctx, op, op.input), ctx)
        return
    roots = _roots(ctx, panel)
    if kind == "rsqrt":
        guards = guarded(ctx, roots)
        size = (roots.rows, roots.blocks(ctx.target.vlen))
        emit_elementwise(
            ctx,
            [rows_of(ctx, roots)],
            [rows_of(ctx, roots), *guards],
            size,
            lambda lanes: reciprocal_of(lanes, lanes.inputs[0], lanes.inputs[1:]),
        )
    ctx.set(op.result, roots)


def _roots(ctx: KernelContext, source: Panel) -> Panel:
    roots = like(ctx, "roots", source)
    ctx.builder.insert(
        SqrtRowsOp(
            out=roots.buffer,
            scratch=ctx.builder.buffer("row", "vector", ctx.target.vlen),
            x=source.buffer,
            half=word(ctx, 0.5),
            one=word(ctx, 1.0),
            rows=source.rows,
            blocks=source.blocks(ctx.target.vlen),
            x_block=source.block,
            out_block=roots.block,
            steps=STEPS,
        )
    )
    return roots
