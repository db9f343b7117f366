"""Interpreter of the tile operations along rows: elementwise bodies, norms, reductions, scalars, lookups.

Part of the machine reference (plena.interpreters.tile): the same roundings in the same order as on the machine, and
nothing of addresses or instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls
from xdsl.ir import SSAValue

from plena.dialects.plena_isa.transfer import ACTIVATIONS
from plena.dialects.tile import (
    ElementwiseOp,
    GatherRowsOp,
    MapScalarsOp,
    MaxRowsOp,
    NormalizeLaneGroupsOp,
    NormalizeRowsOp,
    PositiveLanesOp,
    ReduceRowsOp,
    ScatterRowsOp,
    ShiftOp,
    SoftmaxLaneGroupsOp,
    SpreadScalarsOp,
    SqrtRowsOp,
    SumRowsOp,
)
from plena.interpreters.row_maximum import row_maximum
from plena.interpreters.tile_values import (
    Floats,
    Region,
    add_in_order,
    elementwise,
    exponential,
    in_chunks,
    panels_of,
)
from plena.machine.number_formats import bf16_round
from plena.machine.target import Target


@register_impls
class RowFunctions(InterpreterFunctions):
    """Implements `tile.elementwise` and the operations of plena.dialects.tile.row_ops."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def _rows(self, region: Region, rows: int, start: int) -> Floats:
        """Rows that follow each other from an offset on, as a view."""
        vlen = self.target.vlen
        return region.rows(rows, vlen, vlen, start)

    def _blocks(self, region: Region, size: tuple[int, int], pitch: int) -> list[Floats]:
        """The rows of each column block, as views; `size` is rows and blocks."""
        return [self._rows(region, size[0], block * pitch) for block in range(size[1])]

    def _row(self, region: Region, number: int = 0) -> Floats:
        return region.rows(1, 1, self.target.vlen, number * self.target.vlen)[0]

    @impl(ElementwiseOp)
    def run_elementwise(
        self, interpreter: Interpreter, op: ElementwiseOp, args: PythonValues
    ) -> PythonValues:
        vlen, (rows, blocks) = self.target.vlen, op.size
        scalars = {value: _number(interpreter.get_values((value,))[0]) for value in op.scalars}
        outs, inputs = op.out_panels, op.in_panels
        for block in range(blocks):
            views = [
                region.rows(rows, p.row, vlen, block * p.block)
                for region, p in zip(args, (*outs, *inputs), strict=False)
            ]
            values: dict[SSAValue, Any] = dict(zip(op.body.block.args, views[len(outs) :], strict=True))
            values.update(scalars)
            for step in op.steps:
                right = None if step.b is None else values[step.b]
                values[step.result] = bf16_round(elementwise(step.kind.data, values[step.a], right))
            for view, value in zip(views, op.yielded, strict=False):
                view[:] = values[value]
        return ()

    @impl(NormalizeRowsOp)
    def run_normalize_rows(
        self, interpreter: Interpreter, op: NormalizeRowsOp, args: PythonValues
    ) -> PythonValues:
        panels = panels_of(op, args)
        blocks = [block.copy() for block in self._blocks(panels["x"], (op.rows, op.blocks), op.x_block)]
        mask = self._row(panels["mask"]) if "mask" in panels else None
        if op.kind == "layer":
            total = (
                _sum_of_blocks(blocks) if op.summing else _row_sum(_add_blocks(blocks, mask, chunk=op.chunk))
            )
            mean = bf16_round(total * _number(panels["inverse"]))
            blocks = [bf16_round(block - mean[:, None]) for block in blocks]
            if mask is not None:
                blocks[-1] = bf16_round(blocks[-1] * mask)
        squares = [bf16_round(block * block) for block in blocks]
        if op.summing:
            factor = _root(_sum_of_blocks(squares, _number(panels["eps"])), panels)
        else:
            factor = _factor(_add_squares(squares, mask, op.chunk), panels)
        for out, block in zip(
            self._blocks(panels["out"], (op.rows, op.blocks), op.out_block), blocks, strict=True
        ):
            out[:] = bf16_round(block * factor[:, None])
        return ()

    @impl(NormalizeLaneGroupsOp)
    def run_normalize_lane_groups(
        self, interpreter: Interpreter, op: NormalizeLaneGroupsOp, args: PythonValues
    ) -> PythonValues:
        panels = panels_of(op, args)
        masks = [self._row(panels["masks"], g) for g in range(op.groups)]
        outs = self._blocks(panels["out"], (op.rows, op.blocks), op.out_block)
        for out, x in zip(outs, self._blocks(panels["x"], (op.rows, op.blocks), op.x_block), strict=True):
            values = x.copy()
            if op.kind == "layer":
                sums = [_row_sum(bf16_round(values * mask)) for mask in masks]
                means = [bf16_round(s * _number(panels["inverse"])) for s in sums]
                values = bf16_round(values - _spread(means, masks))
            squares = bf16_round(values * values)
            factors = _spread([_factor(bf16_round(squares * mask), panels) for mask in masks], masks)
            out[:] = bf16_round(values * factors)
        return ()

    @impl(SoftmaxLaneGroupsOp)
    def run_softmax_lane_groups(
        self, interpreter: Interpreter, op: SoftmaxLaneGroupsOp, args: PythonValues
    ) -> PythonValues:
        panels = panels_of(op, args)
        floor = _number(panels["floor"])
        for x in self._blocks(panels["x"], (op.rows, op.blocks), op.block):
            result = np.zeros_like(x)
            for g in range(op.groups):
                hidden = bf16_round(x + self._row(panels["hide"], g))
                maximum = np.maximum(hidden.max(axis=1), floor)
                weights = exponential(bf16_round(hidden - maximum[:, None]))
                weights = bf16_round(weights * self._row(panels["masks"], g))
                factor = bf16_round(np.float32(1) / _row_sum(weights))
                result = bf16_round(result + bf16_round(weights * factor[:, None]))
            x[:] = result
        return ()

    @impl(PositiveLanesOp)
    def run_positive_lanes(
        self, interpreter: Interpreter, op: PositiveLanesOp, args: PythonValues
    ) -> PythonValues:
        panels, size = panels_of(op, args), (op.rows, op.blocks)
        given = self._blocks(panels["x"], size, op.x_block)
        for out, x in zip(self._blocks(panels["out"], size, op.out_block), given, strict=True):
            out[:] = np.maximum(x, 0)
        return ()

    @impl(ReduceRowsOp)
    def run_reduce_rows(self, interpreter: Interpreter, op: ReduceRowsOp, args: PythonValues) -> PythonValues:
        panels = panels_of(op, args)
        blocks = self._blocks(panels["x"], (op.rows, op.blocks), op.block)
        mask = self._row(panels["mask"]) if "mask" in panels else None
        if op.kind == "sum":
            up = self.target.vlen - op.lanes if op.lanes else 0
            result = _row_sum(_add_blocks(blocks, mask, up, op.chunk))
        else:
            if mask is not None:
                blocks = [bf16_round(blocks[-1] + mask), *blocks[:-1]]
            start = np.full(op.rows, _number(panels["floor"]), np.float32)
            result = row_maximum(blocks, start)
        panels["scalars"].rows(op.rows, max(1, op.scalars_row), 1)[:, 0] = result
        return ()

    @impl(SumRowsOp)
    def run_sum_rows(self, interpreter: Interpreter, op: SumRowsOp, args: PythonValues) -> PythonValues:
        panels = panels_of(op, args)
        for block in range(op.blocks):
            sums = in_chunks(self._rows(panels["x"], op.rows, block * op.x_block), op.chunk)
            out = panels["out"].at(block * op.out_block)
            self._row(out)[:] = add_in_order(sums)
        return ()

    @impl(MaxRowsOp)
    def run_max_rows(self, interpreter: Interpreter, op: MaxRowsOp, args: PythonValues) -> PythonValues:
        panels = panels_of(op, args)
        scale, one = (_number(panels[name]) for name in ("scale", "one"))
        for block in range(op.blocks):
            rows = self._rows(panels["x"], op.rows, block * op.x_block)
            maximum = rows[0].copy()
            for row in rows[1:]:
                first = bf16_round(bf16_round(row - maximum) * scale)
                first = np.minimum(np.maximum(first, np.float32(0)), one)
                maximum = bf16_round(bf16_round(row * first) + bf16_round(maximum * bf16_round(one - first)))
            self._row(panels["out"].at(block * op.out_block))[:] = maximum
        return ()

    @impl(SqrtRowsOp)
    def run_sqrt_rows(self, interpreter: Interpreter, op: SqrtRowsOp, args: PythonValues) -> PythonValues:
        panels = panels_of(op, args)
        half, most = (_number(panels[name]) for name in ("half", "most"))
        least = None if op.least is None else _number(panels["least"])
        outs = self._blocks(panels["out"], (op.rows, op.blocks), op.out_block)
        for out, x in zip(outs, self._blocks(panels["x"], (op.rows, op.blocks), op.x_block), strict=True):
            root = np.minimum(x, most)
            root = root if least is None else np.maximum(root, least)
            for _ in range(op.steps):
                quotient = bf16_round(bf16_round(np.float32(1) / root) * x)
                root = bf16_round(bf16_round(root + quotient) * half)
            out[:] = root
        return ()

    @impl(ShiftOp)
    def run_shift(self, interpreter: Interpreter, op: ShiftOp, args: PythonValues) -> PythonValues:
        panels, lanes = panels_of(op, args), op.lanes
        outs = self._blocks(panels["out"], (op.rows, op.blocks), op.out_block)
        for out, x in zip(outs, self._blocks(panels["x"], (op.rows, op.blocks), op.x_block), strict=True):
            moved = np.zeros_like(x)
            moved[:, lanes:] = x[:, : x.shape[1] - lanes]
            out[:] = moved
        return ()

    @impl(MapScalarsOp)
    def run_map_scalars(self, interpreter: Interpreter, op: MapScalarsOp, args: PythonValues) -> PythonValues:
        panels = panels_of(op, args)
        steps = {"out": op.out_step, "a": op.a_step, "b": op.b_step}
        at = {name: region.rows(op.count, steps[name], 1)[:, 0] for name, region in panels.items()}
        at["out"][:] = _scalar(op.kind, at["a"].copy(), at.get("b"))
        return ()

    @impl(SpreadScalarsOp)
    def run_spread_scalars(
        self, interpreter: Interpreter, op: SpreadScalarsOp, args: PythonValues
    ) -> PythonValues:
        panels, vlen = panels_of(op, args), self.target.vlen
        out = panels["out"].rows(op.rows, vlen, vlen)
        scalars = panels["scalars"].rows(op.rows, op.scalars_row, max(1, op.groups))
        if "masks" not in panels:
            out[:] = scalars[:, :1]
            return ()
        groups = range(op.groups)
        out[:] = _spread([scalars[:, g] for g in groups], [self._row(panels["masks"], g) for g in groups])
        return ()

    @impl(ScatterRowsOp)
    def run_scatter_rows(
        self, interpreter: Interpreter, op: ScatterRowsOp, args: PythonValues
    ) -> PythonValues:
        dst, src, offsets = args
        vlen, number_format = self.target.vlen, self.target.precision[ACTIVATIONS[op.kv != 0]]
        pitch = vlen * max(1, number_format.element_bits // 8)
        for r, start in enumerate(offsets.rows(1, 1, op.rows)[0].astype(np.int64).tolist()):
            rows = src.rows(op.blocks, vlen, vlen, r * op.blocks * vlen)
            dst.rows(op.blocks, pitch, vlen, start)[:] = number_format.quantize(rows)
        return ()

    @impl(GatherRowsOp)
    def run_gather_rows(self, interpreter: Interpreter, op: GatherRowsOp, args: PythonValues) -> PythonValues:
        dst, table, offsets = args
        vlen, rows = self.target.vlen, op.rows
        starts = offsets.rows(1, 1, rows)[0].astype(np.int64)
        for block in range(op.blocks):
            out = dst.rows(rows, vlen, vlen, block * op.dst_block)
            for row, start in zip(out, starts.tolist(), strict=True):
                row[:] = bf16_round(table.rows(1, 1, vlen, start + block * op.table_block)[0])
        return ()


def _add_blocks(blocks: list[Floats], mask: Floats | None, up: int = 0, chunk: int = 0) -> Floats:
    """The sum of the column blocks, the last one first, masked or moved up by so many lanes; last of all in chunks."""
    last = blocks[-1]
    if up:
        last = np.zeros_like(last)
        last[:, up:] = blocks[-1][:, :-up]
    elif mask is not None:
        last = bf16_round(last * mask)
    changed, others = ([last], blocks[:-1]) if up or mask is not None else ([], blocks)
    if not chunk:
        return add_in_order([*changed, *others])
    return add_in_order([*in_chunks(others, chunk), *changed])


def _add_squares(squares: list[Floats], mask: Floats | None, chunk: int) -> Floats:
    """The first one, or the masked last one, then the others one by one or in chunks."""
    first, others = (squares[0], squares[1:]) if mask is None else (squares[-1], squares[:-1])
    if mask is not None:
        first = bf16_round(first * mask)
    return add_in_order([first, *(in_chunks(others, chunk) if chunk else others)])


def _row_sum(rows: Floats) -> Floats:
    return bf16_round(rows.sum(axis=1, dtype=np.float32))


def _sum_of_blocks(blocks: list[Floats], start: float = 0.0) -> Floats:
    """The sums of rows, block by block on top of a number."""
    total: Floats = np.full(len(blocks[0]), start, np.float32)
    for block in blocks:
        total = bf16_round(total + block.sum(axis=1, dtype=np.float32))
    return total


def _number(word: Region) -> Any:
    return word.rows(1, 1, 1)[0, 0]


def _factor(squares: Floats, panels: dict[str, Region]) -> Floats:
    """1 / sqrt(inverse * (eps + the sums of rows of squares))."""
    return _root(bf16_round(_number(panels["eps"]) + squares.sum(axis=1, dtype=np.float32)), panels)


def _root(total: Floats, panels: dict[str, Region]) -> Floats:
    """1 / sqrt(inverse * total)."""
    root = bf16_round(np.sqrt(bf16_round(total * _number(panels["inverse"]))))
    return bf16_round(np.float32(1) / root)


def _spread(scalars: list[Floats], masks: list[Floats]) -> Floats:
    """The masks times one word per row each, added up."""
    return add_in_order([bf16_round(mask * word[:, None]) for word, mask in zip(scalars, masks, strict=True)])


def _scalar(kind: str, a: Floats, b: Any) -> Floats:
    match kind:
        case "exp":
            return exponential(a)
        case "sqrt":
            return bf16_round(np.sqrt(a))
        case _:
            return bf16_round(elementwise(kind, a, b))
