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
    if not isinstance(source, Panel) or source.columns != 1 or not few(ctx, 1, columns):
        return None
    result = ctx.new_panel("rearranged", rows, columns)
    together = rows
    while not few(ctx, together, columns):
        together //= 2
    scalars, vlen = new_scalars(ctx, together * columns, 1), ctx.target.vlen

    def piece(number: Linear, count: int) -> None:
        read = ctx.builder.view(source.buffer, number * (together * columns * vlen))
        written = ctx.builder.view(result.buffer, number * (together * vlen))
        column_to_scalars(
            ctx, replace(source, buffer=read, rows=count * columns), replace(scalars, rows=count * columns)
        )
        _write_rows(ctx, scalars.buffer, replace(result, buffer=written), count)

    ctx.builder.by_groups(rows, together, piece)
    return result


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
