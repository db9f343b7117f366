"""Lowerings of reductions along rows and over rows, and of softmax in groups of lanes."""

from __future__ import annotations

from plena.dialects.loop import Linear
from plena.dialects.tile import MaxRowsOp, ReduceRowsOp, SoftmaxLaneGroupsOp, SumRowsOp
from plena.instructions.context import Lowering, lowers
from plena.instructions.kernel import KernelBuilder
from plena.instructions.norms import add_blocks, reduce_sum


@lowers(ReduceRowsOp)
def lower_reduce_rows(op: ReduceRowsOp, ctx: Lowering) -> None:
    kernel = ctx.kernel
    x, scratch, words = ctx.at(op.x), ctx.at(op.scratch), ctx.at(op.words)
    mask = None if op.mask is None else ctx.at(op.mask)
    blocks, block, total = op.blocks, op.block, kernel.f_cell()
    with kernel.loop(op.rows) as r:
        row = x + r * ctx.target.vlen
        if op.kind == "sum":
            reduce_sum(kernel, total, add_blocks(kernel, row, blocks, block, scratch, mask))
        else:
            assert op.floor is not None
            kernel.emit("S_LD_FP", dst=total, base=ctx.at(op.floor))
            whole = blocks if mask is None else blocks - 1
            if mask is not None:
                kernel.emit("V_ADD_VV", dst=scratch, a=row + whole * block, b=mask)
                kernel.emit("V_RED_MAX", acc=total, a=scratch)
            if whole:
                with kernel.loop(whole) as b:
                    kernel.emit("V_RED_MAX", acc=total, a=row + b * block)
        kernel.emit("S_ST_FP", src=total, base=words + r * op.words_row)


def _add_rows(kernel: KernelBuilder, x: Linear, rows: int, row: int, out: Linear) -> None:
    """out = the sum of `rows` rows, `row` elements apart, in order."""
    if rows == 1:
        kernel.emit("V_ADD_VF", dst=out, a=x, b=kernel.f0)
        return
    kernel.emit("V_ADD_VV", dst=out, a=x, b=x + row)
    if rows > 2:
        with kernel.loop(rows - 2) as r:
            kernel.emit("V_ADD_VV", dst=out, a=out, b=x + (r + 2) * row)


@lowers(SumRowsOp)
def lower_sum_rows(op: SumRowsOp, ctx: Lowering) -> None:
    """Whole chunks in a loop, the last one by itself if it is shorter, then the chunks' sums."""
    kernel, vlen = ctx.kernel, ctx.target.vlen
    x, out, scratch = ctx.at(op.x), ctx.at(op.out), ctx.at(op.scratch)
    chunk = op.chunk
    chunks, rest = divmod(op.rows, chunk)
    with kernel.loop(op.blocks) as b:
        source, total = x + b * op.x_block, out + b * op.out_block
        if chunks + bool(rest) == 1:
            _add_rows(kernel, source, op.rows, vlen, total)
        else:
            with kernel.loop(chunks) as c:
                _add_rows(kernel, source + c * (chunk * vlen), chunk, vlen, scratch + c * vlen)
            if rest:
                _add_rows(kernel, source + chunks * chunk * vlen, rest, vlen, scratch + chunks * vlen)
            _add_rows(kernel, scratch, chunks + bool(rest), vlen, total)


@lowers(MaxRowsOp)
def lower_max_rows(op: MaxRowsOp, ctx: Lowering) -> None:
    kernel, vlen = ctx.kernel, ctx.target.vlen
    x, out, above = ctx.at(op.x), ctx.at(op.out), ctx.at(op.scratch)
    shrink = ctx.load(op.shrink)

    def raise_to(maximum: Linear, row: Linear, *, whole: bool) -> None:
        kernel.emit("V_SUB_VV", dst=above, a=row, b=maximum)
        kernel.emit("V_MAX_VF", dst=above, a=above, b=kernel.f0)
        if not whole:
            kernel.emit("V_MUL_VF", dst=above, a=above, b=shrink)
        kernel.emit("V_ADD_VV", dst=maximum, a=maximum, b=above)

    with kernel.loop(op.blocks) as b:
        source, maximum = x + b * op.x_block, out + b * op.out_block
        kernel.emit("V_ADD_VF", dst=maximum, a=source, b=kernel.f0)
        if op.rows > 1:
            with kernel.loop(op.rows - 1) as r:
                for step in range(op.steps):
                    raise_to(maximum, source + (r + 1) * vlen, whole=step == op.steps - 1)


@lowers(SoftmaxLaneGroupsOp)
def lower_softmax_lane_groups(op: SoftmaxLaneGroupsOp, ctx: Lowering) -> None:
    """Each group is worked on in a row where the other lanes are hidden; the results are added up by the masks."""
    kernel, vlen = ctx.kernel, ctx.target.vlen
    x, part, result = ctx.at(op.x), ctx.at(op.scratch), ctx.at(op.scratch) + vlen
    hide, masks, floor = ctx.at(op.hide), ctx.at(op.masks), ctx.at(op.floor)
    maximum, total = kernel.f_cell(), kernel.f_cell()
    with kernel.loop(op.blocks) as b, kernel.loop(op.rows) as r:
        row = x + b * op.block + r * vlen
        kernel.emit("V_SHFT_V", dst=result, a=row, amount=vlen)
        with kernel.loop(op.groups) as g:
            kernel.emit("S_LD_FP", dst=maximum, base=floor)
            kernel.emit("V_ADD_VV", dst=part, a=row, b=hide + g * vlen)
            kernel.emit("V_RED_MAX", acc=maximum, a=part)
            kernel.emit("V_SUB_VF", dst=part, a=part, b=maximum)
            kernel.emit("V_EXP_V", dst=part, a=part)
            kernel.emit("V_MUL_VV", dst=part, a=part, b=masks + g * vlen)
            reduce_sum(kernel, total, part)
            kernel.emit("S_RECI_FP", dst=total, a=total)
            kernel.emit("V_MUL_VF", dst=part, a=part, b=total)
            kernel.emit("V_ADD_VV", dst=result, a=result, b=part)
        kernel.emit("V_ADD_VF", dst=row, a=result, b=kernel.f0)
