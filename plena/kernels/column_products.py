"""Products of tiles that lie in matrix SRAM, as kernels ask for them."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.tile import BroadcastMatmulOp, MatmulOp, VectorMatmulOp
from plena.kernels.context import KernelContext


def matmul_column(
    ctx: KernelContext,
    out: SSAValue,
    x: SSAValue,
    w: SSAValue,
    *,
    rows: int,
    k_tiles: int,
    x_block: int = 0,
    transposed: int = 1,
) -> None:
    """`rows` rows of a column block by M_MM: blocks of `x`, `x_block` elements apart, times the tiles from `w` on."""
    target = ctx.target
    ctx.builder.insert(
        MatmulOp(
            out=out,
            x=x,
            w=w,
            rows=rows,
            k_tiles=k_tiles,
            columns=target.mlen,
            transposed=transposed,
            x_block=x_block,
            w_k=target.tile,
            w_n=0,
            out_block=0,
        )
    )


def broadcast_column(
    ctx: KernelContext,
    out: SSAValue,
    x: SSAValue,
    w: SSAValue,
    *,
    k_tiles: int,
    slices: int = 0,
    x_block: int = 0,
    transposed: int = 1,
    partial: int = 0,
) -> None:
    """A column block of BROADCAST row blocks by the broadcast unit, from packed rows `x`; see `BroadcastMatmulOp`."""
    ctx.builder.insert(
        BroadcastMatmulOp(
            out=out,
            x=x,
            w=w,
            k_tiles=k_tiles,
            slices=slices,
            n_tiles=1,
            transposed=transposed,
            x_block=x_block,
            w_k=ctx.target.tile,
            w_n=0,
            out_block=0,
            partial=partial,
        )
    )


def vector_product(
    ctx: KernelContext,
    out: SSAValue,
    x: SSAValue,
    w: SSAValue,
    k_tiles: int,
    slices: int,
    n_tiles: int,
    w_k: int,
    *,
    w_n: int = 0,
    partial: int = 0,
) -> None:
    """A product of packed vectors by M_BTMV; column blocks of vectors and results are BROADCAST rows apart."""
    target = ctx.target
    block = target.broadcast_amount * target.vlen
    ctx.builder.insert(
        VectorMatmulOp(
            out=out,
            x=x,
            w=w,
            k_tiles=k_tiles,
            slices=slices,
            n_tiles=n_tiles,
            x_block=block,
            w_k=w_k,
            w_n=w_n or target.tile,
            out_block=block,
            partial=partial,
        )
    )
