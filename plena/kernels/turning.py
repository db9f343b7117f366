"""Moving lanes within the rows of a panel: products with a constant tile, since the vector unit only shifts upwards."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import PackOp
from plena.host.view import Array
from plena.integers import ceil_div
from plena.kernels.column_products import broadcast_column, matmul_column
from plena.kernels.context import KernelContext
from plena.kernels.packing import constant_tile, packing_tile
from plena.kernels.product_cost import ProductShape, prefers_broadcast
from plena.kernels.tensors import Panel


def turned(ctx: KernelContext, name: str, panel: Panel, matrix: Array) -> SSAValue:
    """Every row of every column block of a panel times `matrix` [VLEN, VLEN], as a buffer with the panel's strides.

    The rows of all column blocks are one sequence, so the broadcast unit works on BROADCAST * MLEN of them at a time,
    whatever column blocks they belong to: 2 cycles a row by the transactional profile, where M_MM takes 260. Entries
    must be exact in the weight format; then so is the product of a permutation.
    """
    target, builder = ctx.target, ctx.builder
    vlen, tile = target.vlen, target.tile
    rows = panel.blocks(vlen) * panel.physical_rows(vlen)
    together = target.mlen * (target.broadcast_amount if target.has_broadcast else 1)
    result = builder.buffer(name, "vector", ceil_div(rows, together) * together * vlen)
    weight = constant_tile(ctx, name, np.ascontiguousarray(matrix.T))
    broadcast = prefers_broadcast(ProductShape(rows, 1, 1, 1), target, ctx.schedule)
    broadcast = broadcast and not ctx.may_hold_nan
    identity = packing_tile(ctx, transposed=True) if broadcast else None
    if identity is None:
        with builder.step(name):
            matmul_column(ctx, result, panel.buffer, weight, rows=rows, k_tiles=1)
        return result
    packed = builder.buffer("packed", "vector", target.broadcast_amount * tile)

    def turn(group: Linear, count: int) -> None:
        first = group * (together * vlen)
        builder.insert(
            PackOp(
                out=packed,
                x=builder.view(panel.buffer, first),
                p=identity,
                row_blocks=count,
                x_row_block=tile,
                blocks=1,
                x_block=0,
                out_block=0,
            )
        )
        broadcast_column(ctx, builder.view(result, first), packed, weight, k_tiles=1)

    with builder.step(name):
        builder.by_groups(ceil_div(rows, target.mlen), target.broadcast_amount, turn)
    return result
