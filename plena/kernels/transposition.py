"""Rows and columns of computed matrices exchanged: a product of the identity with the stored matrix."""

from __future__ import annotations

import numpy as np
from xdsl.ir import Operation, SSAValue

from plena.dialects.refusals import origin_of, refusal
from plena.dialects.tile import LoadRowsOp, PanelRows
from plena.integers import ceil_div, round_up
from plena.kernels.column_products import broadcast_column, matmul_column
from plena.kernels.context import KernelContext, constant_panel
from plena.kernels.key_value import load_key_value_tiles
from plena.kernels.product_cost import ProductShape, prefers_broadcast
from plena.kernels.stored_operands import (
    StoredShape,
    Tiles,
    require_storable,
    stored_tiles,
    stored_type,
)
from plena.kernels.tensors import Panel
from plena.machine.number_formats import Mx
from plena.tensor.fills import FAR, far_fill


def transposed(ctx: KernelContext, op: Operation, panel: Panel, groups: int) -> Panel:
    """[groups*R, C], packed, as [groups*C, R]: each group of rows transposed.

    Only HBM leads to matrix SRAM, and a block format loses a third of a bf16 number. So what it loses is stored as
    well, and one sum in the accumulator adds both: the largest elements of a block that shares a scale come out to
    about a bf16 ulp, all to about 2^-15 of the largest. What is smaller than that becomes 0. Fills by the model are
    refused for that; where inputs or weights differ so much it is not seen.

    Raises:
        CompileError: elements may be infinite or NaN, or numbers that the model fills in far beyond the others; the
            target has no format that stores and loads tiles.
    """
    require_storable(op, ctx, *op.operands)
    _require_no_fill(op, ctx)
    target, builder, vlen = ctx.target, ctx.builder, ctx.target.vlen
    rows, columns = panel.rows // groups, panel.columns
    parts = _stored(ctx, op, panel, StoredShape(groups, rows))
    c_tiles, r_tiles, k_tiles = ceil_div(columns, vlen), ceil_div(rows, vlen), len(parts)
    height = min(round_up(columns, target.blen), target.mlen)
    reach = (groups - 1) * columns + (c_tiles - 1) * target.mlen + height
    result = ctx.new_panel("transposed", groups * columns, rows, reach=reach)
    shape = ProductShape(height, k_tiles, groups * c_tiles * r_tiles, 0)
    broadcast = prefers_broadcast(shape, target, ctx.schedule)
    identity = _packed_identity(ctx) if broadcast else _identity(ctx)
    size = (k_tiles + target.m_prefetch_tiles - 1) * target.tile
    tiles = builder.buffer("turned_tiles", "matrix", size)
    with (
        builder.step("transpose"),
        builder.loop(r_tiles) as across,
        builder.loop(groups) as group,
        builder.loop(c_tiles) as down,
    ):
        for n, part in enumerate(parts):
            source = part.at(group, down, across)
            load_key_value_tiles(ctx, builder.view(tiles, n * target.tile), part, source, 1, 1)
        first = (group * columns + down * target.mlen) * vlen
        out = builder.view(result.buffer, across * result.block + first)
        if broadcast:
            broadcast_column(ctx, out, identity, tiles, k_tiles=k_tiles)
        else:
            matmul_column(ctx, out, identity, tiles, rows=height, k_tiles=k_tiles)
    return result


def _require_no_fill(op: Operation, ctx: KernelContext) -> None:
    _, number_format = stored_type(ctx, op)
    if not isinstance(ctx.target.precision[number_format], Mx):
        return
    for operand in op.operands:
        source = far_fill(operand)
        if source is None:
            continue
        raise refusal(
            op,
            f"rows and columns are exchanged of a tensor that may hold numbers above {FAR:g} in size beside small "
            f"ones, of {origin_of(source)}: its number format in HBM loses those",
            "Fill, add masks or scale after the transpose, or fill in a number of moderate size, such as -100.",
        )


def _stored(ctx: KernelContext, op: Operation, panel: Panel, shape: StoredShape) -> list[Tiles]:
    """The matrix in HBM, and where the format loses something what it loses of it."""
    builder, vlen = ctx.builder, ctx.target.vlen
    precision, number_format = stored_type(ctx, op)
    first = stored_tiles(ctx, "turned", op, panel, shape)
    if not isinstance(ctx.target.precision[number_format], Mx):
        return [first]
    physical, blocks = panel.physical_rows(vlen), panel.blocks(vlen)
    rest = ctx.new_panel("rest", panel.rows, panel.columns, reach=physical)
    unit = ctx.element_bytes(number_format)
    with builder.step("store"):
        builder.insert(
            LoadRowsOp(
                dst=rest.buffer,
                src=first.buffer,
                rows=physical,
                blocks=blocks,
                dst_block=rest.block,
                src_row=vlen * unit,
                src_block=first.block,
                kv=precision,
            )
        )
        whole = PanelRows(panel.buffer, vlen, panel.block), PanelRows(rest.buffer, vlen, rest.block)
        builder.map("sub", whole[1], *whole, size=(physical, blocks))
    return [first, stored_tiles(ctx, "turned_rest", op, rest, shape)]


def _identity(ctx: KernelContext) -> SSAValue:
    """The identity as left operand of one tile, in vector SRAM."""
    return constant_panel(ctx, "identity", np.eye(ctx.target.mlen, dtype=np.float32))


def _packed_identity(ctx: KernelContext) -> SSAValue:
    """The identity times 4, packed for broadcast products: slice c begins with the lanes c*HLEN.. of all rows."""
    target = ctx.target
    mlen, hlen, slots = target.mlen, target.hlen, target.broadcast_amount
    rows = np.zeros((slots, mlen, mlen), np.float32)
    for c in range(slots):
        rows[c, c * hlen + np.arange(hlen), np.arange(hlen)] = 4.0
    return constant_panel(ctx, "packed_identity", rows.reshape(slots * mlen, mlen))
