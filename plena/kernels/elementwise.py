"""Elementwise kernels: chains of maps on panels in vector SRAM."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.tile import PanelRows
from plena.kernels.activations import tanh
from plena.kernels.context import KernelContext
from plena.kernels.lanes import Lanes, emit_elementwise
from plena.kernels.tensors import Panel


def softcap_in_place(
    ctx: KernelContext, panel: SSAValue, cap: float, rows: int, blocks: int, block: int
) -> None:
    """panel = cap * tanh(panel / cap)."""
    here = PanelRows(panel, ctx.target.vlen, block)

    def expression(lanes: Lanes) -> SSAValue:
        (x,) = lanes.inputs
        return lanes.apply("mul", tanh(lanes, lanes.apply("mul", x, 1.0 / cap)), cap)

    emit_elementwise(ctx, [here], [here], (rows, blocks), expression)


def copy_panel(ctx: KernelContext, source: Panel, destination: Panel) -> None:
    """destination = source, in the same layout, as many rows as both have place for."""
    vlen = ctx.target.vlen
    rows = min(source.physical_rows(vlen), destination.physical_rows(vlen))
    with ctx.builder.step("copy"):
        ctx.builder.map(
            "copy",
            PanelRows(destination.buffer, vlen, destination.block),
            PanelRows(source.buffer, vlen, source.block),
            size=(rows, source.blocks(vlen)),
        )
