"""Reshapes and rearrangements of computed matrices: parts of rows become rows of their own, and the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import gcd, prod

from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import ExpandOp, RearrangeOp, ReshapeOp
from plena.dialects.refusals import OperatorError, refusal
from plena.dialects.tensor_shapes import shape_of
from plena.integers import ceil_div, round_up
from plena.kernels.context import KernelContext
from plena.kernels.empty_lanes import with_empty_gaps
from plena.kernels.lane_moves import relaid
from plena.kernels.lanes import rows_of
from plena.kernels.movement import copy_rows, packed_panel
from plena.kernels.numbers_to_lanes import numbers_to_lanes
from plena.kernels.operands import parts_operand
from plena.kernels.stored_operands import stored_block
from plena.kernels.tensors import Panel, Scalars
from plena.kernels.transposition import transposed


def rearrange_computed(op: RearrangeOp | ReshapeOp, ctx: KernelContext) -> None:
    """A reshape or rearrangement: parts of rows move, and where the last factor does not stay last a transposition.

    Raises:
        CompileError: see `transposed`; a part of a row begins in the middle of another.
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
    shape, result = (_as_rows(s) for s in (shape, result))
    if isinstance(op, ReshapeOp):
        factors, order = _common_factors(shape, result)
    else:
        factors, order = tuple(op.factors.get_values()), tuple(op.order.get_values())
    lanes = _numbers_as_lanes(op, ctx, shape[1] == 1, factors, order)
    if lanes is not None:
        ctx.set(op.result, lanes)
        return
    panel = packed_panel(ctx, op, ctx.panel(op.input))
    if not factors:
        part = gcd(shape[1], result[1])
        panel = _moved(op, ctx, panel, (shape[0], shape[1] // part, part), (0, 1, 2), part)
        factors, order = (result[0], result[1] // part, part), (0, 1, 2)
    if order[-1] != len(factors) - 1:
        panel, factors, order = _exchanged(op, ctx, op.input, panel, factors, order)
    ctx.set(op.result, _moved(op, ctx, panel, factors, order, result[1]))


def _numbers_as_lanes(
    op: RearrangeOp | ReshapeOp,
    ctx: KernelContext,
    column: bool,
    factors: tuple[int, ...],
    order: tuple[int, ...],
) -> Panel | None:
    """The result, of a column or of numbers in FP SRAM, whose last factor becomes rows first; None of anything else."""
    rows, columns = _as_rows(shape_of(op.result))
    if isinstance(op, ReshapeOp):
        there = column or isinstance(ctx.locations[op.input], Scalars)
        return numbers_to_lanes(ctx, op, op.input, rows, columns) if there else None
    if not column or order[-1] != len(order) - 1 or factors[-1] == 1:
        return None
    panel = numbers_to_lanes(ctx, op, op.input, prod(factors[:-1]), factors[-1])
    return None if panel is None else _moved(op, ctx, panel, factors, order, columns)


def _as_rows(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows of the last axis."""
    columns = shape[-1] if shape else 1
    return prod(shape) // columns, columns


def _exchanged(
    op: Operation,
    ctx: KernelContext,
    value: SSAValue,
    panel: Panel,
    factors: tuple[int, ...],
    order: tuple[int, ...],
) -> tuple[Panel, tuple[int, ...], tuple[int, ...]]:
    """The last factor exchanged with the one that becomes last, which rows and columns are cut for; what is left to do.

    The other factors take the order that they have in the result.
    """
    last, becomes = len(factors) - 1, order[-1]
    others = tuple(axis for axis in order[:-1] if axis != last)
    before = (*others, becomes, last)
    matrix = _moved(op, ctx, panel, factors, before, factors[last])
    if matrix.buffer == panel.buffer and factors[last] % stored_block(ctx):
        matrix = with_empty_gaps(ctx, value, matrix)
    groups = prod(factors[axis] for axis in others)
    turned = transposed(ctx, op, matrix, groups)
    now = (*others, last, becomes)
    return turned, tuple(factors[axis] for axis in now), tuple(now.index(axis) for axis in order)


def _moved(
    op: Operation,
    ctx: KernelContext,
    panel: Panel,
    factors: tuple[int, ...],
    order: tuple[int, ...],
    columns: int,
) -> Panel:
    """A rearrangement whose last factor stays last; nothing if it moves nothing."""
    if order == tuple(range(len(order))) and panel.columns == columns:
        return panel
    return _Rearrangement.of(op, ctx, panel, factors, order, columns).run()


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
                    raise _overlapping(op)
                factors = (*factors[:axis], factors[axis] // inner, inner, *factors[axis + 1 :])
                order = tuple(n for i in order for n in ((i, i + 1) if i == axis else (i + (i > axis),)))
                break
        else:
            axis += 1
    return factors, order


def _overlapping(op: Operation) -> OperatorError:
    return refusal(
        op,
        "a part of a row begins in the middle of another",
        "Use sizes of the last axis that divide one another.",
    )


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
    def of(
        op: Operation,
        ctx: KernelContext,
        source: Panel,
        factors: Sequence[int],
        order: Sequence[int],
        columns: int,
    ) -> _Rearrangement:
        """The factors' distances; those before the last are rows or whole multiples of the last in columns."""
        factors, order = _split_at_rows(op, factors, order, source.columns, columns)
        permuted = [factors[i] for i in order]
        outer: list[_Factor] = []
        for axis, size in enumerate(factors[:-1]):
            before = prod(factors[axis + 1 :])
            after = prod(permuted[order.index(axis) + 1 :])
            rows = [(d // width, d % width) for d, width in ((before, source.columns), (after, columns))]
            if any(row and column for row, column in rows):
                raise _overlapping(op)
            outer.append(_Factor(size, *rows[0], *rows[1]))
        return _Rearrangement(op, ctx, source, columns, factors[-1], tuple(outer))

    def run(self) -> Panel:
        """Copies of parts that are whole column blocks; others are moved to blocks of their own first, and back."""
        ctx, vlen = self.ctx, self.ctx.target.vlen
        total, pitch = self.source.rows * self.source.columns // self.columns, round_up(self.size, vlen)
        parts = (self.source.columns // self.size, self.columns // self.size)
        source = relaid(ctx, self.op, self.source, parts[0], pitch) if parts[0] > 1 else self.source
        result = ctx.new_panel("rearranged", total, self.columns, parts[1], pitch if parts[1] > 1 else 0)
        self._copy(source, result)
        return relaid(ctx, self.op, result, 1, self.columns)

    def _copy(self, source: Panel, result: Panel) -> None:
        """Loops over all factors but the one with most rows, which the copy itself runs over."""
        ctx, vlen = self.ctx, self.ctx.target.vlen
        inner = max(
            (f for f in self.outer if f.source_row and f.result_row), key=lambda f: f.size, default=None
        )
        blocks = ceil_div(self.size, vlen)
        at_source, at_result = Linear(), Linear()
        with ExitStack() as loops:
            for factor in self.outer:
                if factor is not inner:
                    index = loops.enter_context(ctx.builder.loop(factor.size))
                    parts = (factor.source_column // self.size, factor.result_column // self.size)
                    source_step = factor.source_row * vlen + parts[0] * blocks * source.block
                    result_step = factor.result_row * vlen + parts[1] * blocks * result.block
                    at_source, at_result = at_source + index * source_step, at_result + index * result_step
            rows, steps = (1, (1, 1)) if inner is None else (inner.size, (inner.source_row, inner.result_row))
            copy_rows(ctx, (source, at_source, steps[0]), (result, at_result, steps[1]), rows, blocks)


def expand_computed(op: ExpandOp, ctx: KernelContext) -> None:
    """One axis of rows [*groups, 1, *rows, columns] repeated, or the columns.

    Raises:
        CompileError: several axes are repeated.
    """
    result = shape_of(op.result)
    shape = (1,) * (len(result) - len(shape_of(op.input))) + shape_of(op.input)
    axes = [axis for axis, (n, m) in enumerate(zip(shape, result, strict=True)) if n != m]
    last = len(result) - 1
    if len(axes) != 1:
        raise refusal(
            op,
            "a computed tensor is repeated along several axes",
            "Repeat along one axis at a time, or rely on broadcasting.",
        )
    panel = ctx.new_panel("expanded", prod(result[:-1]), result[-1])
    vlen, groups, rows = ctx.target.vlen, prod(result[: axes[0]]), prod(result[axes[0] + 1 : -1])
    if axes[0] == last:
        source = parts_operand(ctx, op, op.input, panel)
        ctx.builder.map("copy", rows_of(ctx, panel), source, size=(panel.rows, panel.blocks(vlen)))
    else:
        repeated = packed_panel(ctx, op, ctx.panel(op.input))
        times, blocks = result[axes[0]], panel.blocks(vlen)
        with ctx.builder.loop(groups) as group:
            source, first = group * (rows * vlen), group * (times * rows * vlen)
            if rows == 1:
                copy_rows(ctx, (repeated, source, 0), (panel, first, 1), times, blocks)
            else:
                with ctx.builder.loop(times) as time:
                    place = first + time * (rows * vlen)
                    copy_rows(ctx, (repeated, source, 1), (panel, place, 1), rows, blocks)
    ctx.set(op.result, panel)
