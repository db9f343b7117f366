"""Reshapes and rearrangements of computed matrices: parts of rows become rows of their own, and the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod

from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import ExpandOp, RearrangeOp, ReshapeOp
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import shape_of
from plena.integers import ceil_div
from plena.kernels.context import KernelContext
from plena.kernels.lanes import Lanes, emit_elementwise, rows_of
from plena.kernels.movement import copy_rows, packed_panel
from plena.kernels.operands import parts_operand
from plena.kernels.selection import selected, spread_out
from plena.kernels.tensors import Panel, Scalars


def rearrange_computed(op: RearrangeOp | ReshapeOp, ctx: KernelContext) -> None:
    """A reshape or rearrangement whose last factor stays last.

    Raises:
        CompileError: elements of a row are exchanged with elements of other rows one by one.
    """
    shape, result = shape_of(op.input), shape_of(op.result)
    location = ctx.locations[op.input]
    if isinstance(op, ReshapeOp) and isinstance(location, Scalars) and len(result) == 2:
        ctx.set(op.result, Scalars(location.buffer, *result))
        return
    if isinstance(op, ReshapeOp) and shape[-1] == result[-1]:
        panel = ctx.panel(op.input)
        ctx.shared.add(panel.buffer)
        ctx.set(op.result, panel)
        return
    if len(shape) != 2 or len(result) != 2:
        raise refusal(
            op,
            "only matrices are rearranged on the machine",
            "Rearrange what the host stages (inputs and parameters), or results.",
        )
    if isinstance(op, ReshapeOp):
        factors, order = _common_factors(shape, result)
    else:
        factors, order = tuple(op.factors.get_values()), tuple(op.order.get_values())
    if not factors or order[-1] != len(factors) - 1:
        raise refusal(
            op,
            "rows and columns of a computed matrix cannot be exchanged",
            "Compute it transposed, or transpose inputs, parameters or results, which the host does.",
        )
    ctx.set(op.result, _Rearrangement.of(op, ctx, factors, order).run())


def _common_factors(
    shape: tuple[int, ...], result: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A reshape as factors that both shapes are products of: rows cut into parts, or joined; none if it is neither."""
    narrow, wide = min(shape[1], result[1]), max(shape[1], result[1])
    if wide % narrow:
        return (), ()
    return (prod(shape) // wide, wide // narrow, narrow), (0, 1, 2)


def _split_at_rows(
    op: Operation, factors: Sequence[int], order: Sequence[int], columns: int, result_columns: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The same movement with every factor inside one row or a number of whole rows, before and after it."""
    factors, order = tuple(factors), tuple(order)
    if min(columns, result_columns) == 1 < factors[-1]:
        factors, order = (*factors, 1), (*order, len(order))
    axis = 0
    while axis < len(factors):
        permuted = [factors[i] for i in order]
        strides = (prod(factors[axis + 1 :]), prod(permuted[order.index(axis) + 1 :]))
        for stride, width in zip(strides, (columns, result_columns), strict=True):
            if stride < width < stride * factors[axis]:
                inner = width // stride
                if width % stride or factors[axis] % inner:
                    raise refusal(
                        op,
                        "a part of a row begins in the middle of another",
                        "Use sizes of the last axis that divide one another.",
                    )
                factors = (*factors[:axis], factors[axis] // inner, inner, *factors[axis + 1 :])
                order = tuple(n for i in order for n in ((i, i + 1) if i == axis else (i + (i > axis),)))
                break
        else:
            axis += 1
    return factors, order


@dataclass(frozen=True)
class _Factor:
    """One factor of a rearrangement: its size, and what one step of it means in rows or columns on both sides."""

    size: int
    source_row: int
    source_column: int
    result_row: int
    result_column: int


@dataclass(frozen=True)
class _Rearrangement:
    op: Operation
    ctx: KernelContext
    source: Panel
    columns: int
    size: int
    outer: tuple[_Factor, ...]

    @staticmethod
    def of(op: Operation, ctx: KernelContext, factors: Sequence[int], order: Sequence[int]) -> _Rearrangement:
        """The factors' distances; those before the last are rows or whole multiples of the last in columns."""
        source = packed_panel(ctx, op, ctx.panel(op.operands[0]))
        columns = shape_of(op.results[0])[1]
        factors, order = _split_at_rows(op, factors, order, source.columns, columns)
        permuted = [factors[i] for i in order]
        outer: list[_Factor] = []
        for axis, size in enumerate(factors[:-1]):
            before = prod(factors[axis + 1 :])
            after = prod(permuted[order.index(axis) + 1 :])
            rows = [(d // width, d % width) for d, width in ((before, source.columns), (after, columns))]
            if any(row and column for row, column in rows):
                raise refusal(
                    op,
                    "a part of a row begins in the middle of another",
                    "Use sizes of the last axis that divide one another.",
                )
            outer.append(_Factor(size, *rows[0], *rows[1]))
        return _Rearrangement(op, ctx, source, columns, factors[-1], tuple(outer))

    def run(self) -> Panel:
        """Copies where parts of rows are whole column blocks, else by selecting every part."""
        vlen = self.ctx.target.vlen
        total = self.source.rows * self.source.columns // self.columns
        moves = [f for f in self.outer if f.source_column or f.result_column]
        if self.size % vlen == 0 or not moves:
            result = self.ctx.new_panel("rearranged", total, self.columns)
            self._copy(self.source, result, self.outer)
            return result
        return self._by_products(total)

    def _copy(self, source: Panel, result: Panel, factors: Sequence[_Factor]) -> None:
        """Loops over all factors but the one with most rows, which the copy itself runs over."""
        ctx, vlen = self.ctx, self.ctx.target.vlen
        inner = max((f for f in factors if f.source_row and f.result_row), key=lambda f: f.size, default=None)
        at_source, at_result = Linear(), Linear()
        with ExitStack() as loops:
            for factor in factors:
                if factor is not inner:
                    index = loops.enter_context(ctx.builder.loop(factor.size))
                    source_step = factor.source_row * vlen + factor.source_column // vlen * source.block
                    result_step = factor.result_row * vlen + factor.result_column // vlen * result.block
                    at_source, at_result = at_source + index * source_step, at_result + index * result_step
            rows, steps = (1, (1, 1)) if inner is None else (inner.size, (inner.source_row, inner.result_row))
            blocks = ceil_div(self.size, vlen)
            copy_rows(ctx, (source, at_source, steps[0]), (result, at_result, steps[1]), rows, blocks)

    def _by_products(self, total: int) -> Panel:
        """Part by part: its columns are selected or put in place by a product, its rows copied."""
        ctx, vlen = self.ctx, self.ctx.target.vlen
        moves = [f for f in self.outer if f.source_column or f.result_column]
        rows_only = [f for f in self.outer if not (f.source_column or f.result_column)]
        if len(moves) != 1:
            raise refusal(
                self.op,
                "parts of rows move between several axes",
                "Rearrange in two steps, with one axis moved in each.",
            )
        (move,) = moves
        if move.source_column and move.result_column:
            raise refusal(
                self.op,
                "parts of rows are exchanged within rows",
                "Permute the rows of the weights before it instead, or keep these axes in order.",
            )
        if move.source_column:
            result = ctx.new_panel("rearranged", total, self.columns)
            for index in range(move.size):
                first = index * move.source_column
                part = selected(ctx, self.op, self.source, range(first, first + self.size))
                self._copy_part(part, Linear(), result, Linear(index * move.result_row * vlen), rows_only)
            return result
        result: Panel | None = None
        for index in range(move.size):
            part = ctx.new_panel("part", total, self.size)
            self._copy_part(self.source, Linear(index * move.source_row * vlen), part, Linear(), rows_only)
            first = index * move.result_column
            placed = spread_out(ctx, self.op, part, range(first, first + self.size), self.columns)
            if result is None:
                result = placed
                continue
            both = [rows_of(ctx, result), rows_of(ctx, placed)]
            emit_elementwise(
                ctx,
                both[:1],
                both,
                (total, result.blocks(vlen)),
                lambda lanes: lanes.apply("add", *lanes.inputs),
            )
        assert result is not None
        return result

    def _copy_part(
        self, source: Panel, at_source: Linear, result: Panel, at_result: Linear, factors: Sequence[_Factor]
    ) -> None:
        """The rows of one part: those of `source` from one element on to those of `result` from another on."""
        ctx = self.ctx
        shifted = [
            Panel(
                ctx.builder.view(panel.buffer, first),
                panel.rows,
                1,
                panel.columns,
                panel.columns,
                panel.block,
            )
            for panel, first in ((source, at_source), (result, at_result))
        ]
        _Rearrangement._copy(self, shifted[0], shifted[1], factors)


def expand_computed(op: ExpandOp, ctx: KernelContext) -> None:
    """One axis of a matrix or of rows [*groups, 1, columns] repeated.

    Raises:
        CompileError: any other expansion.
    """
    result = shape_of(op.result)
    shape = (1,) * (len(result) - len(shape_of(op.input))) + shape_of(op.input)
    axes = [axis for axis, (n, m) in enumerate(zip(shape, result, strict=True)) if n != m]
    last = len(result) - 1
    if len(axes) != 1 or axes[0] not in (last, last - 1):
        raise refusal(
            op,
            "a computed tensor is repeated along several axes, or not along one of the last two",
            "Repeat along one axis at a time, the last or the one before it, or rely on broadcasting.",
        )
    panel = ctx.new_panel("expanded", prod(result[:-1]), result[-1])
    vlen, groups = ctx.target.vlen, prod(result[:-2])
    if axes[0] == last:
        source = parts_operand(ctx, op, op.input, panel)
        emit_elementwise(ctx, [rows_of(ctx, panel)], [source], (panel.rows, panel.blocks(vlen)), _copy)
    else:
        repeated = packed_panel(ctx, op, ctx.panel(op.input))
        with ctx.builder.loop(groups) as group:
            first = group * (result[-2] * vlen)
            copy_rows(ctx, (repeated, group * vlen, 0), (panel, first, 1), result[-2], panel.blocks(vlen))
    ctx.set(op.result, panel)


def _copy(lanes: Lanes) -> SSAValue:
    return lanes.apply("copy", lanes.inputs[0])
