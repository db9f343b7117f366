"""Square roots: on the scalar unit where there are few, by iteration on the vector unit where there are many."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.plena import ActivationOp
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import PanelRows, SqrtRowsOp
from plena.kernels.context import KernelContext
from plena.kernels.fp_sram import few, number
from plena.kernels.lanes import Expression, Lanes, emit_elementwise, rows_of
from plena.kernels.operands import as_scalars, guarded, like, reciprocal_of
from plena.kernels.scalars import lower_activation
from plena.kernels.tensors import Panel
from plena.machine.scalar_codes import BF16_MAX
from plena.tensor.ranges import MARGIN, range_of

STEPS = 24
"""Iterations of the vector unit's square root: each halves what is far too large, the last few double the digits."""

_FARTHEST = 2.0**43
"""The iteration starts with the number itself, cut here and at one over this: no root is farther from that than 2^22,
and all come out to a bf16 ulp."""

_HUGE = BF16_MAX
"""Its square times any number other than 0 is infinite."""


def lower_root(op: ActivationOp, ctx: KernelContext) -> None:
    """sqrt or rsqrt of a tensor in vector SRAM."""
    rows, columns = shape_of(op.input)
    kind = op.kind.data
    panel = ctx.panel(op.input)
    finite = not ctx.undefined.of(op.result)
    scalars = few(ctx, rows, columns) and columns <= min(4, ctx.target.vlen) and panel.is_packed
    if scalars and finite:
        lower_activation(op, as_scalars(ctx, op, op.input), ctx)
        return
    bounded = panel if not ctx.undefined.of(op.input) else _bounded(ctx, panel)
    roots = _roots(ctx, bounded, small=range_of(op.input).low < 1 / _FARTHEST)
    guards = guarded(ctx, roots) if kind == "rsqrt" else []
    if range_of(op.input).low >= MARGIN and finite:
        inputs = [rows_of(ctx, roots), *guards]
        if kind == "rsqrt":
            _each(ctx, roots, inputs, lambda lanes: reciprocal_of(lanes, lanes.inputs[0], lanes.inputs[1:]))
    else:
        inputs = [rows_of(ctx, roots), rows_of(ctx, panel), *guards]
        _each(ctx, roots, inputs, lambda lanes: _edges(lanes, kind, bounded is not panel))
    ctx.set(op.result, roots)


def _each(ctx: KernelContext, out: Panel, inputs: list[PanelRows], expression: Expression) -> None:
    emit_elementwise(ctx, [rows_of(ctx, out)], inputs, (out.rows, out.blocks(ctx.target.vlen)), expression)


def _bounded(ctx: KernelContext, panel: Panel) -> Panel:
    """Without infinity, of which the iteration makes NaN."""
    bounded = like(ctx, "bounded", panel)
    _each(ctx, bounded, [rows_of(ctx, panel)], lambda lanes: lanes.apply("min", lanes.inputs[0], _HUGE))
    return bounded


def _edges(lanes: Lanes, kind: str, infinite: bool) -> SSAValue:
    """What the iteration leaves out: the root of 0 is 0, of infinity infinity, of negative numbers NaN."""
    root, x, *guards = lanes.inputs
    huge = lanes.apply("mul", lanes.apply("mul", x, _HUGE), _HUGE)
    negative = lanes.apply("min", huge, 0.0)
    root = lanes.apply("add", root, lanes.apply("sub", negative, negative))
    if infinite:
        root = lanes.apply("add", root, lanes.apply("sub", x, lanes.apply("min", x, _HUGE)))
    root = lanes.apply("mul", root, lanes.apply("min", huge, 1.0))
    return reciprocal_of(lanes, root, tuple(guards)) if kind == "rsqrt" else root


def _roots(ctx: KernelContext, source: Panel, *, small: bool) -> Panel:
    roots = like(ctx, "roots", source)
    ctx.builder.insert(
        SqrtRowsOp(
            out=roots.buffer,
            scratch=ctx.builder.buffer("row", "vector", ctx.target.vlen),
            x=source.buffer,
            half=number(ctx, 0.5),
            least=number(ctx, 1 / _FARTHEST) if small else None,
            most=number(ctx, _FARTHEST),
            rows=source.rows,
            blocks=source.blocks(ctx.target.vlen),
            x_block=source.block,
            out_block=roots.block,
            steps=STEPS,
        )
    )
    return roots
