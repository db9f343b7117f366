"""Sums, means and maxima over features, into FP SRAM, and over rows, into vector SRAM."""

from __future__ import annotations

from math import isqrt

from xdsl.ir import Operation, SSAValue

from plena.dialects.plena import ReduceOp
from plena.dialects.refusals import refusal
from plena.dialects.tile import MapScalarsOp, MaxRowsOp, ReduceRowsOp, SumRowsOp
from plena.integers import ceil_div
from plena.kernels.attention.rows import SOFTMAX_FLOOR
from plena.kernels.context import KernelContext, kernel_for, lane_masks
from plena.kernels.finite_operands import require_finite
from plena.kernels.fp_sram import few, lane_hiding, new_scalars, number
from plena.kernels.lanes import emit_elementwise, rows_of
from plena.kernels.parts import first_lanes, parts_of
from plena.kernels.tensors import Panel

MAXIMUM_STEPS = 3
MAXIMUM_SHRINK = 1.0 - 2.0**-6
"""A maximum of two rows is approached from below in this many steps (tile.max_rows)."""


@kernel_for(ReduceOp)
def lower_reduce(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, ReduceOp)
    (_over_features if op.axis.data == "features" else _over_rows)(op, ctx)


def _over_features(op: ReduceOp, ctx: KernelContext) -> None:
    """One word per row and part. Parts that share a column block are reduced under their masks."""
    source, groups, kind = ctx.panel(op.input), op.groups.value.data, op.kind.data
    if not few(ctx, source.rows, groups):
        raise refusal(
            op,
            f"{source.rows} x {groups} results are too many for FP SRAM",
            "Use a smaller batch or sequence, or a target with more FP SRAM.",
        )
    source, parts = parts_of(ctx, op, source, groups)
    scalars = new_scalars(ctx, source.rows, groups)
    maximum = kind == "max"
    if parts.is_alone:
        masks = None
        if parts.rest:
            masks = lane_hiding(ctx, 1, parts.rest) if maximum else first_lanes(ctx, parts.rest)
        with ctx.builder.loop(groups) as g:
            part = ctx.builder.view(source.buffer, g * (parts.blocks * source.block))
            _reduce(
                ctx, maximum, source, part, parts.blocks, ctx.builder.view(scalars.buffer, g), groups, masks
            )
    else:
        if not maximum:
            require_finite(op, "the sum of parts of rows")
        size = (parts.per_block, parts.size)
        masks = lane_hiding(ctx, *size) if maximum else lane_masks(ctx, *size)
        blocks, vlen = ceil_div(groups, parts.per_block), ctx.target.vlen
        for block in range(blocks):
            first = block * parts.per_block
            with ctx.builder.loop(min(parts.per_block, groups - first)) as g:
                part = ctx.builder.view(source.buffer, block * source.block)
                mask = ctx.builder.view(masks, g * vlen)
                _reduce(
                    ctx, maximum, source, part, 1, ctx.builder.view(scalars.buffer, g + first), groups, mask
                )
    if kind == "mean":
        ctx.builder.insert(
            MapScalarsOp(
                kind="mul",
                out=scalars.buffer,
                a=scalars.buffer,
                b=number(ctx, 1.0 / parts.size),
                count=scalars.rows * scalars.groups,
                out_step=1,
                a_step=1,
            )
        )
    ctx.set(op.result, scalars)


def _reduce(
    ctx: KernelContext,
    maximum: bool,
    source: Panel,
    part: SSAValue,
    blocks: int,
    scalars: SSAValue,
    scalars_row: int,
    mask: SSAValue | None,
) -> None:
    ctx.builder.insert(
        ReduceRowsOp(
            kind="max" if maximum else "sum",
            scalars=scalars,
            scratch=ctx.builder.buffer("row", "vector", 2 * ctx.target.vlen),
            x=part,
            mask=mask,
            floor=ctx.builder.constant(SOFTMAX_FLOOR) if maximum else None,
            rows=source.rows,
            blocks=blocks,
            block=source.block,
            scalars_row=scalars_row,
        )
    )


def _over_rows(op: ReduceOp, ctx: KernelContext) -> None:
    """The rows of each group become one row of a new panel."""
    source, groups, kind = ctx.panel(op.input), op.groups.value.data, op.kind.data
    vlen, builder = ctx.target.vlen, ctx.builder
    rows, blocks = source.rows // groups, source.blocks(vlen)
    result = ctx.new_panel(kind, groups, source.columns, source.groups, source.group_pitch)
    with builder.loop(groups) as g:
        out, x = builder.view(result.buffer, g * vlen), builder.view(source.buffer, g * (rows * vlen))
        if kind == "max":
            require_finite(op, "the maximum over rows")
            scratch, shrink = builder.buffer("row", "vector", vlen), number(ctx, MAXIMUM_SHRINK)
            builder.insert(
                MaxRowsOp(
                    out=out,
                    scratch=scratch,
                    x=x,
                    shrink=shrink,
                    rows=rows,
                    blocks=blocks,
                    x_block=source.block,
                    out_block=result.block,
                    steps=MAXIMUM_STEPS,
                )
            )
        else:
            chunk = isqrt(rows - 1) + 1
            scratch = builder.buffer("sums", "vector", ceil_div(rows, chunk) * vlen)
            builder.insert(
                SumRowsOp(
                    out=out,
                    scratch=scratch,
                    x=x,
                    rows=rows,
                    blocks=blocks,
                    x_block=source.block,
                    out_block=result.block,
                    chunk=chunk,
                )
            )
    if kind == "mean":
        whole = rows_of(ctx, result)
        factor = 1.0 / rows
        emit_elementwise(
            ctx, [whole], [whole], (groups, blocks), lambda lanes: lanes.apply("mul", lanes.inputs[0], factor)
        )
    ctx.set(op.result, result)
