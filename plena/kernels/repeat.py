"""A stack of equal layers: one loop whose weights lie at a constant pitch."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from plena.dialects.plena import RepeatOp, StateAttr, YieldOp
from plena.dialects.tensor_shapes import shape_of
from plena.host.layout import Source
from plena.host.staged_data import symbol_of
from plena.kernels.context import KernelContext, kernel_for, lower_operation
from plena.kernels.elementwise import copy_panel
from plena.kernels.lane_moves import relaid
from plena.kernels.operands import like, same_layout
from plena.kernels.product_mix import cheapest_mix, choosable_products
from plena.kernels.state import place_states
from plena.kernels.tensors import HostTensor, Panel


@kernel_for(RepeatOp)
def lower_repeat(op: Operation, ctx: KernelContext) -> None:
    """Carried tensors keep their buffers: what an iteration makes is copied to where the next one looks for it."""
    assert isinstance(op, RepeatOp)
    carried = [_carry(value, ctx) for value in op.initial]
    arguments = op.body.block.args
    for argument, panel in zip(arguments, carried, strict=False):
        ctx.set(argument, panel)
    stateful: list[tuple[SSAValue, list[StateAttr]]] = []
    for argument, column in zip(arguments[len(carried) :], op.stacked, strict=True):
        states = [expression for expression in column if isinstance(expression, StateAttr)]
        if states:
            stateful.append((argument, states))
            continue
        symbols = [symbol_of(expression) for expression in column]
        ctx.data.update(zip(symbols, column, strict=True))
        sources = tuple(Source("data", symbol=symbol) for symbol in symbols)
        shape = shape_of(argument)
        ctx.set(argument, HostTensor(sources[0], shape, stack=sources))
    _mix_units(op, ctx)
    outer, times = ctx.iteration, ctx.iterations
    ctx.iterations *= op.iterations
    with ctx.builder.loop(op.iterations) as index:
        ctx.iteration = index
        for argument, states in stateful:
            place_states(ctx, argument, states)
        for inner in op.body.block.ops:
            if isinstance(inner, YieldOp):
                _copy_back(inner, carried, ctx)
            else:
                lower_operation(inner, ctx)
    ctx.iteration, ctx.iterations = outer, times
    for output, panel in zip(op.outputs, carried, strict=True):
        ctx.set(output, panel)


def _mix_units(op: RepeatOp, ctx: KernelContext) -> None:
    """Chooses the products that M_BTMM makes for an iteration as short as the schedule asks for."""
    products = choosable_products(op, ctx.target, ctx.schedule)
    ctx.mixable |= bool(products)
    if ctx.schedule.shortening:
        mix = cheapest_mix(products, ctx.schedule.shortening)
        ctx.matrix_products.update(mix.products)
        ctx.decisions.append(
            f"{len(mix.products)} of {len(products)} products of a layer by M_BTMM instead of M_BTMV: "
            f"{mix.saved:,} fewer instructions for the watchdog, {mix.lost:,} cycles more"
        )


def _carry(value: SSAValue, ctx: KernelContext) -> Panel:
    """The panel of an initial value, or a copy of it if something else needs the value later."""
    panel = ctx.panel(value)
    if len(list(value.uses)) == 1 and panel.buffer not in ctx.shared:
        return panel
    copy = like(ctx, "carried", panel)
    copy_panel(ctx, panel, copy)
    return copy


def _copy_back(op: YieldOp, carried: list[Panel], ctx: KernelContext) -> None:
    """What an iteration makes, in the lanes where the next one looks for it."""
    for value, panel in zip(op.values, carried, strict=True):
        made = ctx.panel(value)
        if not same_layout(made, panel):
            made = relaid(ctx, op, made, panel.groups, panel.group_pitch)
        if made.buffer is not panel.buffer:
            copy_panel(ctx, made, panel)
