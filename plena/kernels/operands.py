"""Operands of elementwise kernels: where results go, and right operands of every shape as rows to walk through."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from xdsl.ir import Block, Operation, SSAValue

from plena.dialects.plena import RearrangeOp, RepeatOp, ReshapeOp
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import BufferOp, PanelRows, ReduceRowsOp, SpreadScalarsOp, ViewOp
from plena.host.view import Expand, Pad, Reshape
from plena.kernels.context import KernelContext, is_read_behind, lane_masks, spread_group
from plena.kernels.empty_lanes import lane_pattern
from plena.kernels.fp_sram import few, new_scalars
from plena.kernels.lane_moves import relaid
from plena.kernels.lanes import Lanes, emit_elementwise, repeated_row, rows_of
from plena.kernels.pieces import Piece, by_pieces
from plena.kernels.tensors import HostTensor, Panel, Scalars
from plena.kernels.vectors import load_vectors


def like(ctx: KernelContext, name: str, panel: Panel) -> Panel:
    """A new panel in the layout of another."""
    return ctx.new_panel(name, panel.rows, panel.columns, panel.groups, panel.group_pitch)


def destination(ctx: KernelContext, op: Operation, name: str, *values: SSAValue) -> Panel:
    """Where the result of an operation goes: where the next iteration of a repetition looks for it, else over the first
    of its operands that nothing needs afterwards."""
    panel = _carried_panel(ctx, op, ctx.panel(values[0]))
    if panel is not None:
        return panel
    for value in values:
        if is_last_use(ctx, op, value):
            return ctx.panel(value)
    return like(ctx, name, ctx.panel(values[0]))


def _carried_panel(ctx: KernelContext, op: Operation, wanted: Panel) -> Panel | None:
    """The place of the carried tensor that an operation's result replaces, if nothing reads that tensor any more."""
    block = op.parent_block()
    if block is None or not isinstance(block.parent_op(), RepeatOp) or len(op.results) != 1:
        return None
    (result,) = op.results
    use = result.get_user_of_unique_use()
    if use is None or use is not block.last_op:
        return None
    argument = block.args[list(use.operands).index(result)]
    panel = ctx.panel(argument)
    place = (panel.rows, panel.block)
    if argument in op.operands or not same_layout(panel, wanted) or place != (wanted.rows, wanted.block):
        return None
    return panel if _is_free_after(ctx, op, argument) else None


def is_last_use(ctx: KernelContext, op: Operation, value: SSAValue) -> bool:
    """Whether the buffer of an operand may be overwritten by the operation.

    In a repetition a carried tensor may be overwritten by what the next iteration carries in its place.
    """
    block, owner = op.parent_block(), value.owner
    if block is None:
        return False
    if isinstance(owner, Block):
        if owner is not block or (isinstance(owner.parent_op(), RepeatOp) and not _replaces(op, value)):
            return False
    elif owner.parent_block() is not block:
        return False
    return _is_free_after(ctx, op, value)


def _is_free_after(ctx: KernelContext, op: Operation, value: SSAValue) -> bool:
    """Whether the buffer of a value of the operation's block is its own, and nothing behind the operation reads it."""
    buffer, block = ctx.panel(value).buffer, op.parent_block()
    if buffer in ctx.shared or not isinstance(buffer.owner, BufferOp | ViewOp):
        return False
    if block is None or is_read_behind(op, value):
        return False
    # A reshape before a return has no place of its own: the host does it when it reads the result.
    users = (block.find_ancestor_op_in_block(use.operation) for use in value.uses)
    return not any(
        isinstance(user, ReshapeOp | RearrangeOp) and user.result not in ctx.locations for user in users
    )


def _replaces(op: Operation, argument: SSAValue) -> bool:
    """Whether an operation of a repetition's body makes what the next iteration gets for a block argument."""
    block = argument.owner
    assert isinstance(block, Block) and block.last_op is not None
    index = block.args.index(argument)  # type: ignore[arg-type]
    yielded = block.last_op.operands
    return index < len(yielded) and yielded[index].owner is op


def same_layout(a: Panel, b: Panel) -> bool:
    """Whether the columns of two panels lie in the same lanes of the same blocks."""
    if a.is_packed and b.is_packed:
        return a.columns == b.columns
    return (a.groups, a.group_columns, a.group_pitch) == (b.groups, b.group_columns, b.group_pitch)


def whole_operand(ctx: KernelContext, op: Operation, value: SSAValue, lhs: Panel) -> Panel:
    """An operand [M, N] in the layout of the left one."""
    tensor = ctx.host(value)
    if tensor is not None and not lhs.is_packed:
        return ctx.load("operand", tensor, groups=lhs.groups, pitch=lhs.group_pitch)
    panel = ctx.panel(value)
    return panel if same_layout(lhs, panel) else relaid(ctx, op, panel, lhs.groups, lhs.group_pitch)


def row_operand(ctx: KernelContext, op: Operation, value: SSAValue, lhs: Panel) -> PanelRows:
    """An operand [N], the same row for all."""
    tensor = ctx.host(value)
    if tensor is None:
        panel = ctx.panel(value)
        if panel.rows != 1:
            raise refusal(
                op,
                "a computed vector lies in several rows",
                "Make the vector a parameter or an input, or a matrix of one row.",
            )
        return repeated_row(
            panel if same_layout(lhs, panel) else relaid(ctx, op, panel, lhs.groups, lhs.group_pitch)
        )
    vlen = ctx.target.vlen
    if not lhs.is_packed:
        heads = Reshape((lhs.groups, lhs.group_columns))
        gap = Pad(1, 0, lhs.group_pitch - lhs.group_columns)
        tensor = tensor.through(heads, gap, Reshape((lhs.lanes,)))
    return PanelRows(load_vectors(ctx, "row_operand", [tensor]), 0, vlen)


def parts_operand(ctx: KernelContext, op: Operation, value: SSAValue, lhs: Panel) -> PanelRows:
    """An operand [M, G] whose element (m, g) meets part g of row m, spread over that part's lanes.

    Walks with the left operand: over all its blocks, or over one part's if parts are longer than a block, in which
    case consecutive parts are one block apart. The left operand's parts lie as `parts_of` wants them.
    """
    vlen, groups = ctx.target.vlen, shape_of(value)[-1]
    width = lhs.columns // groups if lhs.is_packed else lhs.group_pitch
    tensor = ctx.host(value)
    if tensor is not None:
        return _staged_parts(ctx, tensor, groups, width)
    if groups == 1 and isinstance(ctx.locations[value], Scalars):
        return PanelRows(ctx.panel(value).buffer, vlen, 0)
    whole = groups == 1 or width % vlen == 0
    spread = ctx.new_panel("spread", prod(shape_of(value)[:-1]), groups * vlen if whole else lhs.columns)
    finite = not ctx.undefined.of(value)
    if isinstance(ctx.locations[value], Scalars) or (groups <= vlen and few(ctx, spread.rows, groups)):
        _spread_parts(ctx, as_scalars(ctx, op, value), groups, width, spread, finite=finite)
    else:
        panel = ctx.panel(value)
        by_block = whole and panel.is_packed
        for first in range(0, groups, vlen) if by_block else (0,):
            count = min(vlen, groups - first) if by_block else groups
            numbers = ctx.builder.view(panel.buffer, first // vlen * panel.block)
            part = replace(panel, buffer=numbers, groups=1, group_columns=count, group_pitch=count)
            into = replace(spread, buffer=ctx.builder.view(spread.buffer, first * spread.block))

            def spread_piece(
                piece: Piece, part: Panel = part if by_block else panel, into: Panel = into
            ) -> None:
                _to_scalars(ctx, op, value, piece.of(ctx, part), piece.scalars)
                _spread_parts(ctx, piece.scalars, part.columns, width, piece.of(ctx, into), finite=finite)

            by_pieces(ctx, op, spread.rows, count, spread_piece)
    return PanelRows(spread.buffer, vlen, 0) if groups == 1 else rows_of(ctx, spread)


def _spread_parts(
    ctx: KernelContext, scalars: Scalars, groups: int, width: int, spread: Panel, *, finite: bool
) -> None:
    """Each number in the lanes of its part, `width` of them; in one row of lanes where parts are whole such rows."""
    vlen = ctx.target.vlen
    if groups == 1:
        spread_group(ctx, scalars, 0, 1, spread.buffer, None)
    elif width % vlen == 0:
        with ctx.builder.loop(groups) as g:
            out = ctx.builder.view(spread.buffer, g * spread.block)
            ctx.builder.insert(
                SpreadScalarsOp(
                    out=out,
                    scalars=ctx.builder.view(scalars.buffer, g),
                    rows=scalars.rows,
                    groups=1,
                    scalars_row=groups,
                )
            )
    else:
        per_block = vlen // width
        masks = lane_masks(ctx, min(per_block, groups), width) if finite else None
        for block in range(spread.blocks(vlen)):
            first = block * per_block
            out = ctx.builder.view(spread.buffer, block * spread.block)
            count = min(per_block, groups - first)
            spread_group(ctx, scalars, first, count, out, masks, 0 if finite else width)


def _staged_parts(ctx: KernelContext, tensor: HostTensor, groups: int, width: int) -> PanelRows:
    rows, vlen = tensor.shape[0], ctx.target.vlen
    lanes = vlen if groups == 1 or width % vlen == 0 else width
    parts = tensor.through(
        Reshape((rows, groups, 1)), Expand((rows, groups, lanes)), Reshape((rows, groups * lanes))
    )
    panel = ctx.load("parts", parts, exact=tensor.source.kind == "data")
    return PanelRows(panel.buffer, vlen, 0 if groups == 1 else panel.block)


def as_scalars(ctx: KernelContext, op: Operation, value: SSAValue) -> Scalars:
    """A computed tensor [M, G] of few columns in FP SRAM; out of vector SRAM by masked sums, which are exact.

    Raises:
        CompileError: it is too large for FP SRAM.
    """
    location = ctx.locations[value]
    if isinstance(location, Scalars):
        return location
    panel = ctx.panel(value)
    if not few(ctx, panel.rows, panel.columns):
        raise refusal(
            op,
            f"{panel.rows} x {panel.columns} computed numbers are too many for the scalar unit",
            "Use a smaller batch or sequence, or a target with more FP SRAM.",
        )
    scalars = new_scalars(ctx, panel.rows, panel.columns)
    _to_scalars(ctx, op, value, panel, scalars)
    return scalars


def _to_scalars(ctx: KernelContext, op: Operation, value: SSAValue, panel: Panel, scalars: Scalars) -> None:
    """Rows of a value to FP SRAM."""
    groups, vlen = panel.columns, ctx.target.vlen
    if groups > 1 and ctx.undefined.of(value):
        raise refusal(
            op,
            f"{groups} numbers per row that may be infinite or NaN cannot be told apart on the scalar unit",
            "Keep what overflows finite before, as in y / x.abs().clamp(min=1e-6).",
        )
    if not panel.is_packed or groups > vlen:
        raise refusal(
            op,
            f"{groups} computed numbers a row are too many for the scalar unit",
            f"Use at most {vlen} parts of a row, the lanes of a row (VLEN).",
        )
    column_to_scalars(ctx, panel, scalars, finite=not ctx.undefined.of(value))


def column_to_scalars(ctx: KernelContext, panel: Panel, scalars: Scalars, *, finite: bool = True) -> None:
    """The first `scalars.groups` lanes of each row to FP SRAM by masked sums; a first one that may not be finite, in
    lanes beside others, is moved to the last lane, which leaves nothing of those."""
    vlen, groups = ctx.target.vlen, scalars.groups
    first = groups == 1 and not finite
    masks = None if first else lane_masks(ctx, groups, 1)
    with ctx.builder.step("to scalars"), ctx.builder.loop(groups) as g:
        ctx.builder.insert(
            ReduceRowsOp(
                kind="sum",
                scalars=ctx.builder.view(scalars.buffer, g),
                scratch=ctx.builder.buffer("row", "vector", 2 * vlen),
                x=panel.buffer,
                mask=None if masks is None else ctx.builder.view(masks, g * vlen),
                rows=panel.rows,
                blocks=1,
                block=0,
                scalars_row=groups,
                lanes=int(first),
            )
        )


def guarded(ctx: KernelContext, panel: Panel) -> list[PanelRows]:
    """Rows that make padding lanes 1 (x * first + second) before a reciprocal; none where there is no padding."""
    vlen = ctx.target.vlen
    lanes = panel.blocks(vlen) * vlen
    if panel.columns == lanes:
        return []
    used_lanes = lane_pattern(ctx, "used", panel, 1.0, 0.0)
    # What is added to used lanes is minus zero: it leaves both zeros as they are, whose reciprocals differ.
    padding_lanes = lane_pattern(ctx, "padding", panel, -0.0, 1.0)
    buffer = load_vectors(ctx, "guards", [used_lanes, padding_lanes], exact=False)
    return [PanelRows(buffer, 0, vlen), PanelRows(ctx.builder.view(buffer, lanes), 0, vlen)]


def reciprocal_of(lanes: Lanes, x: SSAValue, guards: tuple[SSAValue, ...]) -> SSAValue:
    """1 / x, finite in the padding lanes that the guards name."""
    return lanes.apply("reciprocal", padding_as_one(lanes, x, guards))


def padding_as_one(lanes: Lanes, x: SSAValue, guards: tuple[SSAValue, ...]) -> SSAValue:
    """x, but 1 in the padding lanes that the guards name."""
    if not guards:
        return x
    return lanes.apply("add", lanes.apply("mul", x, guards[0]), guards[1])


__all__ = [
    "as_scalars",
    "destination",
    "emit_elementwise",
    "guarded",
    "is_last_use",
    "like",
    "padding_as_one",
    "parts_operand",
    "reciprocal_of",
    "row_operand",
    "same_layout",
    "whole_operand",
]
