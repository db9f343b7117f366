"""Moving lanes within the rows of a panel: products with a constant tile, since the vector unit only shifts upwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import PackOp, PackVectorsOp
from plena.host.view import Array
from plena.integers import ceil_div, round_up
from plena.kernels.column_products import broadcast_column, matmul_column, vector_product
from plena.kernels.context import KernelContext
from plena.kernels.packing import constant_tile, packing_tile
from plena.kernels.product_cost import ProductShape, Unit, preferred_unit
from plena.kernels.tensors import Panel


@dataclass(frozen=True)
class Turned:
    """Rows with their lanes moved: row r of column block n lies `n * block + r * VLEN` behind the beginning."""

    buffer: SSAValue
    block: int


def turned(ctx: KernelContext, name: str, panel: Panel, matrix: Array, *, of: Sequence[SSAValue]) -> Turned:
    """Every row of every column block of a panel times `matrix` [VLEN, VLEN].

    The rows of all column blocks are one sequence, whatever column blocks they belong to. The broadcast unit works on
    BROADCAST * MLEN of them at a time, 2 cycles a row by the transactional profile, where M_MM takes 260; few rows are
    vectors, BROADCAST at a time. Of a panel with one row the padding is not in the sequence.

    Entries must be exact in the weight format; then so is the product of a permutation. `of` is what is turned.
    """
    vlen = ctx.target.vlen
    weight = constant_tile(ctx, name, np.ascontiguousarray(matrix.T))
    rows = panel.blocks(vlen) * panel.physical_rows(vlen)
    vectors = panel.blocks(vlen) if panel.rows == 1 else rows
    unit = _unit(ctx, rows, vectors, of)
    if unit == "vector":
        pitch, block = (panel.block, vlen) if panel.rows == 1 else (vlen, panel.block)
        return Turned(_by_vectors(ctx, name, panel.buffer, weight, vectors, pitch), block)
    if unit == "broadcast":
        return Turned(_by_matrices(ctx, name, panel.buffer, weight, rows), panel.block)
    result = ctx.builder.buffer(name, "vector", round_up(rows, ctx.target.mlen) * vlen)
    with ctx.builder.step(name):
        matmul_column(ctx, result, panel.buffer, weight, rows=rows, k_tiles=1)
    return Turned(result, panel.block)


def _unit(ctx: KernelContext, rows: int, vectors: int, of: Sequence[SSAValue]) -> Unit:
    """What turns so many rows, of which `vectors` mean something."""
    if ctx.spreads_nan(*of):
        return "mm"
    separate = vectors if vectors < rows else 0
    shape = ProductShape(rows, 1, 1, pack_tiles=1, pack_vector_tiles=1, separate=separate)
    unit = preferred_unit(shape, ctx.target, ctx.schedule)
    ctx.grouped |= (
        unit == "vector" and vectors > ctx.target.broadcast_amount and ctx.schedule.matmul == "auto"
    )
    return unit


def _by_vectors(
    ctx: KernelContext, name: str, x: SSAValue, weight: SSAValue, vectors: int, pitch: int
) -> SSAValue:
    """Rows `pitch` elements apart as vectors, BROADCAST at a time; the results follow each other."""
    target, builder = ctx.target, ctx.builder
    slots, vlen = target.broadcast_amount, target.vlen
    identity = packing_tile(ctx, transposed=True)
    result = builder.buffer(name, "vector", round_up(vectors, slots) * vlen)
    packed = builder.buffer("packed_vectors", "vector", slots * vlen)

    def turn(group: Linear, count: int) -> None:
        builder.insert(
            PackVectorsOp(
                out=packed,
                x=builder.view(x, group * (slots * pitch)),
                p=identity,
                vectors=count,
                x_vector=pitch,
                blocks=1,
                x_block=0,
                out_block=0,
            )
        )
        vector_product(ctx, builder.view(result, group * (slots * vlen)), packed, weight, 1, 0, 1, 0)

    with builder.step(name):
        builder.by_groups(vectors, slots, turn)
    return result


def _by_matrices(ctx: KernelContext, name: str, x: SSAValue, weight: SSAValue, rows: int) -> SSAValue:
    """Consecutive rows, BROADCAST * MLEN at a time."""
    target, builder = ctx.target, ctx.builder
    slots, tile = target.broadcast_amount, target.tile
    identity = packing_tile(ctx, transposed=True)
    together = slots * target.mlen
    result = builder.buffer(name, "vector", round_up(rows, together) * target.vlen)
    packed = builder.buffer("packed", "vector", slots * tile)

    def turn(group: Linear, count: int) -> None:
        first = group * (together * target.vlen)
        builder.insert(
            PackOp(
                out=packed,
                x=builder.view(x, first),
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
        builder.by_groups(ceil_div(rows, target.mlen), slots, turn)
    return result
