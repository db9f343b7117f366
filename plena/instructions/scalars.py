"""Lowerings of operations on scalars of FP SRAM, and of everything that moves rows by run-time or lane offsets."""

from __future__ import annotations

from typing import Literal

from plena.dialects.loop import Linear
from plena.dialects.plena_isa.transfer import ACTIVATIONS
from plena.dialects.tile import (
    GatherRowsOp,
    MapScalarsOp,
    ScatterRowsOp,
    ShiftOp,
    SpreadScalarsOp,
    SqrtRowsOp,
)
from plena.instructions.context import Lowering, lowers
from plena.instructions.transfers import transfer_rows

_BINARY: dict[str, Literal["S_ADD_FP", "S_SUB_FP", "S_MUL_FP", "S_MAX_FP"]] = {
    "add": "S_ADD_FP",
    "sub": "S_SUB_FP",
    "mul": "S_MUL_FP",
    "max": "S_MAX_FP",
}
_UNARY: dict[str, Literal["S_EXP_FP", "S_RECI_FP", "S_SQRT_FP"]] = {
    "exp": "S_EXP_FP",
    "reciprocal": "S_RECI_FP",
    "sqrt": "S_SQRT_FP",
}


@lowers(MapScalarsOp)
def lower_map_scalars(op: MapScalarsOp, ctx: Lowering) -> None:
    """A repeated operand is loaded once."""
    builder, kind = ctx.builder, op.kind
    a, result = builder.f_cell(), builder.f_cell()
    b = None if op.b is None else builder.f_cell()
    if op.b is not None and b is not None and not op.b_step:
        builder.emit("S_LD_FP", dst=b, base=ctx.at(op.b))
    with builder.loop(op.count) as i:
        builder.emit("S_LD_FP", dst=a, base=ctx.at(op.a) + i * op.a_step)
        if op.b is not None and b is not None and op.b_step:
            builder.emit("S_LD_FP", dst=b, base=ctx.at(op.b) + i * op.b_step)
        if b is not None:
            builder.emit(_BINARY[kind], dst=result, a=a, b=b)
        elif kind == "copy":
            result = a
        else:
            builder.emit(_UNARY[kind], dst=result, a=a)
        builder.emit("S_ST_FP", src=result, base=ctx.at(op.out) + i * op.out_step)


@lowers(SpreadScalarsOp)
def lower_spread_scalars(op: SpreadScalarsOp, ctx: Lowering) -> None:
    """The word less a row of zeros, or the masks times their scalars added up."""
    builder, vlen = ctx.builder, ctx.target.vlen
    word = builder.f_cell()
    with builder.loop(op.rows) as r:
        dst, scalars = ctx.at(op.out) + r * vlen, ctx.at(op.scalars) + r * op.scalars_row
        builder.emit("S_LD_FP", dst=word, base=scalars)
        if op.masks is None:
            builder.emit("V_SHFT_V", dst=dst, a=dst, amount=vlen)
            # The number less zero is itself, minus zero too.
            builder.emit("V_SUB_VF", dst=dst, a=dst, b=word, order=1)
        else:
            builder.emit("V_MUL_VF", dst=dst, a=ctx.at(op.masks), b=word)
        if op.masks is not None and op.groups > 1:
            assert op.scratch is not None
            part = ctx.at(op.scratch)
            with builder.loop(op.groups - 1) as g:
                builder.emit("S_LD_FP", dst=word, base=scalars + g + 1)
                builder.emit("V_MUL_VF", dst=part, a=ctx.at(op.masks) + (g + 1) * vlen, b=word)
                builder.emit("V_ADD_VV", dst=dst, a=dst, b=part)


@lowers(GatherRowsOp)
def lower_gather_rows(op: GatherRowsOp, ctx: Lowering) -> None:
    """One prefetch per row and block: its surplus rows are overwritten by the rows that come after it."""
    builder, vlen = ctx.builder, ctx.target.vlen
    number_format = ctx.target.precision["HBM_V_ACT_TYPE"]
    pitch = vlen * max(1, number_format.element_bits // 8)
    dst, table, offsets = ctx.at(op.dst), ctx.at(op.table), ctx.at(op.offsets)
    with builder.loop(op.blocks) as b, builder.loop(op.rows) as r:
        offset = builder.emit("S_LD_INT", base=offsets + r).results[0]
        transfer_rows(
            ctx,
            "H_PREFETCH_V",
            dst + b * op.dst_block + r * vlen,
            table + b * op.table_block + Linear.index(offset),
            pitch,
            number_format,
            kv=0,
        )


@lowers(ScatterRowsOp)
def lower_scatter_rows(op: ScatterRowsOp, ctx: Lowering) -> None:
    builder, vlen, amount = ctx.builder, ctx.target.vlen, ctx.target.hbm_v_writeback_amount
    number_format = ctx.target.precision[ACTIVATIONS[op.kv != 0]]
    pitch = vlen * max(1, number_format.element_bits // 8)
    dst, src, offsets = ctx.at(op.dst), ctx.at(op.src), ctx.at(op.offsets)
    with builder.loop(op.rows) as r:
        offset = builder.emit("S_LD_INT", base=offsets + r).results[0]
        with builder.loop(op.blocks // amount) as group:
            transfer_rows(
                ctx,
                "H_STORE_V",
                src + r * (op.blocks * vlen) + group * (amount * vlen),
                dst + Linear.index(offset) + group * (amount * pitch),
                pitch,
                number_format,
                op.kv,
            )


@lowers(ShiftOp)
def lower_shift(op: ShiftOp, ctx: Lowering) -> None:
    builder, vlen = ctx.builder, ctx.target.vlen
    out, x = ctx.at(op.out), ctx.at(op.x)
    with builder.loop(op.blocks) as b, builder.loop(op.rows) as r:
        dst = out + b * op.out_block + r * vlen
        builder.emit("V_SHFT_V", dst=dst, a=x + b * op.x_block + r * vlen, amount=op.lanes)


@lowers(SqrtRowsOp)
def lower_sqrt_rows(op: SqrtRowsOp, ctx: Lowering) -> None:
    builder, vlen = ctx.builder, ctx.target.vlen
    out, x, quotient = ctx.at(op.out), ctx.at(op.x), ctx.at(op.scratch)
    half, most = ctx.load(op.half), ctx.load(op.most)
    least = None if op.least is None else ctx.load(op.least)
    with builder.loop(op.blocks) as b, builder.loop(op.rows) as r:
        root, source = out + b * op.out_block + r * vlen, x + b * op.x_block + r * vlen
        builder.emit("V_MIN_VF", dst=root, a=source, b=most)
        if least is not None:
            builder.emit("V_MAX_VF", dst=root, a=root, b=least)
        with builder.loop(op.steps):
            builder.emit("V_RECI_V", dst=quotient, a=root)
            builder.emit("V_MUL_VV", dst=quotient, a=quotient, b=source)
            builder.emit("V_ADD_VV", dst=root, a=root, b=quotient)
            builder.emit("V_MUL_VF", dst=root, a=root, b=half)
