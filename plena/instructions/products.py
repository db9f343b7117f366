"""Lowerings of matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from plena.dialects.loop import Linear
from plena.dialects.tile.ops import (
    BroadcastMatmulOp,
    MatmulOp,
    MatmulPairOp,
    PackOp,
    PackVectorsOp,
    VectorMatmulOp,
)
from plena.instructions.context import Lowering, lowers
from plena.integers import ceil_div


@lowers(MatmulOp)
def lower_matmul(op: MatmulOp, ctx: Lowering) -> None:
    """Output blocks BLEN x BLEN: column sub-blocks outside, row blocks inside, the reduction innermost.

    There is one accumulator, so a reduction finishes before the next output block begins.
    """
    mlen, columns = ctx.target.mlen, op.columns
    out, x, w = (ctx.at(v) for v in op.operands)
    full, rest = divmod(columns, mlen)
    if full:
        _blocks(op, ctx, out, x, w, full, mlen)
    if rest:
        _blocks(op, ctx, out + full * op.out_block, x, w + full * op.w_n, 1, rest)


def _blocks(
    op: MatmulOp, ctx: Lowering, out: Linear, x: Linear, w: Linear, blocks: int, columns: int
) -> None:
    """`blocks` column blocks of `columns` output columns each."""
    target, builder = ctx.target, ctx.builder
    step = target.blen * target.mlen
    product = "M_TMM" if op.transposed else "M_MM"
    with (
        builder.loop(blocks) as n,
        builder.loop(ceil_div(columns, target.blen)) as column,
        builder.loop(ceil_div(op.rows, target.blen)) as row,
    ):
        with builder.loop(op.k_tiles) as k:
            builder.emit(
                product,
                mat=w + k * op.w_k + n * op.w_n + column * step,
                vec=x + k * op.x_block + row * step,
            )
        dst = out + n * op.out_block + row * step + column * target.blen
        builder.emit("M_MM_WO", dst=dst, stride=builder.gp0)


@lowers(MatmulPairOp)
def lower_matmul_pair(op: MatmulPairOp, ctx: Lowering) -> None:
    """Two output blocks at a time whose products exchange their addresses.

    Column sub-block j and row block r of the first block need matrix address a(j) and vector address b(r), column
    sub-block r and row block j of the second one matrix address b(r) and vector address a(j): both loops count the
    same, and a pointer of either kind serves two products. The reduction ascends in both: the address planner does
    better with one order of pointers than with a turn.
    """
    target, builder = ctx.target, ctx.builder
    step = target.blen * target.mlen
    out, x, copy, w = (ctx.at(v) for v in op.operands)
    product = "M_TMM" if op.transposed else "M_MM"
    sub_blocks, k_tiles = target.mlen // target.blen, op.k_tiles

    def block(mat: Linear, vec: Linear, dst: Linear) -> None:
        with builder.loop(k_tiles) as k:
            builder.emit(product, mat=mat + k * target.tile, vec=vec + k * op.block)
        builder.emit("M_MM_WO", dst=dst, stride=builder.gp0)

    with builder.loop(sub_blocks) as j, builder.loop(sub_blocks) as r:
        first = out + r * step + j * target.blen
        second = out + op.out_block + j * step + r * target.blen
        block(w + j * step, x + r * step, first)
        block(w + k_tiles * target.tile + r * step, copy + j * step, second)


@lowers(PackOp)
def lower_pack(op: PackOp, ctx: Lowering) -> None:
    """One product with the packing tile per row block, one write-out of all slices per column block."""
    target, builder = ctx.target, ctx.builder
    out, x, p = (ctx.at(v) for v in op.operands)
    with builder.loop(op.blocks) as k:
        with builder.loop(op.sets or 1) as s, builder.loop(op.row_blocks) as b:
            slot = s * op.row_blocks + b
            vec = x + k * op.x_block + s * op.x_set + b * op.x_row_block
            builder.emit("M_BTMM", mat=p + slot * target.hlen, vec=vec)
        builder.emit("M_BMM_WO", dst=out + k * op.out_block)


@lowers(BroadcastMatmulOp)
def lower_broadcast_matmul(op: BroadcastMatmulOp, ctx: Lowering) -> None:
    """The slices of a tile are at addresses of their own on both sides."""
    target, builder = ctx.target, ctx.builder
    product = "M_BTMM" if op.transposed else "M_BMM"

    def multiply(mat: Linear, vec: Linear, c: Linear) -> None:
        builder.emit(product, mat=mat + c * target.hlen, vec=vec + c * target.tile)

    _by_slices(op, ctx, multiply, "M_BMM_WO")


@lowers(PackVectorsOp)
def lower_pack_vectors(op: PackVectorsOp, ctx: Lowering) -> None:
    """One product with the packing tile per vector, one write-out of all slices per column block."""
    target, builder = ctx.target, ctx.builder
    out, x, p = (ctx.at(v) for v in op.operands)
    with builder.loop(op.blocks) as k:
        with builder.loop(op.vectors) as b:
            vec = x + k * op.x_block + b * op.x_vector
            builder.emit("M_BTMV", off=b * target.hlen, mat=p, vec=vec)
        builder.emit("M_BMV_WO", dst=out + k * op.out_block)


@lowers(VectorMatmulOp)
def lower_vector_matmul(op: VectorMatmulOp, ctx: Lowering) -> None:
    """The slices of a tile share its address: their offsets are an operand of their own, the same everywhere."""
    target, builder = ctx.target, ctx.builder

    def multiply(mat: Linear, vec: Linear, c: Linear) -> None:
        builder.emit("M_BTMV", off=c * target.hlen, mat=mat, vec=vec + c * target.vlen)

    _by_slices(op, ctx, multiply, "M_BMV_WO")


def _by_slices(
    op: BroadcastMatmulOp | VectorMatmulOp,
    ctx: Lowering,
    multiply: Callable[[Linear, Linear, Linear], None],
    write_out: Literal["M_BMM_WO", "M_BMV_WO"],
) -> None:
    """Slices of every reduction tile accumulate before one write-out.

    `multiply(mat, vec, c)` emits the product of slice c of the tile at `mat` and the packed operand at `vec`.
    """
    builder, whole = ctx.builder, op.k_tiles
    out, x, w = (ctx.at(v) for v in op.operands)

    def tile(mat: Linear, vec: Linear, slices: int) -> None:
        with builder.loop(slices) as c:
            multiply(mat, vec, c)

    with builder.loop(op.n_tiles) as n:
        mat = w + n * op.w_n
        if whole:
            with builder.loop(whole) as k:
                tile(mat + k * op.w_k, x + k * op.x_block, ctx.target.broadcast_amount)
        if op.slices:
            tile(mat + whole * op.w_k, x + whole * op.x_block, op.slices)
        if not op.partial:
            builder.emit(write_out, dst=out + n * op.out_block)
