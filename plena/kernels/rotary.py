"""Rotary position embedding: x * cos + rotate(x) * sin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import RotariesOp, RotaryOp
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import PanelRows, root_of
from plena.host.view import Array, Expand, Reshape
from plena.integers import ceil_div, round_up
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.finite_operands import require_finite
from plena.kernels.head_layout import HeadLayout, wanted_layout
from plena.kernels.lane_moves import Band, relaid, times_band
from plena.kernels.lanes import Lanes, emit_elementwise
from plena.kernels.operands import destination, like
from plena.kernels.tensors import Panel
from plena.kernels.turning import Turned, turned
from plena.kernels.wider_tables import continued


@dataclass(frozen=True)
class Rotation:
    """A rotary embedding on a panel: heads `pitch` lanes apart, of whose `size` features the first `width` turn.

    Row r of the panel uses row r mod `period` of the tables.
    """

    op: RotaryOp | RotariesOp
    source: Panel
    result: Panel
    heads: int
    size: int
    pitch: int
    width: int
    period: int

    @property
    def samples(self) -> int:
        return self.source.rows // self.period

    @property
    def interleaved(self) -> bool:
        return self.op.style.data == "interleaved"


@kernel_for(RotaryOp, RotariesOp)
def lower_rotary(op: Operation, ctx: KernelContext) -> None:
    """Halves that are whole column blocks cost nothing but addresses; otherwise products turn the lanes.

    Tensors that lie one behind the other are one panel: products turn BROADCAST * MLEN rows at a time.
    """
    assert isinstance(op, RotaryOp | RotariesOp)
    heads = [op.heads.value.data] if isinstance(op, RotaryOp) else op.heads.get_values()
    rotations = [_rotation(op, number, count, ctx) for number, count in enumerate(heads)]
    for rotation in _joined(rotations, ctx.target.vlen):
        if not rotation.interleaved and (rotation.width // 2) % ctx.target.vlen == 0:
            _by_halves(rotation, ctx)
        else:
            require_finite(ctx, op, "turning heads")
            _by_lanes(rotation, ctx)
    for result, rotation in zip(op.results, rotations, strict=True):
        ctx.set(result, rotation.result)


def _rotation(op: RotaryOp | RotariesOp, number: int, heads: int, ctx: KernelContext) -> Rotation:
    """The rotation of an operand."""
    value, (period, width) = op.operands[number], shape_of(op.cos)
    given, size = ctx.panel(value), shape_of(value)[1] // heads
    source = _heads_in_rows(ctx, op, given, wanted_layout(op.results[number], ctx.target), heads, size)
    result = source if source.buffer != given.buffer else destination(ctx, op, "rotary", value)
    return Rotation(op, source, result, heads, size, source.lanes // heads, width, period)


def _joined(rotations: Sequence[Rotation], vlen: int) -> Iterator[Rotation]:
    """The rotations, those in place of tensors one behind the other as one."""
    whole, *others = rotations
    for rotation in others:
        if _is_behind(whole, rotation, vlen):
            groups = whole.heads + rotation.heads
            panel = replace(whole.source, groups=groups, group_columns=whole.size, group_pitch=whole.pitch)
            whole = replace(whole, source=panel, result=panel, heads=groups)
        else:
            yield whole
            whole = rotation
    yield whole


def _is_behind(first: Rotation, second: Rotation, vlen: int) -> bool:
    """Whether two rotations in place are of panels of the same heads and rows, the second behind the first."""
    one, other = first.source, second.source
    if (one.rows, one.block, first.size, first.pitch) != (other.rows, other.block, second.size, second.pitch):
        return False
    if one.lanes % vlen or any(r.result.buffer != r.source.buffer for r in (first, second)):
        return False
    (root, start), (other_root, behind) = root_of(one.buffer), root_of(other.buffer)
    return root is other_root and behind - start == Linear(one.blocks(vlen) * one.block)


def _heads_in_rows(
    ctx: KernelContext, op: Operation, panel: Panel, wanted: HeadLayout | None, heads: int, size: int
) -> Panel:
    """The panel with heads that share rows evenly or begin rows of their own, in the lanes that an attention wants."""
    vlen = ctx.target.vlen
    pitch = panel.lanes // heads
    if (panel.is_packed or panel.groups == heads) and (vlen % pitch == 0 or pitch % vlen == 0):
        return panel
    pitch = wanted.pitch if wanted is not None and wanted.groups == heads else round_up(size, vlen)
    return relaid(ctx, op, panel, heads, pitch)


def _table(rotation: Rotation, ctx: KernelContext, value: SSAValue, width: int, rest: float) -> Panel:
    """cos or sin [P, R] in vector SRAM, continued by `rest` to `width` lanes, repeated for heads in one row."""
    tensor = ctx.host(value)
    if tensor is None:
        raise refusal(
            rotation.op,
            "the tables of cosines and sines are computed",
            "Make them parameters, buffers or inputs, or functions of constants.",
        )
    repeats = max(1, ctx.target.vlen // rotation.pitch)
    known = ctx.tables.get((tensor, width, repeats))
    if known is None:
        period = rotation.period
        wide = continued(ctx, rotation.op, tensor, width, rest) if width > rotation.width else tensor
        repeated = wide.through(
            Reshape((period, 1, width)), Expand((period, repeats, width)), Reshape((period, repeats * width))
        )
        known = ctx.tables[(tensor, width, repeats)] = ctx.load_exact("rotary_table", repeated)
    return known


def _by_lanes(rotation: Rotation, ctx: KernelContext) -> None:
    """Products that exchange the lanes, one pass that multiplies and adds.

    Lanes stay in their column block, or halves exchange lanes of several, head by head.
    """
    vlen, builder = ctx.target.vlen, ctx.builder
    source, result, pitch = rotation.source, rotation.result, rotation.pitch
    within = rotation.interleaved or rotation.width <= vlen
    name = f"rotate_{rotation.op.style.data}_{min(pitch, vlen) if within else pitch}_{rotation.width}"
    if within:
        other = turned(ctx, name, source, _exchange(rotation, vlen), of=rotation.op.operands)
    else:
        panel = like(ctx, "turned", source)
        times_band(
            ctx,
            name,
            source,
            panel,
            Band.of(_exchange(rotation, pitch)),
            rotation.heads,
            of=rotation.op.operands,
        )
        other = Turned(panel.buffer, panel.block)
    cos = _table(rotation, ctx, rotation.op.cos, pitch, 1.0)
    sin = _table(rotation, ctx, rotation.op.sin, pitch, 0.0)
    per_head = ceil_div(pitch, vlen)
    parts, blocks = (rotation.heads, per_head) if per_head > 1 else (1, source.blocks(vlen))

    def rotated(lanes: Lanes) -> SSAValue:
        x, turned_x, c, s = lanes.inputs
        return lanes.apply("add", lanes.apply("mul", turned_x, s), lanes.apply("mul", x, c))

    with builder.loop(rotation.samples) as sample, builder.loop(parts) as head:
        row = sample * (rotation.period * vlen)
        x = _view(ctx, source, row, head * per_head)
        out = x if result.buffer == source.buffer else _view(ctx, result, row, head * per_head)
        turned_rows = builder.view(other.buffer, row + head * (per_head * other.block))
        tables = [PanelRows(table.buffer, vlen, table.block if per_head > 1 else 0) for table in (cos, sin)]
        inputs = [x, PanelRows(turned_rows, vlen, other.block), *tables]
        emit_elementwise(ctx, [out], inputs, (rotation.period, blocks), rotated)


def _view(ctx: KernelContext, panel: Panel, row: Linear, block: Linear) -> PanelRows:
    buffer = ctx.builder.view(panel.buffer, row + block * panel.block)
    return PanelRows(buffer, ctx.target.vlen, panel.block)


def _exchange(rotation: Rotation, lanes: int) -> Array:
    """The matrix [lanes, lanes] with x @ matrix = rotate(x) for every head in so many lanes; those of a head that do
    not turn become 0."""
    matrix = np.zeros((lanes, lanes), np.float32)
    pitch = min(rotation.pitch, lanes)
    for head in range(0, lanes, pitch):
        for lane in range(min(rotation.width, lanes)):
            if rotation.interleaved:
                source, sign = lane ^ 1, 1.0 if lane % 2 else -1.0
            else:
                half = rotation.width // 2
                source, sign = (lane + half, -1.0) if lane < half else (lane - half, 1.0)
            matrix[head + source, head + lane] = sign
    return matrix


def _by_halves(rotation: Rotation, ctx: KernelContext) -> None:
    """Block i of the first half with block i of the second, both made in one pass over the heads."""
    vlen, builder = ctx.target.vlen, ctx.builder
    source, result = rotation.source, rotation.result
    half, per_head = rotation.width // 2 // vlen, rotation.pitch // vlen
    cos = _table(rotation, ctx, rotation.op.cos, rotation.width, 1.0)
    sin = _table(rotation, ctx, rotation.op.sin, rotation.width, 0.0)

    def rotated(lanes: Lanes) -> list[SSAValue]:
        a, b, cos_a, sin_a, cos_b, sin_b = lanes.inputs
        first = lanes.apply("mul", b, sin_a)
        second = lanes.apply("mul", a, sin_b)
        first = lanes.apply("sub", lanes.apply("mul", a, cos_a), first)
        return [first, lanes.apply("add", lanes.apply("mul", b, cos_b), second)]

    with builder.loop(rotation.samples) as sample, builder.loop(half) as block:
        row = sample * (rotation.period * vlen)

        def at(panel: Panel, place: Linear) -> PanelRows:
            return PanelRows(
                builder.view(panel.buffer, row + place * panel.block), vlen, per_head * panel.block
            )

        inputs = [at(source, block), at(source, block + half)]
        outs = inputs
        if result.buffer != source.buffer:
            outs = [at(result, block), at(result, block + half)]
        tables = [
            PanelRows(builder.view(table.buffer, place * table.block), vlen, 0)
            for place in (block, block + half)
            for table in (cos, sin)
        ]
        emit_elementwise(ctx, outs, [*inputs, *tables], (rotation.period, rotation.heads), rotated)
    rest = per_head - 2 * half
    if rest and result.buffer != source.buffer:
        with builder.loop(rotation.heads) as head:
            place = head * per_head + 2 * half
            sides = [_view(ctx, panel, Linear(0), place) for panel in (result, source)]
            builder.map("copy", *sides, size=(source.rows, rest))
