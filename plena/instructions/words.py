"""Lowerings of operations on words of FP SRAM, and of everything that moves rows by run-time or lane offsets."""

from __future__ import annotations

from typing import Literal

from plena.dialects.loop import Linear
from plena.dialects.plena_isa.transfer import ACTIVATIONS
from plena.dialects.tile import GatherRowsOp, MapWordsOp, ScatterRowsOp, ShiftOp, SpreadWordsOp, SqrtRowsOp
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


@lowers(MapWordsOp)
def lower_map_words(op: MapWordsOp, ctx: Lowering) -> None:
    """A repeated operand is loaded once."""
    kernel, kind = ctx.kernel, op.kind
    a, result = kernel.f_cell(), kernel.f_cell()
    b = None if op.b is None else kernel.f_cell()
    if op.b is not None and b is not None and not op.b_step:
        kernel.emit("S_LD_FP", dst=b, base=ctx.at(op.b))
    with kernel.loop(op.count) as i:
        kernel.emit("S_LD_FP", dst=a, base=ctx.at(op.a) + i * op.a_step)
        if op.b is not None and b is not None and op.b_step:
            kernel.emit("S_LD_FP", dst=b, base=ctx.at(op.b) + i * op.b_step)
        if b is not None:
            kernel.emit(_BINARY[kind], dst=result, a=a, b=b)
        elif kind == "copy":
            result = a
        else:
            kernel.emit(_UNARY[kind], dst=result, a=a)
        kernel.emit("S_ST_FP", src=result, base=ctx.at(op.out) + i * op.out_step)


@lowers(SpreadWordsOp)
def lower_spread_words(op: SpreadWordsOp, ctx: Lowering) -> None:
    """A row of zeros plus the word, or the masks times their words added up."""
    kernel, vlen = ctx.kernel, ctx.target.vlen
    word = kernel.f_cell()
    with kernel.loop(op.rows) as r:
        dst, words = ctx.at(op.out) + r * vlen, ctx.at(op.words) + r * op.words_row
        kernel.emit("S_LD_FP", dst=word, base=words)
        if op.masks is None:
            kernel.emit("V_SHFT_V", dst=dst, a=dst, amount=vlen)
            kernel.emit("V_ADD_VF", dst=dst, a=dst, b=word)
        else:
            kernel.emit("V_MUL_VF", dst=dst, a=ctx.at(op.masks), b=word)
        if op.masks is not None and op.groups > 1:
            assert op.scratch is not None
            part = ctx.at(op.scratch)
            with kernel.loop(op.groups - 1) as g:
                kernel.emit("S_LD_FP", dst=word, base=words + g + 1)
                kernel.emit("V_MUL_VF", dst=part, a=ctx.at(op.masks) + (g + 1) * vlen, b=word)
                kernel.emit("V_ADD_VV", dst=dst, a=dst, b=part)


@lowers(GatherRowsOp)
def lower_gather_rows(op: GatherRowsOp, ctx: Lowering) -> None:
    """One prefetch per row and block: its surplus rows are overwritten by the rows that come after it."""
    kernel, vlen = ctx.kernel, ctx.target.vlen
    number_format = ctx.target.precision["HBM_V_ACT_TYPE"]
    pitch = vlen * max(1, number_format.element_bits // 8)
    dst, table, offsets = ctx.at(op.dst), ctx.at(op.table), ctx.at(op.offsets)
    with kernel.loop(op.blocks) as b, kernel.loop(op.rows) as r:
        offset = kernel.emit("S_LD_INT", base=offsets + r).results[0]
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
    kernel, vlen, amount = ctx.kernel, ctx.target.vlen, ctx.target.hbm_v_writeback_amount
    number_format = ctx.target.precision[ACTIVATIONS[op.kv != 0]]
    pitch = vlen * max(1, number_format.element_bits // 8)
    dst, src, offsets = ctx.at(op.dst), ctx.at(op.src), ctx.at(op.offsets)
    with kernel.loop(op.rows) as r:
        offset = kernel.emit("S_LD_INT", base=offsets + r).results[0]
        with kernel.loop(op.blocks // amount) as group:
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
    kernel, vlen = ctx.kernel, ctx.target.vlen
    out, x = ctx.at(op.out), ctx.at(op.x)
    with kernel.loop(op.blocks) as b, kernel.loop(op.rows) as r:
        dst = out + b * op.out_block + r * vlen
        kernel.emit("V_SHFT_V", dst=dst, a=x + b * op.x_block + r * vlen, amount=op.lanes)


@lowers(SqrtRowsOp)
def lower_sqrt_rows(op: SqrtRowsOp, ctx: Lowering) -> None:
    kernel, vlen = ctx.kernel, ctx.target.vlen
    out, x, quotient = ctx.at(op.out), ctx.at(op.x), ctx.at(op.scratch)
    half, one = ctx.load(op.half), ctx.load(op.one)
    with kernel.loop(op.blocks) as b, kernel.loop(op.rows) as r:
        root, source = out + b * op.out_block + r * vlen, x + b * op.x_block + r * vlen
        kernel.emit("V_ADD_VF", dst=root, a=source, b=one)
        kernel.emit("V_MUL_VF", dst=root, a=root, b=half)
        with kernel.loop(op.steps):
            kernel.emit("V_RECI_V", dst=quotient, a=root)
            kernel.emit("V_MUL_VV", dst=quotient, a=quotient, b=source)
            kernel.emit("V_ADD_VV", dst=root, a=root, b=quotient)
            kernel.emit("V_MUL_VF", dst=root, a=root, b=half)
