"""Moving columns of computed matrices by products with matrices of zeros and ones, which are exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Operation, SSAValue

from plena.dialects.plena import ParameterOp
from plena.host.view import Array
from plena.kernels.context import KernelContext
from plena.kernels.finite_operands import require_finite
from plena.kernels.linear import Layer, lower_layers
from plena.kernels.tensors import Panel, TensorLocation


def value_at(ctx: KernelContext, location: TensorLocation, rows: int, columns: int) -> SSAValue:
    """A value of a kernel's own for a tensor [rows, columns] at a place, for kernels that take values."""
    value = ParameterOp(SymbolRefAttr("temporary"), (rows, columns)).result
    ctx.set(value, location)
    return value


def times_constant(ctx: KernelContext, op: Operation, panel: Panel, name: str, matrix: Array) -> Panel:
    """A panel times the transpose of a constant matrix [N, columns of the panel].

    Raises:
        CompileError: the panel may hold infinities, and 0 times infinity is NaN.
    """
    require_finite(ctx, op, "moving the columns")
    weight = ctx.constant_rows(name, matrix)
    value = value_at(ctx, panel, panel.rows, panel.columns)
    result = ParameterOp(SymbolRefAttr("temporary"), (panel.rows, matrix.shape[0])).result
    spreads_nan = ctx.spreads_nan(*op.operands)
    lower_layers(op, value, [Layer(weight, None, result)], ctx, spreads_nan=spreads_nan)
    ctx.count_macs(-panel.rows * matrix.shape[0] * matrix.shape[1])
    ctx.forget_packed(value)
    return ctx.panel(result)


def selected(ctx: KernelContext, op: Operation, panel: Panel, columns: Sequence[int]) -> Panel:
    """The panel with these of its columns, in this order."""
    matrix = np.zeros((len(columns), panel.columns), np.float32)
    matrix[np.arange(len(columns)), np.asarray(columns)] = 1.0
    return times_constant(ctx, op, panel, _name("select", panel.columns, columns), matrix)


def spread_out(ctx: KernelContext, op: Operation, panel: Panel, columns: Sequence[int], width: int) -> Panel:
    """A panel of `width` columns: column i of the given one at columns[i], 0 elsewhere."""
    matrix = np.zeros((width, panel.columns), np.float32)
    matrix[np.asarray(columns), np.arange(len(columns))] = 1.0
    return times_constant(ctx, op, panel, _name(f"place_in_{width}", panel.columns, columns), matrix)


def _name(what: str, of: int, columns: Sequence[int]) -> str:
    """A name for the columns: runs of consecutive ones."""
    runs: list[list[int]] = []
    for column in columns:
        if runs and runs[-1][1] + 1 == column:
            runs[-1][1] = column
        else:
            runs.append([column, column])
    return f"{what}_of_{of}_" + "_".join(f"{first}to{last}" for first, last in runs)
