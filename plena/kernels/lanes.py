"""Building elementwise operations: expressions on the lanes of rows, emitted as one tile operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import Region, SSAValue

from plena.dialects.tile import ElementwiseOp, LanesYieldOp, LanewiseOp, PanelRows
from plena.instructions.row_plan import plan_rows
from plena.kernels.context import KernelContext
from plena.kernels.fp_sram import number
from plena.kernels.tensors import Panel


class Lanes:
    """The body of an elementwise operation while it is written down; values are rows.

    `infinite` says that they may hold infinities, so that differences of equal numbers are not always 0.
    """

    def __init__(self, ctx: KernelContext, inputs: int, *, infinite: bool = False) -> None:
        self.ctx, self.infinite = ctx, infinite
        self.region: Region = ElementwiseOp.empty_body(inputs)

    @property
    def inputs(self) -> tuple[SSAValue, ...]:
        """One row of each input."""
        return tuple(self.region.block.args)

    def apply(self, kind: str, a: SSAValue, b: SSAValue | float | None = None) -> SSAValue:
        """One instruction: kind(a), kind(a, other row) or kind(a, number)."""
        operand = b if b is None or isinstance(b, SSAValue) else number(self.ctx, b)
        op = LanewiseOp(kind, a, operand)
        self.region.block.add_op(op)
        return op.result


Expression = Callable[[Lanes], "SSAValue | Sequence[SSAValue]"]
"""Writes a body down and gives the rows to write."""


def emit_elementwise(
    ctx: KernelContext,
    outs: Sequence[PanelRows],
    inputs: Sequence[PanelRows],
    size: tuple[int, int],
    expression: Expression,
    *,
    infinite: bool = False,
) -> None:
    """outs = expression(inputs) for `size` = rows, blocks; scratch rows are declared as the body needs them."""
    lanes = Lanes(ctx, len(inputs), infinite=infinite)
    result = expression(lanes)
    values = [result] if isinstance(result, SSAValue) else list(result)
    lanes.region.block.add_op(LanesYieldOp(*values))
    plan = plan_rows(lanes.region.block, outs, inputs)
    scratch = None
    if plan.scratch:
        scratch = ctx.builder.buffer("row", "vector", plan.scratch * ctx.target.vlen)
    ctx.builder.append(ElementwiseOp(outs, inputs, scratch, size, lanes.region, dict(ctx.builder.provenance)))


def rows_of(ctx: KernelContext, panel: Panel) -> PanelRows:
    """All rows of a panel."""
    return PanelRows(panel.buffer, ctx.target.vlen, panel.block)


def repeated_row(panel: Panel) -> PanelRows:
    """The first row of every column block of a panel, for all rows of another."""
    return PanelRows(panel.buffer, 0, panel.block)
