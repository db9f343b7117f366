"""Zeros in the lanes between and behind the heads of computed tensors, for products that read whole rows of lanes."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from plena.dialects.plena import GroupedRowsOp, LinearOp, MulScalarOp, ProjectionsOp, RotariesOp, RotaryOp
from plena.dialects.tile import PanelRows
from plena.kernels.context import KernelContext
from plena.kernels.lanes import rows_of
from plena.kernels.tensors import HostTensor, Panel
from plena.kernels.vectors import load_vectors


def lane_pattern(ctx: KernelContext, name: str, panel: Panel, used: float, rest: float) -> HostTensor:
    """A vector over the lanes of a panel's column blocks: one number where a column lies, another elsewhere."""
    vlen = ctx.target.vlen
    lanes = np.full((panel.blocks(vlen) * vlen,), rest, np.float32)
    for group in range(panel.groups):
        lanes[group * panel.group_pitch :][: panel.group_columns] = used
    layout = f"{panel.groups}_{panel.group_columns}_{panel.group_pitch}"
    return ctx.constant_rows(f"{name}_lanes_{layout}", lanes)


def with_empty_gaps(ctx: KernelContext, value: SSAValue, panel: Panel) -> Panel:
    """The panel of a value, or a copy if finite numbers other than zero may lie between or behind its heads."""
    if _has_empty_gaps(value):
        return panel
    vlen = ctx.target.vlen
    mask = load_vectors(ctx, "used_lanes", [lane_pattern(ctx, "used", panel, 1.0, 0.0)], exact=False)
    result = ctx.new_panel("heads", panel.rows, panel.columns, panel.groups, panel.group_pitch)
    size = (panel.rows, panel.blocks(vlen))
    ctx.builder.map("mul", rows_of(ctx, result), rows_of(ctx, panel), PanelRows(mask, 0, vlen), size=size)
    return result


def _has_empty_gaps(value: SSAValue) -> bool:
    """Whether those lanes are zeros: kernels on the way left those of a linear layer alone."""
    op = value.owner
    if isinstance(op, RotaryOp | GroupedRowsOp | MulScalarOp):
        return _has_empty_gaps(op.operands[0])
    if isinstance(op, RotariesOp):
        return _has_empty_gaps(op.inputs[op.outputs.index(value)])
    return isinstance(op, LinearOp | ProjectionsOp)
