"""Attention: what both schedules share, and the choice between them."""

from __future__ import annotations

from xdsl.ir import Operation

from plena.dialects.plena import AttentionOp
from plena.integers import ceil_div, round_up
from plena.kernels.attention.broadcast import BroadcastAttention, broadcast_fits, longest_filling
from plena.kernels.attention.online import OnlineAttention
from plena.kernels.attention.operands import heads_in_place
from plena.kernels.attention.residency import rows_fit
from plena.kernels.attention.rows import RowsAttention
from plena.kernels.attention.shape import AttentionShape, Tiling
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.product_cost import ProductShape, prefers_broadcast
from plena.kernels.stored_operands import require_storable


@kernel_for(AttentionOp)
def lower_attention(op: Operation, ctx: KernelContext) -> None:
    """The broadcast schedule where it pays and rows fit; else whole rows whenever matrix SRAM holds one reduction."""
    assert isinstance(op, AttentionOp)
    require_storable(op, ctx, op.key, op.value)
    shape = AttentionShape.of(op)
    target, schedule = ctx.target, ctx.schedule
    product = _product_shape(shape, target.mlen)
    broadcast = schedule.attention != "online" and prefers_broadcast(product, target, schedule)
    broadcast = broadcast and not ctx.spreads_nan(op.query)
    if broadcast and schedule.matmul != "broadcast":
        broadcast = broadcast_fits(ctx)
    form = BroadcastAttention if broadcast else _mm_form(shape, ctx)
    ctx.decide(op, product, "broadcast" if broadcast else "mm")
    ctx.tunable |= not broadcast or longest_filling(shape, target) > target.max_loop_instructions
    with heads_in_place(op, shape, ctx):
        kernel = form(op, shape, ctx)
        kernel.run()
    if schedule.parts > 1:
        ctx.decisions.append(
            f"attention: loops over heads are expanded {schedule.parts} times for the watchdog"
        )
    ctx.count_macs(shape.macs)
    ctx.set(op.result, kernel.result)


def _mm_form(shape: AttentionShape, ctx: KernelContext) -> type[RowsAttention] | type[OnlineAttention]:
    choice = ctx.schedule.attention
    if choice == "auto":
        tiling = Tiling.of(shape, ctx.target, ctx.schedule.query_block)
        choice = "rows" if rows_fit(tiling, ctx) else "online"
    return OnlineAttention if choice == "online" else RowsAttention


def _product_shape(shape: AttentionShape, mlen: int) -> ProductShape:
    """Both products as one: the rows of a key head's query heads against its keys and values."""
    key_tiles = ceil_div(shape.keys, mlen)
    head_blocks = ceil_div(shape.head_dim, mlen)
    tiles = key_tiles * (head_blocks + ceil_div(shape.value_dim, mlen))
    rows = shape.group * round_up(shape.queries, mlen)
    return ProductShape(rows, 1, tiles, key_tiles + head_blocks)
