"""The dual-role schedule: two column blocks of a linear layer at a time, pointers shared by both memories."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.tile import BufferOp, MatmulPairOp, PanelRows
from plena.kernels.context import KernelContext
from plena.kernels.tensors import Panel
from plena.kernels.weight_stream import WeightStream, resident_tiles


def is_pairable(x: Panel, result: Panel, stream: WeightStream, ctx: KernelContext) -> bool:
    """Whether a layer has column blocks to pair.

    MLEN rows, so that the column blocks of the input are as far apart as weight tiles; two rows of weight tiles fit
    matrix SRAM; the watchdog allows two column blocks in an iteration.
    """
    target = ctx.target
    sub_blocks = target.mlen // target.blen
    longest = 2 * sub_blocks * sub_blocks * (4 * stream.k_tiles + 6)
    return (
        isinstance(x.buffer.owner, BufferOp)
        and stream.transposed == 1
        and x.block == result.block == target.tile
        and stream.n_tiles >= 2
        and 2 * stream.k_tiles <= resident_tiles(ctx)
        and longest <= target.max_loop_instructions * 9 // 10
    )


def multiply_pairs(value: SSAValue, x: Panel, result: Panel, stream: WeightStream, ctx: KernelContext) -> int:
    """Makes the column blocks of the result two by two; how many are done.

    Matrix SRAM holds the tiles of both blocks where vector SRAM holds two copies of the input: the first block's at
    the address of the second copy, the second block's at that of the input itself.
    """
    target, builder = ctx.target, ctx.builder
    anchor = x.buffer.owner
    assert isinstance(anchor, BufferOp)
    copy = _second_copy(value, x, anchor, ctx)
    distance = stream.k_tiles * target.tile
    size = (2 * stream.k_tiles + target.m_prefetch_tiles - 1) * target.tile
    tiles = builder.buffer("paired_tiles", "matrix", size, anchor=(anchor, -distance))
    pairs = stream.n_tiles // 2
    with builder.loop(pairs) as pair:
        stream.load(ctx, tiles, pair * (2 * stream.row_bytes), 2 * stream.k_tiles)
        with builder.step("product"):
            builder.insert(
                MatmulPairOp(
                    out=builder.view(result.buffer, pair * (2 * result.block)),
                    x=x.buffer,
                    copy=copy,
                    w=tiles,
                    k_tiles=stream.k_tiles,
                    transposed=1,
                    block=x.block,
                    out_block=result.block,
                )
            )
    ctx.decisions.append(f"{2 * pairs} of {stream.n_tiles} column blocks in pairs that share their pointers")
    return 2 * pairs


def _second_copy(value: SSAValue, x: Panel, anchor: BufferOp, ctx: KernelContext) -> SSAValue:
    """The column blocks of a panel once more, right in front of it; made on first use."""
    known = ctx.second_copies.get(value)
    if known is not None:
        return known
    vlen, blocks = ctx.target.vlen, x.blocks(ctx.target.vlen)
    size = blocks * x.block
    copy = ctx.second_copies[value] = ctx.builder.buffer(
        "second_copy", "vector", size, anchor=(anchor, -size)
    )
    with ctx.builder.step("second copy"):
        ctx.builder.map(
            "copy", PanelRows(copy, vlen, 0), PanelRows(x.buffer, vlen, 0), size=(size // vlen, 1)
        )
    return copy
