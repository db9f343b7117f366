"""Sums, means and maxima over features, into FP SRAM, and over rows, into vector SRAM."""

from __future__ import annotations

from math import isqrt

import numpy as np
from xdsl.ir import Operation, SSAValue

from plena.dialects.plena import ReduceOp
from plena.dialects.tile import MapScalarsOp, MaxRowsOp, ReduceRowsOp, SumRowsOp
from plena.integers import ceil_div
from plena.kernels.attention.rows import SOFTMAX_FLOOR
from plena.kernels.choosing import ENOUGH
from plena.kernels.context import KernelContext, kernel_for, lane_masks, spread_into
from plena.kernels.finite_operands import require_finite
from plena.kernels.fp_sram import few, lane_hiding, new_scalars, number
from plena.kernels.lanes import Lanes, emit_elementwise, rows_of
from plena.kernels.operands import like
from plena.kernels.parts import Parts, first_lanes, parts_of
from plena.kernels.pieces import Piece, by_pieces
from plena.kernels.selection import times_constant
from plena.kernels.tensors import Panel, Scalars
from plena.machine.scalar_codes import BF16_MAX


@kernel_for(ReduceOp)
def lower_reduce(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, ReduceOp)
    (_over_features if op.axis.data == "features" else _over_rows)(op, ctx)


def _over_features(op: ReduceOp, ctx: KernelContext) -> None:
    """One word per row and part; where FP SRAM does not hold them all, sums by a product, others piece by piece."""
    given, groups = ctx.panel(op.input), op.groups.value.data
    if not few(ctx, given.rows, groups) and op.kind.data != "max" and given.is_packed:
        ctx.set(op.result, _summed_parts(op, given, groups, ctx))
        return
    source, parts = parts_of(ctx, op, given, groups)
    if few(ctx, source.rows, parts.groups):
        scalars = new_scalars(ctx, source.rows, parts.groups)
        _reduce_parts(op, ctx, source, parts, scalars)
        ctx.set(op.result, scalars)
        return
    result = ctx.new_panel("reduced", source.rows, parts.groups)
    finite = not ctx.undefined.of(op.result)

    def reduce(piece: Piece) -> None:
        _reduce_parts(op, ctx, piece.of(ctx, source), parts, piece.scalars)
        spread_into(ctx, piece.scalars, piece.of(ctx, result), finite=finite)

    by_pieces(ctx, op, source.rows, parts.groups, reduce)
    ctx.set(op.result, result)


def _reduce_parts(op: ReduceOp, ctx: KernelContext, source: Panel, parts: Parts, scalars: Scalars) -> None:
    """Parts that share a column block are reduced under their masks."""
    groups, kind = parts.groups, op.kind.data
    maximum = kind == "max"
    undefined = maximum and ctx.undefined.may_be_nan(op.input)
    if parts.is_alone:
        masks, lanes = None, 0
        if parts.rest and not maximum and ctx.undefined.behind_columns_of(op.input):
            lanes = parts.rest
        elif parts.rest and maximum:
            require_finite(ctx, op, "a maximum behind a spread number", behind_columns=True)
            masks = lane_hiding(ctx, 1, parts.rest)
        elif parts.rest:
            masks = first_lanes(ctx, parts.rest)
        with ctx.builder.loop(groups) as g:
            part = ctx.builder.view(source.buffer, g * (parts.blocks * source.block))
            out = ctx.builder.view(scalars.buffer, g)
            _reduce(ctx, maximum, source, part, parts.blocks, out, groups, masks, lanes)
    else:
        if not maximum or undefined:
            require_finite(ctx, op, f"the {'maximum' if maximum else 'sum'} of parts of rows")
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
    if undefined and parts.is_alone:
        _add_nan(ctx, source, parts, scalars)
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


def _add_nan(ctx: KernelContext, source: Panel, parts: Parts, maxima: Scalars) -> None:
    """The maximum of a row ignores NaN, PyTorch's is NaN then: the sum of a row's elements, made finite and times 0."""
    zeros = like(ctx, "zeros_and_nan", source)

    def times_zero(lanes: Lanes) -> SSAValue:
        bounded = lanes.apply("min", lanes.apply("max", lanes.inputs[0], -BF16_MAX), BF16_MAX)
        return lanes.apply("mul", bounded, 0.0)

    size = (source.rows, source.blocks(ctx.target.vlen))
    emit_elementwise(ctx, [rows_of(ctx, zeros)], [rows_of(ctx, source)], size, times_zero)
    sums = new_scalars(ctx, maxima.rows, maxima.groups)
    mask = first_lanes(ctx, parts.rest) if parts.rest else None
    with ctx.builder.loop(maxima.groups) as g:
        part = ctx.builder.view(zeros.buffer, g * (parts.blocks * zeros.block))
        out = ctx.builder.view(sums.buffer, g)
        _reduce(ctx, False, zeros, part, parts.blocks, out, maxima.groups, mask)
    ctx.builder.insert(
        MapScalarsOp(
            kind="add",
            out=maxima.buffer,
            a=maxima.buffer,
            b=sums.buffer,
            count=maxima.rows * maxima.groups,
            out_step=1,
            a_step=1,
            b_step=1,
        )
    )


def _summed_parts(op: ReduceOp, source: Panel, groups: int, ctx: KernelContext) -> Panel:
    """Sums or means in vector SRAM, by a product with ones."""
    width = source.columns // groups
    ones = np.kron(np.eye(groups, dtype=np.float32), np.ones((1, width), np.float32))
    result = times_constant(ctx, op, source, f"sum_parts_{groups}_{width}", ones)
    if op.kind.data == "mean":
        _scale(ctx, result, 1.0 / width)
    return result


def _scale(ctx: KernelContext, panel: Panel, factor: float) -> None:
    whole = rows_of(ctx, panel)
    size = (panel.rows, panel.blocks(ctx.target.vlen))
    ctx.builder.map("mul", whole, whole, number(ctx, factor), size=size)


def _reduce(
    ctx: KernelContext,
    maximum: bool,
    source: Panel,
    part: SSAValue,
    blocks: int,
    scalars: SSAValue,
    scalars_row: int,
    mask: SSAValue | None,
    lanes: int = 0,
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
            lanes=lanes,
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
            require_finite(ctx, op, "the maximum over rows", between_rows=True)
            scratch = builder.buffer("row", "vector", 2 * vlen)
            builder.insert(
                MaxRowsOp(
                    out=out,
                    scratch=scratch,
                    x=x,
                    scale=number(ctx, ENOUGH),
                    one=number(ctx, 1.0),
                    rows=rows,
                    blocks=blocks,
                    x_block=source.block,
                    out_block=result.block,
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
        _scale(ctx, result, 1.0 / rows)
    ctx.set(op.result, result)
