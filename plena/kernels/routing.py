"""Which experts a token gets, as rows of zeros and ones that the rest of a model computes with."""

from __future__ import annotations

from xdsl.ir import Operation

from plena.dialects.plena import ChosenExpertsOp, RouteOp
from plena.kernels.context import ChosenIds, KernelContext, kernel_for
from plena.kernels.expert_choice import ExpertChoice
from plena.kernels.movement import packed_panel


@kernel_for(RouteOp)
def lower_route(op: Operation, ctx: KernelContext) -> None:
    """Where experts are run by their ids, those of all tokens stay in INT SRAM; nothing else may need the rows."""
    assert isinstance(op, RouteOp)
    source, chosen = packed_panel(ctx, op, ctx.panel(op.input)), op.k.value.data
    builder, vlen = ctx.builder, ctx.target.vlen
    by_ids = [isinstance(use.operation, ChosenExpertsOp) for use in op.result.uses]
    result = ctx.new_panel("chosen", source.rows, source.columns)
    with builder.step("choose experts"):
        choice = ExpertChoice(ctx, op, source, chosen)
        kept = None
        if any(by_ids):
            words = source.rows * choice.kept
            ids, weights = (
                builder.buffer("token_ids", "int", words),
                builder.buffer("token_weights", "fp", words),
            )
            kept = ctx.chosen_ids[op.result] = ChosenIds(ids, weights, choice.kept)
        if not all(by_ids):
            choice.make_marks()
        with builder.loop(source.rows) as row:
            found = choice.of(row, kept)
            if not all(by_ids):
                choice.mark(found, builder.view(result.buffer, row * vlen), result.block)
    ctx.set(op.result, result)
