"""Computed queries, keys and values with their heads where the kernels of attention want them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
from xdsl.ir import SSAValue

from plena.dialects.plena import AttentionOp
from plena.dialects.tile import PanelRows
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.context import KernelContext
from plena.kernels.head_layout import has_empty_gaps, head_pitch
from plena.kernels.lane_moves import relaid
from plena.kernels.lanes import emit_elementwise, rows_of
from plena.kernels.operands import like
from plena.kernels.tensors import Panel
from plena.kernels.vectors import load_vectors


@contextmanager
def heads_in_place(op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> Generator[None]:
    """Moves the heads of computed operands to the lanes that attention reads, with zeros between them.

    Afterwards the operands are where they were: other kernels may want them together.
    """
    wanted = (
        (op.query, shape.heads, shape.head_dim),
        (op.key, shape.kv_heads, shape.head_dim),
        (op.value, shape.kv_heads, shape.value_dim),
    )
    moved: dict[SSAValue, Panel] = {}
    for value, heads, size in wanted:
        if ctx.host(value) is not None or value in moved:
            continue
        panel = ctx.panel(value)
        found = relaid(ctx, op, panel, heads, head_pitch(shape, size, ctx.target))
        if found.buffer == panel.buffer and not found.is_packed and not has_empty_gaps(value):
            found = _without_gaps(ctx, found)
        if found.buffer != panel.buffer:
            moved[value] = panel
            ctx.set(value, found)
    yield
    for value, panel in moved.items():
        ctx.set(value, panel)
        for transposed in (False, True):
            ctx.packed.pop((value, transposed), None)


def _without_gaps(ctx: KernelContext, panel: Panel) -> Panel:
    """A copy with zeros between the heads, whatever finite numbers lie there."""
    used = np.zeros((panel.blocks(ctx.target.vlen) * ctx.target.vlen,), np.float32)
    for group in range(panel.groups):
        used[group * panel.group_pitch :][: panel.group_columns] = 1.0
    name = f"used_lanes_{panel.groups}_{panel.group_columns}_{panel.group_pitch}"
    mask = load_vectors(ctx, "used_lanes", [ctx.constant_rows(name, used)], exact=False)
    result = like(ctx, "heads", panel)
    rows = [rows_of(ctx, panel), PanelRows(mask, 0, ctx.target.vlen)]
    size = (panel.rows, panel.blocks(ctx.target.vlen))
    emit_elementwise(ctx, [rows_of(ctx, result)], rows, size, lambda lanes: lanes.apply("mul", *lanes.inputs))
    return result
