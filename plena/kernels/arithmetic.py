"""Elementwise kernels: arithmetic of tensors and numbers, limits, activations, gates."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from xdsl.ir import Operation, SSAValue

from plena.dialects.plena import (
    ActivationOp,
    AddOp,
    AddScalarOp,
    BinaryOp,
    ClampOp,
    DivOp,
    ExpandOp,
    FillInfinityOp,
    GateOp,
    MaximumOp,
    MinimumOp,
    MulOp,
    MulScalarOp,
    ReshapeOp,
    SubOp,
)
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import PanelRows, PositiveLanesOp
from plena.kernels import scalars
from plena.kernels.activations import ACTIVATIONS, SLOPED
from plena.kernels.choosing import largest
from plena.kernels.context import KernelContext, kernel_for, lane_masks
from plena.kernels.finite_operands import require_finite
from plena.kernels.lanes import Lanes, emit_elementwise, rows_of
from plena.kernels.logarithms import LOGARITHMS
from plena.kernels.operands import (
    destination,
    guarded,
    padding_as_one,
    parts_operand,
    reciprocal_of,
    row_operand,
    whole_operand,
)
from plena.kernels.parts import parts_of
from plena.kernels.roots import lower_root
from plena.kernels.tensors import Panel, Scalars

_KINDS: dict[type[Operation], str] = {
    AddOp: "add",
    SubOp: "sub",
    MulOp: "mul",
    DivOp: "div",
    MaximumOp: "max",
    MinimumOp: "min",
}
_FILLS = {1: "fill", -1: "fill_negative"}


@kernel_for(AddOp, SubOp, MulOp, DivOp, MaximumOp, MinimumOp, FillInfinityOp)
def lower_binary(op: Operation, ctx: KernelContext) -> None:
    """One pass over the left operand; the right one is as large, a row, or parts of rows."""
    assert isinstance(op, BinaryOp)
    fill = isinstance(op, FillInfinityOp)
    kind = _FILLS[op.sign.value.data] if fill else _KINDS[type(op)]
    if not fill and isinstance(ctx.locations[op.lhs], Scalars) and _is_number(ctx, op.rhs):
        scalars.lower_binary(op, kind, ctx)
        return
    lhs = ctx.panel(op.lhs)
    shape, number = shape_of(op.rhs), ctx.locations[op.rhs]
    if isinstance(number, Scalars) and number.is_one and _takes_number(op):
        result, word = destination(ctx, op, kind, op.lhs), number.buffer
        size = (lhs.rows, lhs.blocks(ctx.target.vlen))
        ctx.builder.map(kind, rows_of(ctx, result), rows_of(ctx, lhs), word, size=size)
    elif shape == shape_of(op.lhs):
        rhs = whole_operand(ctx, op, op.rhs, lhs)
        result = _over(ctx, op, kind, (op.lhs, op.rhs), rhs)
        _combine(ctx, op, kind, result, lhs, rows_of(ctx, rhs))
    elif len(shape) == 1:
        right = row_operand(ctx, op, op.rhs, lhs)
        result = destination(ctx, op, kind, op.lhs)
        _combine(ctx, op, kind, result, lhs, right)
    else:
        if shape[1] > 1:
            lhs, _ = parts_of(ctx, op, lhs, shape[1])
        right = parts_operand(ctx, op, op.rhs, lhs)
        result = lhs if lhs.buffer != ctx.panel(op.lhs).buffer else destination(ctx, op, kind, op.lhs)
        _combine_parts(ctx, op, kind, result, lhs, right, shape[1])
    ctx.set(op.result, result)


def _is_number(ctx: KernelContext, value: SSAValue) -> bool:
    """Whether a right operand [M, G] can be in FP SRAM; from vector SRAM masked sums bring it, of finite numbers."""
    there = ctx.host(value) is not None or isinstance(ctx.locations[value], Scalars)
    return len(shape_of(value)) == 2 and (there or not ctx.undefined.of(value))


def takes_number(value: SSAValue) -> bool:
    """Whether all that read a repeated number take it from FP SRAM, or are further views of it."""
    readers = [use.operation for use in value.uses]
    return bool(readers) and all(
        takes_number(reader.result)
        if isinstance(reader, ReshapeOp | ExpandOp)
        else isinstance(reader, AddOp | SubOp | MulOp) and reader.rhs is value and _takes_number(reader)
        for reader in readers
    )


def _takes_number(op: BinaryOp) -> bool:
    """Whether the right operand may be a word of FP SRAM: the left one has more numbers, in vector SRAM."""
    return isinstance(op, AddOp | SubOp | MulOp) and op.lhs is not op.rhs and prod(shape_of(op.lhs)) > 1


def _over(
    ctx: KernelContext, op: Operation, name: str, operands: tuple[SSAValue, SSAValue], right: Panel
) -> Panel:
    """Where the result goes: over an operand that is needed no more, or that was moved for this operation alone.

    `right` is the right one as it is read; one that the host stages in other lanes than its own is kept.
    """
    if ctx.host(operands[1]) is not None:
        return destination(ctx, op, name, operands[0])
    return right if right is not ctx.panel(operands[1]) else destination(ctx, op, name, *operands)


def _combine(
    ctx: KernelContext, op: BinaryOp, kind: str, result: Panel, lhs: Panel, right: PanelRows
) -> None:
    """result = lhs kind right; division multiplies by the reciprocal, infinities come from the one of 0."""
    size = (lhs.rows, lhs.blocks(ctx.target.vlen))
    guards = guarded(ctx, lhs) if kind in ("div", *_FILLS.values()) else []
    emit_elementwise(
        ctx,
        [rows_of(ctx, result)],
        [rows_of(ctx, lhs), right, *guards],
        size,
        lambda lanes: _binary(lanes, kind),
        infinite=_may_be_infinite(ctx, op),
    )


def _may_be_infinite(ctx: KernelContext, op: BinaryOp) -> bool:
    return any(ctx.undefined.of(operand) for operand in op.operands)


def _binary(lanes: Lanes, kind: str) -> SSAValue:
    lhs, rhs, *guards = lanes.inputs
    if kind == "div":
        return lanes.apply("mul", reciprocal_of(lanes, rhs, tuple(guards)), lhs)
    if kind in _FILLS.values():
        inverse = reciprocal_of(lanes, rhs, tuple(guards))
        excess = (
            lanes.apply("add", inverse, -1.0) if kind == "fill" else lanes.apply("reverse_sub", inverse, 1.0)
        )
        return lanes.apply("add", lhs, excess)
    if kind in ("max", "min"):
        return largest(lanes, lhs, rhs, 1 if kind == "max" else -1)
    return lanes.apply(kind, lhs, rhs)


def _combine_parts(
    ctx: KernelContext, op: BinaryOp, kind: str, result: Panel, lhs: Panel, right: PanelRows, groups: int
) -> None:
    """As `_combine`; where parts are longer than a block, part by part."""
    vlen = ctx.target.vlen
    width = lhs.columns // groups if lhs.is_packed else lhs.group_pitch
    if groups == 1 or width <= vlen:
        _combine(ctx, op, kind, result, lhs, right)
        return
    blocks = width // vlen
    with ctx.builder.loop(groups) as g:
        source = ctx.builder.view(lhs.buffer, g * (blocks * lhs.block))
        out = source
        if result.buffer != lhs.buffer:
            out = ctx.builder.view(result.buffer, g * (blocks * result.block))
        inputs = [
            PanelRows(source, vlen, lhs.block),
            PanelRows(ctx.builder.view(right.buffer, g * right.block), vlen, 0),
        ]
        outs = [PanelRows(out, vlen, result.block)]
        infinite, size = _may_be_infinite(ctx, op), (lhs.rows, blocks)
        emit_elementwise(ctx, outs, inputs, size, lambda lanes: _binary(lanes, kind), infinite=infinite)


def unary(
    ctx: KernelContext, op: Operation, name: str, expression: Callable[[Lanes, SSAValue], SSAValue]
) -> None:
    """The result of an operation = expression(its first operand), in one pass."""
    source = ctx.panel(op.operands[0])
    result = destination(ctx, op, name, op.operands[0])
    emit_elementwise(
        ctx,
        [rows_of(ctx, result)],
        [rows_of(ctx, source)],
        (source.rows, source.blocks(ctx.target.vlen)),
        lambda lanes: expression(lanes, lanes.inputs[0]),
        infinite=bool(ctx.undefined.of(op.operands[0])),
    )
    ctx.set(op.results[0], result)


@kernel_for(AddScalarOp, MulScalarOp)
def lower_scalar(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, AddScalarOp | MulScalarOp)
    kind, value = "add" if isinstance(op, AddScalarOp) else "mul", op.value.value.data
    if isinstance(ctx.locations[op.input], Scalars):
        scalars.lower_number(op, kind, value, ctx)
        return
    unary(ctx, op, kind, lambda lanes, x: lanes.apply(kind, x, value))


@kernel_for(ClampOp)
def lower_clamp(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, ClampOp)
    low, high = (None if bound is None else bound.value.data for bound in (op.min, op.max))
    if isinstance(ctx.locations[op.input], Scalars):
        scalars.lower_clamp(op, low, high, ctx)
        return

    def limited(lanes: Lanes, x: SSAValue) -> SSAValue:
        if low is not None:
            x = lanes.apply("max", x, low)
        return x if high is None else lanes.apply("min", x, high)

    unary(ctx, op, "clamp", limited)


@kernel_for(ActivationOp)
def lower_activation(op: Operation, ctx: KernelContext) -> None:
    """On the scalar unit where the tensor is there already, on the vector unit otherwise."""
    assert isinstance(op, ActivationOp)
    kind, location = op.kind.data, ctx.locations[op.input]
    saturates = kind == "exp" and bool(
        ctx.undefined.of(op.input)
    )  # e to infinity is finite on the scalar unit
    if isinstance(location, Scalars) and kind in scalars.FUNCTIONS and not saturates:
        scalars.lower_activation(op, location, ctx)
    elif kind in ("sqrt", "rsqrt"):
        lower_root(op, ctx)
    elif kind == "reciprocal":
        _lower_guarded(op, ctx, lambda lanes, x: lanes.apply("reciprocal", x))
    elif kind in LOGARITHMS:
        edges = op in ctx.undefined.of(op.result)
        _lower_guarded(op, ctx, lambda lanes, x: LOGARITHMS[kind](lanes, x, edges))
    elif op.slope is not None:
        slope = op.slope.value.data
        unary(ctx, op, kind, lambda lanes, x: SLOPED[kind](lanes, x, slope))
    elif kind == "relu" and ctx.schedule.machine == "rtl":
        _lower_relu_by_lanes(op, ctx)
    else:
        unary(ctx, op, kind, ACTIVATIONS[kind])


def _lower_relu_by_lanes(op: ActivationOp, ctx: KernelContext) -> None:
    """The maximum with 0 where V_MAX_VF does nothing: by the maximum of a row, lane by lane."""
    require_finite(ctx, op, "the maximum of a lane with 0, by V_RED_MAX,")
    vlen, source = ctx.target.vlen, ctx.panel(op.input)
    result = destination(ctx, op, "relu", op.input)
    ctx.builder.insert(
        PositiveLanesOp(
            out=result.buffer,
            scratch=ctx.builder.buffer("row", "vector", 2 * vlen),
            x=source.buffer,
            masks=lane_masks(ctx, vlen, 1),
            rows=source.rows,
            blocks=source.blocks(vlen),
            out_block=result.block,
            x_block=source.block,
        )
    )
    ctx.set(op.result, result)


def _lower_guarded(
    op: ActivationOp, ctx: KernelContext, function: Callable[[Lanes, SSAValue], SSAValue]
) -> None:
    """A function that is not finite at 0, where padding lanes are 1."""
    source = ctx.panel(op.input)
    guards = guarded(ctx, source)
    result = destination(ctx, op, op.kind.data, op.input)
    emit_elementwise(
        ctx,
        [rows_of(ctx, result)],
        [rows_of(ctx, source), *guards],
        (source.rows, source.blocks(ctx.target.vlen)),
        lambda lanes: function(lanes, padding_as_one(lanes, lanes.inputs[0], lanes.inputs[1:])),
        infinite=bool(ctx.undefined.of(op.input)),
    )
    ctx.set(op.result, result)


@kernel_for(GateOp)
def lower_gate(op: Operation, ctx: KernelContext) -> None:
    """activation(gate) * up in one pass."""
    assert isinstance(op, GateOp)
    gate = ctx.panel(op.gate)
    up = whole_operand(ctx, op, op.up, gate)
    result = _over(ctx, op, "gate", (op.gate, op.up), up)
    activation = ACTIVATIONS[op.kind.data]

    def gated(lanes: Lanes) -> SSAValue:
        return lanes.apply("mul", activation(lanes, lanes.inputs[0]), lanes.inputs[1])

    size = (gate.rows, gate.blocks(ctx.target.vlen))
    inputs = [rows_of(ctx, gate), rows_of(ctx, up)]
    infinite = bool(ctx.undefined.of(op.gate))
    emit_elementwise(ctx, [rows_of(ctx, result)], inputs, size, gated, infinite=infinite)
    ctx.set(op.result, result)
