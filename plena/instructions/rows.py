"""Lowerings of row programs: rows of words, zeros, softmax, one vector row at a time."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import OnlineSoftmaxOp, ResetStateOp, ScaleRowsOp, SoftmaxRowsOp, SplatOp, ZeroOp
from plena.instructions.context import Lowering, lowers
from plena.instructions.row_sums import add_blocks


@lowers(SplatOp)
def lower_splat(op: SplatOp, ctx: Lowering) -> None:
    dst, values = (ctx.at(v) for v in op.operands)
    with ctx.builder.loop(op.rows) as row:
        ctx.builder.emit("S_MAP_V_FP", dst=dst + row * op.dst_row, base=values)


@lowers(ZeroOp)
def lower_zero(op: ZeroOp, ctx: Lowering) -> None:
    """A shift by VLEN lanes leaves nothing of a row, not even of NaN or infinity (plena_isa.md section 3.8)."""
    builder, vlen = ctx.builder, ctx.target.vlen
    dst = ctx.at(op.operands[0])
    with builder.loop(op.rows) as row:
        builder.emit("V_SHFT_V", dst=dst + row * vlen, a=dst + row * vlen, amount=vlen)


def _exponentials(
    ctx: Lowering, x: Linear, blocks: int, block: int, maximum: SSAValue, total: SSAValue | None = None
) -> None:
    """x = exp(x - maximum) for every block of a row; total += their sum, block by block."""
    builder = ctx.builder
    with builder.loop(blocks) as b:
        at = x + b * block
        builder.emit("V_SUB_VF", dst=at, a=at, b=maximum)
        builder.emit("V_EXP_V", dst=at, a=at)
        if total is not None:
            builder.emit("V_RED_SUM", acc=total, a=at)


def _nothing_or_undefined(ctx: Lowering, total: SSAValue, maximum: SSAValue, floor: Linear) -> None:
    """total = 0, or NaN where the maximum is the floor: 0 / (maximum - floor)."""
    builder = ctx.builder
    builder.emit("S_LD_FP", dst=total, base=floor)
    builder.emit("S_SUB_FP", dst=total, a=maximum, b=total)
    builder.emit("S_RECI_FP", dst=total, a=total)
    builder.emit("S_MUL_FP", dst=total, a=total, b=builder.f0)


def _undivided_rows(op: SoftmaxRowsOp, ctx: Lowering) -> None:
    """x = exp(x - max), `together` rows taking turns: an instruction of all of them, then the next one."""
    builder, blocks, block = ctx.builder, op.blocks, op.block
    x, floor = ctx.at(op.x), ctx.at(op.floor)
    maxima = [builder.f_cell() for _ in range(op.together)]
    with builder.loop(op.rows // op.together) as group:
        rows = [x + (group * op.together + n) * ctx.target.vlen for n in range(op.together)]
        for maximum in maxima:
            builder.emit("S_LD_FP", dst=maximum, base=floor)
        with builder.loop(blocks) as b:
            for row, maximum in zip(rows, maxima, strict=True):
                builder.emit("V_RED_MAX", acc=maximum, a=row + b * block)
        with builder.loop(blocks) as b:
            for row, maximum in zip(rows, maxima, strict=True):
                builder.emit("V_SUB_VF", dst=row + b * block, a=row + b * block, b=maximum)
            for row in rows:
                builder.emit("V_EXP_V", dst=row + b * block, a=row + b * block)


@lowers(SoftmaxRowsOp)
def lower_softmax_rows(op: SoftmaxRowsOp, ctx: Lowering) -> None:
    builder = ctx.builder
    x, floor = ctx.at(op.x), ctx.at(op.floor)
    blocks, block = op.blocks, op.block
    if op.undivided:
        _undivided_rows(op, ctx)
        return
    maximum, total = builder.f_cell(), builder.f_cell()
    with builder.loop(op.rows) as row:
        start = x + row * ctx.target.vlen
        builder.emit("S_LD_FP", dst=maximum, base=floor)
        with builder.loop(blocks) as b:
            builder.emit("V_RED_MAX", acc=maximum, a=start + b * block)
        if op.sink:
            builder.emit("S_LD_FP", dst=total, base=floor)
            builder.emit("S_SUB_FP", dst=total, a=total, b=maximum)
            builder.emit("S_EXP_FP", dst=total, a=total)
        elif op.undefined:
            _nothing_or_undefined(ctx, total, maximum, floor)
        elif op.start is not None:
            builder.emit("S_LD_FP", dst=total, base=ctx.at(op.start))
        else:
            builder.emit("S_ADD_FP", dst=total, a=builder.f0, b=builder.f0)
        if op.scratch is None:
            _exponentials(ctx, start, blocks, block, maximum, total)
        else:
            _exponentials(ctx, start, blocks, block, maximum)
            lanes = add_blocks(builder, start, blocks, block, ctx.at(op.scratch), chunk=op.chunk)
            builder.emit("V_RED_SUM", acc=total, a=lanes)
        builder.emit("S_RECI_FP", dst=total, a=total)
        with builder.loop(blocks) as b:
            builder.emit("V_MUL_VF", dst=start + b * block, a=start + b * block, b=total)


@lowers(ResetStateOp)
def lower_reset_state(op: ResetStateOp, ctx: Lowering) -> None:
    builder = ctx.builder
    maximum, total, floor = (ctx.at(v) for v in (op.maximum, op.total, op.floor))
    start = builder.f_cell()
    builder.emit("S_LD_FP", dst=start, base=floor)
    nothing = builder.f0
    if op.start is not None:
        nothing = builder.f_cell()
        builder.emit("S_LD_FP", dst=nothing, base=ctx.at(op.start))
    if op.sink:
        nothing = builder.f_cell()
        builder.emit("S_EXP_FP", dst=nothing, a=builder.f0)
    with builder.loop(op.rows) as row:
        builder.emit("S_ST_FP", src=start, base=maximum + row)
        builder.emit("S_ST_FP", src=nothing, base=total + row)


@lowers(OnlineSoftmaxOp)
def lower_online_softmax(op: OnlineSoftmaxOp, ctx: Lowering) -> None:
    builder = ctx.builder
    x, maxima, totals, corrections = (ctx.at(v) for v in (op.x, op.maximum, op.total, op.correction))
    blocks, block = op.blocks, op.block
    maximum, correction, total = (builder.f_cell() for _ in range(3))
    with builder.loop(op.rows) as row:
        start = x + row * ctx.target.vlen
        builder.emit("S_LD_FP", dst=correction, base=maxima + row)
        builder.emit("S_ADD_FP", dst=maximum, a=correction, b=builder.f0)
        with builder.loop(blocks) as b:
            builder.emit("V_RED_MAX", acc=maximum, a=start + b * block)
        builder.emit("S_ST_FP", src=maximum, base=maxima + row)
        builder.emit("S_SUB_FP", dst=correction, a=correction, b=maximum)
        builder.emit("S_EXP_FP", dst=correction, a=correction)
        builder.emit("S_ST_FP", src=correction, base=corrections + row)
        builder.emit("S_LD_FP", dst=total, base=totals + row)
        builder.emit("S_MUL_FP", dst=total, a=total, b=correction)
        _exponentials(ctx, start, blocks, block, maximum, total)
        builder.emit("S_ST_FP", src=total, base=totals + row)


@lowers(ScaleRowsOp)
def lower_scale_rows(op: ScaleRowsOp, ctx: Lowering) -> None:
    builder = ctx.builder
    x, factors = (ctx.at(v) for v in op.operands)
    factor = builder.f_cell()
    with builder.loop(op.rows) as row:
        builder.emit("S_LD_FP", dst=factor, base=factors + row)
        if op.invert:
            builder.emit("S_RECI_FP", dst=factor, a=factor)
        with builder.loop(op.blocks) as b:
            at = x + row * ctx.target.vlen + b * op.block
            builder.emit("V_MUL_VF", dst=at, a=at, b=factor)
