"""Columns that become rows: numbers of FP SRAM are read as the lanes of a row, exactly and whatever they are."""

from __future__ import annotations

from dataclasses import replace

from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import MapScalarsOp, SplatOp
from plena.kernels.context import KernelContext
from plena.kernels.fp_sram import few, new_scalars
from plena.kernels.operands import column_to_scalars
from plena.kernels.tensors import Panel, Scalars


def numbers_to_lanes(
    ctx: KernelContext, op: Operation, value: SSAValue, rows: int, columns: int
) -> Panel | None:
    """A tensor in FP SRAM, or a column of vector SRAM [R, 1], as a panel [rows, columns] with its numbers in order.

    None if it is neither, or if FP SRAM does not hold a row of the result beside everything else.
    """
    source = ctx.locations[value]
    if isinstance(source, Scalars):
        result = ctx.new_panel("rearranged", rows, columns)
        _write_rows(ctx, source.buffer, result, rows)
        return result
    vlen = ctx.target.vlen
    if not isinstance(source, Panel) or source.columns != 1 or not few(ctx, 1, min(columns, vlen)):
        return None
    result = ctx.new_panel("rearranged", rows, columns)
    finite = not ctx.undefined.of(value)
    if few(ctx, 1, columns):
        _by_rows(ctx, source, result, finite=finite)
    else:
        _by_column_blocks(ctx, source, result, finite=finite)
    return result


def _by_rows(ctx: KernelContext, source: Panel, result: Panel, *, finite: bool) -> None:
    """As many rows of the result at a time as FP SRAM holds."""
    together, columns, vlen = result.rows, result.columns, ctx.target.vlen
    while not few(ctx, together, columns):
        together //= 2
    scalars = new_scalars(ctx, together * columns, 1)

    def piece(number: Linear, count: int) -> None:
        read = ctx.builder.view(source.buffer, number * (together * columns * vlen))
        written = ctx.builder.view(result.buffer, number * (together * vlen))
        held = replace(scalars, rows=count * columns)
        column_to_scalars(ctx, replace(source, buffer=read, rows=held.rows), held, finite=finite)
        _write_rows(ctx, held.buffer, replace(result, buffer=written), count)

    ctx.builder.by_groups(result.rows, together, piece)


def _by_column_blocks(ctx: KernelContext, source: Panel, result: Panel, *, finite: bool) -> None:
    """As many column blocks of a row at a time."""
    blocks, columns, vlen = result.blocks(ctx.target.vlen), result.columns, ctx.target.vlen
    while not few(ctx, 1, blocks * vlen):
        blocks //= 2
    width = blocks * vlen
    scalars = new_scalars(ctx, width, 1)
    with ctx.builder.loop(result.rows) as row:

        def piece(number: Linear, count: int) -> None:
            read = ctx.builder.view(source.buffer, (row * columns + number * width) * vlen)
            written = ctx.builder.view(result.buffer, row * vlen + number * (blocks * result.block))
            held = replace(scalars, rows=count)
            column_to_scalars(ctx, replace(source, buffer=read, rows=count), held, finite=finite)
            part = replace(result, buffer=written, group_columns=count, group_pitch=count)
            _write_rows(ctx, held.buffer, part, 1)

        ctx.builder.by_groups(columns, width, piece)


def _write_rows(ctx: KernelContext, numbers: SSAValue, result: Panel, rows: int) -> None:
    """Rows of the result from consecutive numbers; the last lanes of its last column block are zeros."""
    builder, vlen, columns = ctx.builder, ctx.target.vlen, result.columns
    whole, rest = divmod(columns, vlen)
    last = builder.buffer("row_of_scalars", "fp", vlen) if rest else None

    def copy(out: SSAValue, source: SSAValue, count: int, step: int) -> None:
        builder.insert(MapScalarsOp(kind="copy", out=out, a=source, count=count, out_step=1, a_step=step))

    with builder.step("numbers to lanes"):
        if last is not None:
            copy(last, builder.constant(0.0), vlen, 0)
        with builder.loop(rows) as row:
            if whole:
                with builder.loop(whole) as block:
                    _splat(ctx, result, row, block, builder.view(numbers, row * columns + block * vlen))
            if last is not None:
                copy(last, builder.view(numbers, row * columns + whole * vlen), rest, 1)
                _splat(ctx, result, row, Linear.of(whole), last)


def _splat(ctx: KernelContext, result: Panel, row: Linear, block: Linear, numbers: SSAValue) -> None:
    vlen = ctx.target.vlen
    place = ctx.builder.view(result.buffer, row * vlen + block * result.block)
    ctx.builder.insert(SplatOp(dst=place, values=numbers, rows=1, dst_row=vlen))
