"""Elementwise kernels: chains of maps on panels in vector SRAM."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.kernels.context import KernelContext
from plena.kernels.tensors import Panel


def map_constant(
    ctx: KernelContext, kind: str, panel: SSAValue, constant: float, rows: int, blocks: int, block: int
) -> None:
    """panel = kind(panel, constant), in place."""
    vlen = ctx.target.vlen
    ctx.builder.emit(
        "map",
        kind=kind,
        out=panel,
        a=panel,
        b=ctx.builder.constant(constant),
        rows=rows,
        blocks=blocks,
        out_row=vlen,
        out_block=block,
        a_row=vlen,
        a_block=block,
    )


def map_unary(ctx: KernelContext, kind: str, panel: SSAValue, rows: int, blocks: int, block: int) -> None:
    """panel = kind(panel), in place."""
    vlen = ctx.target.vlen
    ctx.builder.emit(
        "map",
        kind=kind,
        out=panel,
        a=panel,
        rows=rows,
        blocks=blocks,
        out_row=vlen,
        out_block=block,
        a_row=vlen,
        a_block=block,
    )


def tanh_in_place(
    ctx: KernelContext, panel: SSAValue, cap: float, rows: int, blocks: int, block: int
) -> None:
    """panel = cap * tanh(panel / cap) = cap - 2*cap / (exp(2*panel/cap) + 1)."""
    size = (rows, blocks, block)
    map_constant(ctx, "mul", panel, 2.0 / cap, *size)
    map_unary(ctx, "exp", panel, *size)
    map_constant(ctx, "add", panel, 1.0, *size)
    map_unary(ctx, "reciprocal", panel, *size)
    map_constant(ctx, "mul", panel, -2.0 * cap, *size)
    map_constant(ctx, "add", panel, cap, *size)


def copy_panel(ctx: KernelContext, source: Panel, destination: Panel) -> None:
    """destination = source, in the same layout."""
    vlen = ctx.target.vlen
    with ctx.builder.step("copy"):
        ctx.builder.emit(
            "map",
            kind="copy",
            out=destination.buffer,
            a=source.buffer,
            rows=source.physical_rows(vlen),
            blocks=source.blocks(vlen),
            out_row=vlen,
            out_block=destination.block,
            a_row=vlen,
            a_block=source.block,
        )
