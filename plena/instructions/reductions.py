"""Lowerings of reductions along rows and over rows, and of softmax in groups of lanes."""

from __future__ import annotations

from plena.dialects.loop import Linear
from plena.dialects.tile import MaxRowsOp, PositiveLanesOp, ReduceRowsOp, SoftmaxLaneGroupsOp, SumRowsOp
from plena.instructions.context import Lowering, lowers
from plena.instructions.instruction_builder import InstructionBuilder
from plena.instructions.row_sums import add_blocks, add_rows, reduce_sum


@lowers(ReduceRowsOp)
def lower_reduce_rows(op: ReduceRowsOp, ctx: Lowering) -> None:
    builder = ctx.builder
    x, scratch, scalars = ctx.at(op.x), ctx.at(op.scratch), ctx.at(op.scalars)
    mask = None if op.mask is None else ctx.at(op.mask)
    blocks, block, total = op.blocks, op.block, builder.f_cell()
    with builder.loop(op.rows) as r:
        row = x + r * ctx.target.vlen
        if op.kind == "sum":
            up = ctx.target.vlen - op.lanes if op.lanes else 0
            reduce_sum(builder, total, add_blocks(builder, row, blocks, block, scratch, mask, up, op.chunk))
        else:
            assert op.floor is not None
            builder.emit("S_LD_FP", dst=total, base=ctx.at(op.floor))
            whole = blocks if mask is None else blocks - 1
            if mask is not None:
                builder.emit("V_ADD_VV", dst=scratch, a=row + whole * block, b=mask)
                builder.emit("V_RED_MAX", acc=total, a=scratch)
            if whole:
                with builder.loop(whole) as b:
                    builder.emit("V_RED_MAX", acc=total, a=row + b * block)
        builder.emit("S_ST_FP", src=total, base=scalars + r * op.scalars_row)


def _sum_rows(builder: InstructionBuilder, x: Linear, rows: int, row: int, out: Linear) -> None:
    """out = the sum of one or more rows, `row` elements apart, in order."""
    if rows == 1:
        builder.emit("V_SUB_VF", dst=out, a=x, b=builder.f0)
    else:
        add_rows(builder, x, rows, row, out)


@lowers(SumRowsOp)
def lower_sum_rows(op: SumRowsOp, ctx: Lowering) -> None:
    """Whole chunks in a loop, the last one by itself if it is shorter, then the chunks' sums."""
    builder, vlen = ctx.builder, ctx.target.vlen
    x, out, scratch = ctx.at(op.x), ctx.at(op.out), ctx.at(op.scratch)
    chunk = op.chunk
    chunks, rest = divmod(op.rows, chunk)
    with builder.loop(op.blocks) as b:
        source, total = x + b * op.x_block, out + b * op.out_block
        if chunks + bool(rest) == 1:
            _sum_rows(builder, source, op.rows, vlen, total)
        else:
            with builder.loop(chunks) as c:
                _sum_rows(builder, source + c * (chunk * vlen), chunk, vlen, scratch + c * vlen)
            if rest:
                _sum_rows(builder, source + chunks * chunk * vlen, rest, vlen, scratch + chunks * vlen)
            _sum_rows(builder, scratch, chunks + bool(rest), vlen, total)


@lowers(MaxRowsOp)
def lower_max_rows(op: MaxRowsOp, ctx: Lowering) -> None:
    builder, vlen = ctx.builder, ctx.target.vlen
    x, out, first = ctx.at(op.x), ctx.at(op.out), ctx.at(op.scratch)
    part = first + vlen
    scale, one = ctx.load(op.scale), ctx.load(op.one)
    with builder.loop(op.blocks) as b:
        source, maximum = x + b * op.x_block, out + b * op.out_block
        builder.emit("V_SUB_VF", dst=maximum, a=source, b=builder.f0)
        if op.rows > 1:
            with builder.loop(op.rows - 1) as r:
                row = source + (r + 1) * vlen
                builder.emit("V_SUB_VV", dst=first, a=row, b=maximum)
                builder.emit("V_MUL_VF", dst=first, a=first, b=scale)
                builder.emit("V_MAX_VF", dst=first, a=first, b=builder.f0)
                builder.emit("V_MIN_VF", dst=first, a=first, b=one)
                builder.emit("V_MUL_VV", dst=part, a=row, b=first)
                builder.emit("V_SUB_VF", dst=first, a=first, b=one, order=1)
                builder.emit("V_MUL_VV", dst=maximum, a=maximum, b=first)
                builder.emit("V_ADD_VV", dst=maximum, a=maximum, b=part)


@lowers(PositiveLanesOp)
def lower_positive_lanes(op: PositiveLanesOp, ctx: Lowering) -> None:
    """Each lane is worked on in a row where the others are zero, as large as the maximum begins."""
    builder, vlen = ctx.builder, ctx.target.vlen
    out, x, masks = ctx.at(op.out), ctx.at(op.x), ctx.at(op.masks)
    part, result = ctx.at(op.scratch), ctx.at(op.scratch) + vlen
    maximum = builder.f_cell()
    with builder.loop(op.blocks) as b, builder.loop(op.rows) as r:
        row = x + b * op.x_block + r * vlen
        builder.emit("V_MUL_VF", dst=result, a=row, b=builder.f0)
        with builder.loop(vlen) as g:
            mask = masks + g * vlen
            builder.emit("V_MUL_VV", dst=part, a=row, b=mask)
            builder.emit("S_ADD_FP", dst=maximum, a=builder.f0, b=builder.f0)
            builder.emit("V_RED_MAX", acc=maximum, a=part)
            builder.emit("V_MUL_VF", dst=part, a=mask, b=maximum)
            builder.emit("V_ADD_VV", dst=result, a=result, b=part)
        builder.emit("V_ADD_VF", dst=out + b * op.out_block + r * vlen, a=result, b=builder.f0)


@lowers(SoftmaxLaneGroupsOp)
def lower_softmax_lane_groups(op: SoftmaxLaneGroupsOp, ctx: Lowering) -> None:
    """Each group is worked on in a row where the other lanes are hidden; the results are added up by the masks."""
    builder, vlen = ctx.builder, ctx.target.vlen
    x, part, result = ctx.at(op.x), ctx.at(op.scratch), ctx.at(op.scratch) + vlen
    hide, masks, floor = ctx.at(op.hide), ctx.at(op.masks), ctx.at(op.floor)
    maximum, total = builder.f_cell(), builder.f_cell()
    with builder.loop(op.blocks) as b, builder.loop(op.rows) as r:
        row = x + b * op.block + r * vlen
        builder.emit("V_SHFT_V", dst=result, a=row, amount=vlen)
        with builder.loop(op.groups) as g:
            builder.emit("S_LD_FP", dst=maximum, base=floor)
            builder.emit("V_ADD_VV", dst=part, a=row, b=hide + g * vlen)
            builder.emit("V_RED_MAX", acc=maximum, a=part)
            builder.emit("V_SUB_VF", dst=part, a=part, b=maximum)
            builder.emit("V_EXP_V", dst=part, a=part)
            builder.emit("V_MUL_VV", dst=part, a=part, b=masks + g * vlen)
            reduce_sum(builder, total, part)
            builder.emit("S_RECI_FP", dst=total, a=total)
            builder.emit("V_MUL_VF", dst=part, a=part, b=total)
            builder.emit("V_ADD_VV", dst=result, a=result, b=part)
        builder.emit("V_ADD_VF", dst=row, a=result, b=builder.f0)
