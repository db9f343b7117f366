"""`fuse-elementwise`: chains of elementwise operations become one pass over the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp, ForOp
from plena.dialects.tile import (
    BufferOp,
    ConstantOp,
    ElementwiseOp,
    LanesYieldOp,
    LanewiseOp,
    PanelRows,
    TileOp,
    ViewOp,
    root_of,
)
from plena.instructions.row_plan import plan_rows
from plena.machine.target import Target


@dataclass(frozen=True)
class FuseElementwise(ModulePass):
    """Merges an elementwise operation into the next one that reads its result row by row.

    The first one moves down to the second past operations that have nothing to do with its panels. What nothing else
    reads is no longer written.

    Before::

        builtin.module {
          %x = tile.buffer @x [4096] : !tile.buffer<vector>
          %y = tile.buffer @y [4096] : !tile.buffer<vector>
          %c = tile.constant [3.000000e+00 : f64]
          tile.elementwise rows = 64 blocks = 1 out(%y[64, 4096]) in(%x[64, 4096]) {
          ^bb0(%a: !tile.lanes):
            %0 = tile.lanewise "mul" %a, %c : !tile.buffer<fp>
            tile.yield %0
          }
          tile.elementwise rows = 64 blocks = 1 out(%x[64, 4096]) in(%y[64, 4096]) {
          ^bb0(%a_1: !tile.lanes):
            %1 = tile.lanewise "exp" %a_1
            tile.yield %1
          }
        }

    After::

        builtin.module {
          %x = tile.buffer @x [4096] : !tile.buffer<vector>
          %c = tile.constant [3.000000e+00 : f64]
          tile.elementwise rows = 64 blocks = 1 out(%x[64, 4096]) in(%x[64, 4096]) {
          ^bb0(%0: !tile.lanes):
            %1 = tile.lanewise "mul" %0, %c : !tile.buffer<fp>
            %2 = tile.lanewise "exp" %1
            tile.yield %2
          }
        }
    """

    name = "fuse-elementwise"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        _fuse_in(op.body.block, op)
        _drop_unused(op)


def _fuse_in(block: Block, module: ModuleOp) -> None:
    made: set[SSAValue] = set()
    op = block.first_op
    while op is not None:
        following = op.next_op
        if isinstance(op, ForOp):
            _fuse_in(op.body.block, module)
        second = op if isinstance(op, ElementwiseOp) else None
        while second is not None:
            first = _producer(second, made)
            fused = None if first is None else _fused(first, second, module)
            if fused is None:
                made.update(_root(value) for value in second.outs)
            second = fused
        op = following


def _write(op: ElementwiseOp, body: Block, values: dict[PanelRows, SSAValue]) -> list[SSAValue]:
    """Appends the steps of an operation to a body whose rows are `values`; the rows for its outputs."""
    rows = [values[panel] for panel in op.in_panels]
    mapping: dict[SSAValue, SSAValue] = dict(zip(op.body.block.args, rows, strict=True))
    for step in op.steps:
        b = None if step.b is None else mapping.get(step.b, step.b)
        copy = LanewiseOp(step.kind.data, mapping[step.a], b)
        body.add_op(copy)
        mapping[step.result] = copy.result
    return [mapping[value] for value in op.yielded]


def _producer(second: ElementwiseOp, made: set[SSAValue]) -> ElementwiseOp | None:
    """The elementwise operation before that makes one of the inputs and can move down to their reader.

    Args:
        made: what elementwise operations before it in its block write. Long blocks are why the search ends as soon as
            something between has to do with each of them that the operation reads: no maker of those can move.
    """
    reads = {_root(value) for value in second.inputs}
    free = reads & made
    touched: set[SSAValue] = set()
    written: set[SSAValue] = set()
    op = second.prev_op
    while op is not None and free:
        outs = {_root(value) for value in op.outs} if isinstance(op, ElementwiseOp) else set[SSAValue]()
        if isinstance(op, ElementwiseOp) and outs & reads:
            inputs = {_root(value) for value in op.inputs}
            movable = not outs & touched and not inputs & written
            return op if movable and op.size == second.size else None
        for inner in op.walk():
            if isinstance(inner, TileOp):
                for name, value in inner.buffers():
                    root = _root(value)
                    touched.add(root)
                    free.discard(root)
                    if isinstance(inner, ElementwiseOp) or name in inner.WRITES:
                        written.add(root)
        op = op.prev_op
    return None


def _root(value: SSAValue) -> SSAValue:
    owner = value.owner
    while isinstance(owner, ViewOp):
        value = owner.source
        owner = value.owner
    return value


def _fused(first: ElementwiseOp, second: ElementwiseOp, module: ModuleOp) -> ElementwiseOp | None:
    """Both operations as one in the place of the second, None if their rows do not match."""
    first_outs, first_inputs = first.out_panels, first.in_panels
    second_outs, second_inputs = second.out_panels, second.in_panels
    made = {_root(panel.buffer): panel for panel in first_outs}
    for panel in second_inputs:
        if made.get(_root(panel.buffer), panel) != panel:
            return None
    for panel in second_outs:
        if any(_root(panel.buffer) == _root(read.buffer) and panel != read for read in first_inputs):
            return None
        if made.get(_root(panel.buffer), panel) != panel:
            return None
    kept = [
        panel for panel in first_outs if panel not in second_outs and _is_read_elsewhere(panel, first, second)
    ]
    inputs = tuple(dict.fromkeys([*first_inputs, *(p for p in second_inputs if p not in first_outs)]))
    region: Region = ElementwiseOp.empty_body(len(inputs))
    body = region.block
    values: dict[PanelRows, SSAValue] = dict(zip(inputs, body.args, strict=True))
    results = dict(zip(first_outs, _write(first, body, values), strict=True))
    yields = [*(results[panel] for panel in kept), *_write(second, body, {**values, **results})]
    body.add_op(LanesYieldOp(*yields))
    outs = (*kept, *second_outs)
    plan = plan_rows(body, outs, inputs)
    scratch = _scratch(module, plan.scratch) if plan.scratch else None
    fused = ElementwiseOp(outs, inputs, scratch, second.size, region, dict(second.attributes))
    block = second.parent_block()
    assert block is not None
    block.insert_op_before(fused, second)
    for old in (second, first):
        old.detach()
        old.erase()
    return fused


def _is_read_elsewhere(panel: PanelRows, first: ElementwiseOp, second: ElementwiseOp) -> bool:
    """Whether anything but the two operations has to do with a buffer."""
    owner, _ = root_of(panel.buffer)
    if isinstance(owner, ConstantOp) or owner.placements is not None:
        return True
    return any(user not in (first, second) for user in _users(owner.buffer))


def _users(buffer: SSAValue) -> Iterator[Operation]:
    for use in buffer.uses:
        if isinstance(use.operation, ViewOp):
            yield from _users(use.operation.view)
        else:
            yield use.operation


def _scratch(module: ModuleOp, rows: int) -> SSAValue:
    """A new buffer of some rows."""
    block = module.body.block
    taken = {op.symbol.data for op in block.ops if isinstance(op, BufferOp)}
    number = next(n for n in range(len(taken) + 1) if f"fused_row_{n}" not in taken)
    op = BufferOp(f"fused_row_{number}", "vector", rows * Target.from_module(module).vlen)
    assert block.first_op is not None
    block.insert_op_before(op, block.first_op)
    return op.buffer


def _drop_unused(module: ModuleOp) -> None:
    """Erases what only fused operations needed: views, address arithmetic, buffers."""
    anchors = {op.anchor.data for op in module.walk() if isinstance(op, BufferOp) and op.anchor is not None}
    for op in reversed(list(module.walk())):
        unused = isinstance(op, ViewOp | AffineOp)
        if isinstance(op, BufferOp):
            unused = op.placements is None and op.anchor is None and op.symbol.data not in anchors
        if unused and not any(result.first_use for result in op.results):
            op.detach()
            op.erase()


__all__ = ["FuseElementwise"]
