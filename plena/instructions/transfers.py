"""Lowerings of the transfers between HBM and the SRAMs."""

from __future__ import annotations

from typing import Literal

from plena.dialects.loop import Linear
from plena.dialects.plena_isa.transfer import ACTIVATIONS, WEIGHTS
from plena.dialects.tile.ops import LoadRowsOp, LoadTilesOp, StoreRowsOp
from plena.instructions.context import Lowering, lowers
from plena.integers import ceil_div
from plena.machine.number_formats import Mx, NumberFormat


def _merge(outer: int, inner: int, *pitches: tuple[int, int]) -> tuple[int, int]:
    """One loop instead of two where every outer pitch continues the inner one: (1, outer * inner)."""
    return (1, outer * inner) if all(o == inner * i for o, i in pitches) else (outer, inner)


def transfer_rows(
    ctx: Lowering,
    mnemonic: Literal["H_PREFETCH_V", "H_PREFETCH_M", "H_STORE_V"],
    sram: Linear,
    off: Linear,
    row_pitch: int,
    number_format: NumberFormat,
    kv: int,
) -> None:
    """One transfer of rows `row_pitch` bytes apart; contiguous mode when the pitch is what the hardware assumes.

    `off` is an HBM address. No buffer crosses a segment: the address at the first iteration says which base to take.
    """
    builder = ctx.builder
    strided = row_pitch != ctx.target.vlen or number_format.element_bits != 8
    scale, stride = ctx.scale_plane if isinstance(number_format, Mx) else None, row_pitch if strided else None
    rstride = int(strided)
    start = off.constant // ctx.segment * ctx.segment if ctx.segment else 0
    base = Linear(start) if start else builder.a0
    off = off + -start
    if mnemonic == "H_STORE_V":
        builder.emit(
            mnemonic, src=sram, off=off, base=base, rstride=rstride, precision=kv, scale=scale, stride=stride
        )
    else:
        builder.emit(
            mnemonic, dst=sram, off=off, base=base, rstride=rstride, precision=kv, scale=scale, stride=stride
        )


@lowers(LoadRowsOp)
def lower_load_rows(op: LoadRowsOp, ctx: Lowering) -> None:
    """Column blocks outermost, ascending: the surplus rows of a prefetch fall into the next block, loaded later."""
    target, amount, kv = ctx.target, ctx.target.hbm_v_prefetch_amount, op.kv
    number_format = target.precision[ACTIVATIONS[kv != 0]]
    dst, src = ctx.at(op.operands[0]), ctx.at(op.operands[1])
    blocks, groups = _merge(
        op.blocks,
        ceil_div(op.rows, amount),
        (op.dst_block, amount * target.vlen),
        (op.src_block, amount * op.src_row),
    )
    with ctx.builder.loop(blocks) as block, ctx.builder.loop(groups) as group:
        transfer_rows(
            ctx,
            "H_PREFETCH_V",
            dst + block * op.dst_block + group * (amount * target.vlen),
            src + block * op.src_block + group * (amount * op.src_row),
            op.src_row,
            number_format,
            kv,
        )


@lowers(StoreRowsOp)
def lower_store_rows(op: StoreRowsOp, ctx: Lowering) -> None:
    """The mirror image of loading rows."""
    target, amount, kv = ctx.target, ctx.target.hbm_v_writeback_amount, op.kv
    number_format = target.precision[ACTIVATIONS[kv != 0]]
    dst, src = ctx.at(op.operands[0]), ctx.at(op.operands[1])
    blocks, groups = _merge(
        op.blocks,
        ceil_div(op.rows, amount),
        (op.src_block, amount * target.vlen),
        (op.dst_block, amount * op.dst_row),
    )
    with ctx.builder.loop(blocks) as block, ctx.builder.loop(groups) as group:
        transfer_rows(
            ctx,
            "H_STORE_V",
            src + block * op.src_block + group * (amount * target.vlen),
            dst + block * op.dst_block + group * (amount * op.dst_row),
            op.dst_row,
            number_format,
            kv,
        )


@lowers(LoadTilesOp)
def lower_load_tiles(op: LoadTilesOp, ctx: Lowering) -> None:
    """One prefetch a tile; several tiles a prefetch when the amount covers them and both sides are contiguous.

    Tiles ascend, so the surplus tiles of a prefetch are loaded over by the next one.
    """
    target, kv = ctx.target, op.kv
    number_format = target.precision[WEIGHTS[kv != 0]]
    dst, src = ctx.at(op.operands[0]), ctx.at(op.operands[1])
    tile_bytes = target.tile * number_format.element_bits // 8
    row_pitch = op.src_row or tile_bytes // target.mlen
    together = 1
    contiguous = op.dst_inner == target.tile and op.src_inner == target.mlen * row_pitch
    if contiguous:
        together = min(target.m_prefetch_tiles, op.inner)
    outer, inner = _merge(
        op.outer,
        ceil_div(op.inner, together),
        (op.dst_outer, together * op.dst_inner),
        (op.src_outer, together * op.src_inner),
    )
    with ctx.builder.loop(outer) as i, ctx.builder.loop(inner) as j:
        transfer_rows(
            ctx,
            "H_PREFETCH_M",
            dst + i * op.dst_outer + j * (together * op.dst_inner),
            src + i * op.src_outer + j * (together * op.src_inner),
            row_pitch,
            number_format,
            kv,
        )
