"""Queries for the broadcast unit: whole panels in vector SRAM, scaled as far as their packing tile does not do it."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.plena import AttentionOp
from plena.dialects.tile import PanelRows
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.context import KernelContext
from plena.kernels.operands import is_last_use, like
from plena.kernels.packing import PACKING_FACTOR, define_rows, define_tail
from plena.kernels.tensors import HostTensor, Panel, StateRows


def scaled_queries(
    op: AttentionOp, shape: AttentionShape, ctx: KernelContext, *, pitch: int, rows: int
) -> tuple[Panel, float]:
    """The scaled queries, heads `pitch` lanes apart, and the factor of their packing tile.

    Powers of two go into the staged queries or into the packing tile, exactly. `rows`: so many rows of a column block
    are read from its first one on; those that mean nothing are zeros.
    """
    power, rest = shape.split_scale()
    tensor = ctx.host(op.query)
    if tensor is not None:
        panel = ctx.load("query", tensor, groups=shape.heads, pitch=pitch, scale=power)
        with ctx.once(tensor):
            define_tail(ctx, panel, rows)
            _scale(ctx, panel, panel, rest)
        return panel, PACKING_FACTOR
    panel = ctx.panel(op.query)
    if rest != 1.0 and not _may_overwrite(op, panel, ctx):
        panel = like(ctx, "scaled_queries", panel)
    define_tail(ctx, panel, rows)
    _scale(ctx, ctx.panel(op.query), panel, rest)
    define_rows(ctx, panel, rows)
    return panel, PACKING_FACTOR * power


def _may_overwrite(op: AttentionOp, queries: Panel, ctx: KernelContext) -> bool:
    """Whether nothing reads the queries before they are scaled: keys and values are stored afterwards."""
    others: tuple[SSAValue, ...] = (op.key, op.value)
    stored = [ctx.panel(v).buffer for v in others if not isinstance(ctx.locations[v], HostTensor | StateRows)]
    return queries.buffer not in stored and is_last_use(ctx, op, op.query)


def _scale(ctx: KernelContext, source: Panel, panel: Panel, factor: float) -> None:
    if factor == 1.0:
        return
    vlen = ctx.target.vlen
    with ctx.builder.step("scale queries"):
        ctx.builder.map(
            "mul",
            PanelRows(panel.buffer, vlen, panel.block),
            PanelRows(source.buffer, vlen, source.block),
            ctx.builder.constant(factor),
            size=(panel.physical_rows(vlen), panel.blocks(vlen)),
        )
