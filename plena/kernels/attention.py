"""Attention: what both schedules share, and the choice between them."""

from __future__ import annotations

from xdsl.ir import Operation

from plena.dialects.plena import AttentionOp
from plena.kernels.attention_online import OnlineAttention
from plena.kernels.attention_rows import RowsAttention
from plena.kernels.attention_shape import AttentionShape
from plena.kernels.context import KernelContext, kernel_for
from plena.lowering.kernel import ceil_div


@kernel_for(AttentionOp)
def lower_attention(op: Operation, ctx: KernelContext) -> None:
    """Whole rows whenever matrix SRAM holds the value tiles of one reduction, the online form otherwise."""
    assert isinstance(op, AttentionOp)
    shape = AttentionShape.of(op)
    choice = ctx.schedule.attention
    if choice == "auto":
        key_tiles = ceil_div(shape.keys, ctx.target.mlen)
        choice = (
            "rows" if key_tiles + ctx.target.m_prefetch_tiles - 1 <= ctx.target.matrix_tiles else "online"
        )
    kernel = (OnlineAttention if choice == "online" else RowsAttention)(op, shape, ctx)
    kernel.run()
    ctx.useful_macs += shape.macs
    ctx.set(op.result, kernel.result)
