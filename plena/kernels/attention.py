"""Attention: what both schedules share, and the choice between them."""

from __future__ import annotations

from xdsl.ir import Operation

from plena.dialects.plena import AttentionOp
from plena.kernels.attention_broadcast import BroadcastAttention
from plena.kernels.attention_online import OnlineAttention
from plena.kernels.attention_rows import RowsAttention
from plena.kernels.attention_shape import AttentionShape
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.product_cost import ProductShape, prefers_broadcast
from plena.lowering.kernel import ceil_div, round_up


@kernel_for(AttentionOp)
def lower_attention(op: Operation, ctx: KernelContext) -> None:
    """The broadcast schedule where it pays and rows fit; else whole rows whenever matrix SRAM holds one reduction."""
    assert isinstance(op, AttentionOp)
    shape = AttentionShape.of(op)
    mlen, spare = ctx.target.mlen, ctx.target.m_prefetch_tiles - 1
    product = _product_shape(shape, mlen)
    broadcast = ctx.schedule.attention != "online" and prefers_broadcast(product, ctx.target, ctx.schedule)
    choice = ctx.schedule.attention
    if choice == "auto":
        held = ceil_div(shape.keys, mlen) + ceil_div(shape.head_dim, mlen) + 2 * spare
        choice = "rows" if held <= ctx.target.matrix_tiles else "online"
    ctx.decide(op, product, broadcast)
    ctx.tunable |= not broadcast
    form = BroadcastAttention if broadcast else OnlineAttention if choice == "online" else RowsAttention
    kernel = form(op, shape, ctx)
    kernel.run()
    ctx.count_macs(shape.macs)
    ctx.set(op.result, kernel.result)


def _product_shape(shape: AttentionShape, mlen: int) -> ProductShape:
    """Both products as one: the rows of a key head's query heads against its keys and values."""
    key_tiles = ceil_div(shape.keys, mlen)
    head_blocks = ceil_div(shape.head_dim, mlen)
    tiles = key_tiles * (head_blocks + ceil_div(shape.value_dim, mlen))
    rows = shape.group * round_up(shape.queries, mlen)
    return ProductShape(rows, 1, tiles, key_tiles + head_blocks)
