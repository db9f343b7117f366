"""Moving columns of computed matrices by products with matrices of zeros and ones, which are exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Operation, SSAValue

from plena.dialects.plena import ParameterOp
from plena.dialects.tile import PanelRows
from plena.host.view import Array
from plena.integers import ceil_div
from plena.kernels.context import KernelContext
from plena.kernels.finite_operands import require_finite
from plena.kernels.lanes import rows_of
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
    return _moved(ctx, op, panel, list(columns))


def spread_out(ctx: KernelContext, op: Operation, panel: Panel, columns: Sequence[int], width: int) -> Panel:
    """A panel of `width` columns: column i of the given one at columns[i], 0 elsewhere."""
    sources = [_NONE] * width
    for source, column in enumerate(columns):
        sources[column] = source
    return _moved(ctx, op, panel, sources)


_NONE = -1
"""A column of zeros."""


def _moved(ctx: KernelContext, op: Operation, panel: Panel, sources: list[int]) -> Panel:
    """A panel whose column i is column sources[i] of the given one.

    One product, or where most tiles of its matrix would be zeros one for each run of column blocks that come of the
    same ones, copied into its place: that takes about twice as long as a product of two blocks.
    """
    vlen = ctx.target.vlen
    runs = _runs_of_blocks(sources, vlen)
    given, made = panel.blocks(vlen), ceil_div(len(sources), vlen)
    apart = sum((run.end - run.start) * (run.last - run.first + 2) for run in runs)
    if apart > given * made:
        return times_constant(ctx, op, panel, _name(panel.columns, sources), _matrix(sources, panel.columns))
    result = ctx.new_panel("moved", panel.rows, len(sources))
    for run in runs:
        part = blocks_of(ctx, panel, run.first, run.last)
        own = [
            source if source == _NONE else source - run.first * vlen
            for source in sources[run.start * vlen : run.end * vlen]
        ]
        placed = times_constant(ctx, op, part, _name(part.columns, own), _matrix(own, part.columns))
        size = (panel.rows, run.end - run.start)
        into = ctx.builder.view(result.buffer, run.start * result.block)
        with ctx.builder.step("copy"):
            ctx.builder.map("copy", PanelRows(into, vlen, result.block), rows_of(ctx, placed), size=size)
    return result


@dataclass(frozen=True)
class _Run:
    """Column blocks `start` to `end` of a result, which come of blocks `first` to `last` of an operand."""

    start: int
    end: int
    first: int
    last: int


def _runs_of_blocks(sources: Sequence[int], vlen: int) -> list[_Run]:
    """Of all column blocks of a result; one of zeros is made of what the one before it is made of."""
    runs: list[_Run] = []
    for block in range(ceil_div(len(sources), vlen)):
        read = [s // vlen for s in sources[block * vlen : (block + 1) * vlen] if s != _NONE]
        before = runs[-1] if runs else _Run(0, 0, 0, 1)
        first, last = (min(read), max(read) + 1) if read else (before.first, before.last)
        if runs and (before.first, before.last) == (first, last):
            runs[-1] = replace(before, end=block + 1)
        else:
            runs.append(_Run(block, block + 1, first, last))
    return runs


def blocks_of(ctx: KernelContext, panel: Panel, first: int, last: int) -> Panel:
    """Column blocks `first` to `last` - 1 of a packed panel."""
    vlen = ctx.target.vlen
    width = min(last * vlen, panel.columns) - first * vlen
    if width == panel.columns:
        return panel
    buffer = ctx.builder.view(panel.buffer, first * panel.block)
    return replace(panel, buffer=buffer, group_columns=width, group_pitch=width)


def _matrix(sources: Sequence[int], columns: int) -> Array:
    """The matrix [columns of the result, columns] that moves columns to their places."""
    matrix = np.zeros((len(sources), columns), np.float32)
    places = np.flatnonzero(np.asarray(sources) != _NONE)
    matrix[places, np.asarray(sources)[places]] = 1.0
    return matrix


def _name(of: int, sources: Sequence[int]) -> str:
    """A name for where columns come from: runs of consecutive ones, and of zeros."""
    runs: list[list[int]] = []
    for source in sources:
        if runs and (source == runs[-1][1] + 1 if runs[-1][1] != _NONE else source == _NONE):
            runs[-1][1] = source
            runs[-1][2] += 1
        else:
            runs.append([source, source, 1])
    words = (f"zeros{count}" if last == _NONE else f"{first}to{last}" for first, last, count in runs)
    return f"moved_of_{of}_" + "_".join(words)
