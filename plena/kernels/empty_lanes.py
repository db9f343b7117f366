"""Zeros in the lanes between and behind the heads of computed tensors, for products that read whole rows of lanes."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from plena.dialects.plena import GroupedRowsOp, LinearOp, MulScalarOp, ProjectionsOp, RotaryOp
from plena.dialects.tile import PanelRows
from plena.kernels.context import KernelContext
from plena.kernels.lanes import rows_of
from plena.kernels.tensors import Panel
from plena.kernels.vectors import load_vectors


def with_empty_gaps(ctx: KernelContext, value: SSAValue, panel: Panel) -> Panel:
    """The panel of a value, or a copy if finite numbers other than zero may lie between or behind its heads."""
    if _has_empty_gaps(value):
        return panel
    vlen = ctx.target.vlen
    used = np.zeros((panel.blocks(vlen) * vlen,), np.float32)
    for group in range(panel.groups):
        used[group * panel.group_pitch :][: panel.group_columns] = 1.0
    name = f"used_lanes_{panel.groups}_{panel.group_columns}_{panel.group_pitch}"
    mask = load_vectors(ctx, "used_lanes", [ctx.constant_rows(name, used)], exact=False)
    result = ctx.new_panel("heads", panel.rows, panel.columns, panel.groups, panel.group_pitch)
    size = (panel.rows, panel.blocks(vlen))
    ctx.builder.map("mul", rows_of(ctx, result), rows_of(ctx, panel), PanelRows(mask, 0, vlen), size=size)
    return result


def _has_empty_gaps(value: SSAValue) -> bool:
    """Whether those lanes are zeros: kernels on the way left those of a linear layer alone."""
    op = value.owner
    if isinstance(op, RotaryOp | GroupedRowsOp | MulScalarOp):
        return _has_empty_gaps(op.operands[0])
    return isinstance(op, LinearOp | ProjectionsOp)
