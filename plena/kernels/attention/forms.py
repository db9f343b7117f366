"""Attention: what both schedules share, and the choice between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from xdsl.ir import Operation

from plena.dialects.plena import AttentionOp
from plena.integers import ceil_div, round_up
from plena.kernels.attention.broadcast import BroadcastAttention, broadcast_fits, longest_head
from plena.kernels.attention.online import OnlineAttention
from plena.kernels.attention.operands import heads_in_place
from plena.kernels.attention.residency import rows_fit
from plena.kernels.attention.rows import RowsAttention
from plena.kernels.attention.shape import AttentionShape, Tiling
from plena.kernels.attention.vectors import VectorAttention, vectors_fit
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.product_cost import ProductShape, Unit, preferred_unit
from plena.kernels.stored_operands import require_storable


@kernel_for(AttentionOp)
def lower_attention(op: Operation, ctx: KernelContext) -> None:
    """Vectors or the broadcast schedule where they pay and fit; else whole rows whenever matrix SRAM holds one
    reduction.
    """
    assert isinstance(op, AttentionOp)
    require_storable(op, ctx, op.key, op.value)
    shape = AttentionShape.of(op)
    target, schedule = ctx.target, ctx.schedule
    product = _product_shape(op, shape, ctx)
    unit = preferred_unit(product, target, schedule)
    if schedule.attention == "online" or ctx.spreads_nan(op.query):
        unit = "mm"
    if unit == "broadcast" and schedule.matmul != "broadcast" and not broadcast_fits(ctx):
        unit = "mm"
    ctx.decide(op, product, unit)
    _note_freedoms(shape, unit, ctx)
    form = _FORMS.get(unit) or _mm_form(shape, ctx)
    with heads_in_place(op, shape, ctx):
        kernel = form(op, shape, ctx)
        kernel.run()
    if schedule.parts > 1:
        ctx.decisions.append(
            f"attention: loops over heads are expanded {schedule.parts} times for the watchdog"
        )
    if shape.interleaved:
        ctx.decisions.append("attention: query heads lie in the lanes of the key heads that they read")
    ctx.count_macs(shape.macs)
    ctx.set(op.result, kernel.result)


_FORMS: Mapping[Unit, type[BroadcastAttention] | type[VectorAttention]] = {
    "broadcast": BroadcastAttention,
    "vector": VectorAttention,
}


def _note_freedoms(shape: AttentionShape, unit: Unit, ctx: KernelContext) -> None:
    """Says what another schedule would change."""
    if unit == "vector":
        ctx.grouped |= ctx.schedule.matmul == "auto"
    else:
        longest = longest_head(shape, ctx.target)
        ctx.tunable |= unit == "mm" or longest > ctx.target.max_loop_instructions


def _mm_form(shape: AttentionShape, ctx: KernelContext) -> type[RowsAttention] | type[OnlineAttention]:
    choice = ctx.schedule.attention
    if choice == "auto":
        tiling = Tiling.of(shape, ctx.target, ctx.schedule.query_block)
        choice = "rows" if rows_fit(tiling, ctx) else "online"
    return OnlineAttention if choice == "online" else RowsAttention


def _product_shape(op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> ProductShape:
    """Both products as one: the rows of a key head's query heads against its keys and values."""
    mlen = ctx.target.mlen
    key_tiles = ceil_div(shape.keys, mlen)
    head_blocks, value_blocks = ceil_div(shape.head_dim, mlen), ceil_div(shape.value_dim, mlen)
    tiles = key_tiles * (head_blocks + value_blocks)
    rows = shape.group * round_up(shape.queries, mlen)
    product = ProductShape(rows, 1, tiles, key_tiles + head_blocks)
    if not vectors_fit(op, shape, ctx):
        return product
    return replace(
        product,
        pack_vector_tiles=product.pack_tiles,
        separate=shape.group,
        matrix_tiles=0 if ctx.host(op.value) is not None else key_tiles * value_blocks,
    )
