"""Which experts a token gets, as rows of zeros and ones that the rest of a model computes with."""

from __future__ import annotations

from xdsl.ir import Operation

from plena.dialects.plena import RouteOp
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.expert_choice import ExpertChoice
from plena.kernels.movement import packed_panel


@kernel_for(RouteOp)
def lower_route(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, RouteOp)
    source, chosen = packed_panel(ctx, op, ctx.panel(op.input)), op.k.value.data
    result = ctx.new_panel("chosen", source.rows, source.columns)
    with ctx.builder.step("choose experts"):
        choice = ExpertChoice(ctx, op, source, chosen)
        with ctx.builder.loop(source.rows) as row:
            ids = choice.of(row)
            choice.mark(ids, ctx.builder.view(result.buffer, row * ctx.target.vlen), result.block)
    ctx.set(op.result, result)
