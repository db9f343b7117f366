"""Lowerings of the choice of experts: what V_TOPK leaves in INT SRAM are addresses known at run time."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import ClearIdsOp, LoadIdOp, LookUpIdsOp, MarkLanesOp, OffsetIdsOp, TopkOp
from plena.instructions.context import Lowering, lowers


def _loaded(ctx: Lowering, base: Linear) -> Linear:
    """The number in a word of INT SRAM."""
    return Linear.index(ctx.builder.emit("S_LD_INT", base=base).results[0])


@lowers(TopkOp)
def lower_topk(op: TopkOp, ctx: Lowering) -> None:
    weights, scores, ids = (ctx.at(buffer) for buffer in (op.weights, op.x, op.ids))
    ctx.builder.emit("V_TOPK", fp_base=weights, logits=scores, int_base=ids, policy=op.policy)


@lowers(MarkLanesOp)
def lower_mark_lanes(op: MarkLanesOp, ctx: Lowering) -> None:
    """The row is written down in FP SRAM, mapped, and made zeros again word by word."""
    builder, vlen = ctx.builder, ctx.target.vlen
    row, ids, out = ctx.at(op.row), ctx.at(op.ids), ctx.at(op.out)

    def set_words(value: SSAValue) -> None:
        with builder.loop(op.count) as i:
            builder.emit("S_ST_FP", src=value, base=row + _loaded(ctx, ids + i))

    set_words(ctx.load(op.one))
    with builder.loop(op.blocks) as b:
        builder.emit("S_MAP_V_FP", dst=out + b * op.out_block, base=row + b * vlen + op.first)
    set_words(builder.f0)


@lowers(LoadIdOp)
def lower_load_id(op: LoadIdOp, ctx: Lowering) -> None:
    ctx.indices[op.id] = _loaded(ctx, ctx.at(op.ids))


@lowers(ClearIdsOp)
def lower_clear_ids(op: ClearIdsOp, ctx: Lowering) -> None:
    with ctx.builder.loop(op.count) as i:
        ctx.builder.emit("S_ST_INT", src=0, base=ctx.at(op.ids) + i)


@lowers(OffsetIdsOp)
def lower_offset_ids(op: OffsetIdsOp, ctx: Lowering) -> None:
    with ctx.builder.loop(op.count) as i:
        number = _loaded(ctx, ctx.at(op.x) + i) + op.offset
        ctx.builder.emit("S_ST_INT", src=number, base=ctx.at(op.ids) + i)


@lowers(LookUpIdsOp)
def lower_look_up_ids(op: LookUpIdsOp, ctx: Lowering) -> None:
    builder = ctx.builder
    ids, positions, table = ctx.at(op.ids), ctx.at(op.positions), ctx.at(op.table)
    with builder.loop(op.count) as i:
        position = _loaded(ctx, positions + i)
        builder.emit("S_ST_INT", src=_loaded(ctx, table + position), base=ids + i)
