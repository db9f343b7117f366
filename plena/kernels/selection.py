"""Moving columns of computed matrices by products with matrices of zeros and ones, which are exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Operation, SSAValue

from plena.dialects.plena import AttentionOp, ParameterOp
from plena.dialects.refusals import place_of, refusal
from plena.host.view import Array
from plena.kernels.context import KernelContext
from plena.kernels.linear import Layer, lower_layers
from plena.kernels.tensors import Panel, TensorLocation


def value_at(ctx: KernelContext, location: TensorLocation, rows: int, columns: int) -> SSAValue:
    """A value of a kernel's own for a tensor [rows, columns] at a place, for kernels that take values."""
    value = ParameterOp(SymbolRefAttr("temporary"), (rows, columns)).result
    ctx.set(value, location)
    return value


def require_finite(ctx: KernelContext, op: Operation, doing: str, *, between_rows: bool = False) -> None:
    """Refuses operands that may hold NaN or infinity in some elements of a row, for kernels that multiply by 0 what
    they leave out; with `between_rows` in any element, for those that subtract rows from each other.

    Raises:
        CompileError: there is one.
    """
    for operand in op.operands:
        found = ctx.undefined.of(operand) if between_rows else ctx.undefined.in_rows_of(operand)
        for source in sorted(found, key=lambda source: source.name):
            if isinstance(source, AttentionOp):
                continue
            place = place_of(source)
            made = f"of {source.name}{f' at {place}' if place else ''}"
            raise refusal(
                op,
                f"{doing} of a tensor with infinities or NaN, {made}, has no kernel",
                "Do it before what makes them, or keep that finite: fill in a number such as -1e9, divide by "
                "x.abs().clamp(min=1e-6), take torch.sqrt(x.clamp(min=0)).",
            )


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
    ctx.packed.pop((value, True), None)
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
