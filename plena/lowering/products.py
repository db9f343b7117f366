"""Lowerings of matrix products."""

from __future__ import annotations

from plena.dialects.tile import TileOp
from plena.dialects.tile.ops import MatmulOp
from plena.lowering.context import Lowering, lowers
from plena.lowering.kernel import ceil_div


@lowers(MatmulOp)
def lower_matmul(op: TileOp, ctx: Lowering) -> None:
    """Output blocks BLEN x BLEN: column sub-blocks outside, row blocks inside, the reduction innermost.

    There is one accumulator, so a reduction finishes before the next output block begins.
    """
    target, kernel = ctx.target, ctx.kernel
    out, x, w = (ctx.at(v) for v in op.operands)
    step = target.blen * target.mlen
    product = "M_TMM" if op.number("transposed") else "M_MM"
    with (
        kernel.loop(op.number("n_tiles")) as n,
        kernel.loop(target.mlen // target.blen) as column,
        kernel.loop(ceil_div(op.number("rows"), target.blen)) as row,
    ):
        with kernel.loop(op.number("k_tiles")) as k:
            kernel.emit(
                product,
                mat=w + k * op.number("w_k") + n * op.number("w_n") + column * step,
                vec=x + k * op.number("x_block") + row * step,
            )
        kernel.emit(
            "M_MM_WO",
            dst=out + n * op.number("out_block") + row * step + column * target.blen,
            stride=kernel.gp0,
        )
