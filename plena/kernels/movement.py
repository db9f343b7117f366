"""Slices and concatenations of computed matrices: copies of rows, and products where columns leave their lanes."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation

from plena.dialects.loop import Linear
from plena.dialects.plena import ConcatOp, SliceOp
from plena.dialects.tile import PanelRows
from plena.integers import ceil_div
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.lane_moves import relaid
from plena.kernels.lanes import rows_of
from plena.kernels.selection import selected, spread_out
from plena.kernels.tensors import Panel


def copy_rows(
    ctx: KernelContext,
    source: tuple[Panel, Linear, int],
    destination: tuple[Panel, Linear, int],
    rows: int,
    blocks: int,
) -> None:
    """Copies rows of consecutive column blocks; panel, first element and distance in rows on both sides."""
    vlen = ctx.target.vlen
    sides = [
        PanelRows(ctx.builder.view(panel.buffer, first), step * vlen, panel.block)
        for panel, first, step in (destination, source)
    ]
    with ctx.builder.step("copy"):
        ctx.builder.map("copy", *sides, size=(rows, blocks))


def packed_panel(ctx: KernelContext, op: Operation, panel: Panel) -> Panel:
    """A panel with its columns in its lanes without gaps."""
    return panel if panel.is_packed else relaid(ctx, op, panel, 1, panel.columns)


@kernel_for(SliceOp)
def lower_slice(op: Operation, ctx: KernelContext) -> None:
    """Rows first, then columns: whole column blocks are copied too, others selected by a product."""
    assert isinstance(op, SliceOp)
    panel = packed_panel(ctx, op, ctx.panel(op.input))
    settings = (op.groups, op.offsets, op.sizes, op.strides)
    (row_groups, column_groups), offsets, sizes, strides = (tuple(a.get_values()) for a in settings)
    vlen = ctx.target.vlen
    width, part = panel.columns // column_groups, sizes[1]
    whole = part == width
    bounds = (offsets[1],) if column_groups == 1 else (offsets[1], width, part)
    if not whole and (strides[1] > 1 or any(n % vlen for n in bounds)):
        rows_only = _slice_rows(ctx, panel, row_groups, offsets[0], sizes[0], strides[0], 0, panel.columns)
        columns = [
            group * width + offsets[1] + strides[1] * n for group in range(column_groups) for n in range(part)
        ]
        ctx.set(op.result, selected(ctx, op, rows_only, columns))
        return
    if whole or column_groups == 1:
        size = (offsets[1], panel.columns if whole else part)
        result = _slice_rows(ctx, panel, row_groups, offsets[0], sizes[0], strides[0], *size)
    else:
        result = ctx.new_panel("slice", row_groups * sizes[0], column_groups * part)
        with ctx.builder.loop(row_groups) as rows, ctx.builder.loop(column_groups) as group:
            first = (rows * (panel.rows // row_groups) + offsets[0]) * vlen
            source = first + (group * (width // vlen) + offsets[1] // vlen) * panel.block
            destination = rows * (sizes[0] * vlen) + group * (part // vlen) * result.block
            copy_rows(ctx, (panel, source, strides[0]), (result, destination, 1), sizes[0], part // vlen)
    ctx.set(op.result, result)


def _slice_rows(
    ctx: KernelContext,
    panel: Panel,
    groups: int,
    offset: int,
    size: int,
    stride: int,
    first_column: int,
    columns: int,
) -> Panel:
    """Some rows of every group, columns from the beginning of a column block on."""
    vlen = ctx.target.vlen
    if groups * size == panel.rows and columns == panel.columns:
        return panel
    result = ctx.new_panel("slice", groups * size, columns)
    with ctx.builder.loop(groups) as group:
        source = (group * (panel.rows // groups) + offset) * vlen + first_column // vlen * panel.block
        destination = group * (size * vlen)
        copy_rows(ctx, (panel, source, stride), (result, destination, 1), size, result.blocks(vlen))
    return result


@kernel_for(ConcatOp)
def lower_concat(op: Operation, ctx: KernelContext) -> None:
    assert isinstance(op, ConcatOp)
    panels = [packed_panel(ctx, op, ctx.panel(value)) for value in op.inputs]
    groups = op.groups.value.data
    if op.axis.data == "rows":
        ctx.set(op.result, _concat_rows(ctx, panels, groups))
        return
    widths = [panel.columns // groups for panel in panels]
    if all(width % ctx.target.vlen == 0 for width in (widths if groups > 1 else widths[:-1])):
        ctx.set(op.result, _concat_blocks(ctx, panels, groups))
    else:
        ctx.set(op.result, _concat_lanes(ctx, op, panels, groups))


def _concat_rows(ctx: KernelContext, panels: Sequence[Panel], groups: int) -> Panel:
    vlen = ctx.target.vlen
    total = sum(panel.rows for panel in panels)
    result = ctx.new_panel("concat", total, panels[0].columns)
    before = 0
    for panel in panels:
        rows = panel.rows // groups
        with ctx.builder.loop(groups) as group:
            destination = (group * (total // groups) + before) * vlen
            source = group * (rows * vlen)
            copy_rows(ctx, (panel, source, 1), (result, destination, 1), rows, panel.blocks(vlen))
        before += rows
    return result


def _concat_blocks(ctx: KernelContext, panels: Sequence[Panel], groups: int) -> Panel:
    """Whole column blocks; only the last tensor may end within one."""
    vlen = ctx.target.vlen
    total = sum(panel.columns for panel in panels)
    result = ctx.new_panel("concat", panels[0].rows, total)
    before = 0
    for panel in panels:
        blocks = ceil_div(panel.columns // groups, vlen)
        with ctx.builder.loop(groups) as group:
            destination = (group * (total // groups // vlen) + before) * result.block
            source = group * (blocks * panel.block)
            copy_rows(ctx, (panel, source, 1), (result, destination, 1), panel.rows, blocks)
        before += blocks
    return result


def _concat_lanes(ctx: KernelContext, op: Operation, panels: Sequence[Panel], groups: int) -> Panel:
    """Each tensor is put where it belongs by a product; the sum has all of them."""
    total = sum(panel.columns for panel in panels)
    step, before = total // groups, 0
    result: Panel | None = None
    for panel in panels:
        width = panel.columns // groups
        columns = [group * step + before + n for group in range(groups) for n in range(width)]
        placed = spread_out(ctx, op, panel, columns, total)
        if result is None:
            result = placed
        else:
            size = (placed.rows, placed.blocks(ctx.target.vlen))
            whole = rows_of(ctx, result)
            ctx.builder.map("add", whole, whole, rows_of(ctx, placed), size=size)
        before += width
    assert result is not None
    return result
