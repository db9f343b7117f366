"""`fuse-elementwise`: chains of elementwise operations become one pass over the rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

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
    chains: dict[Operation, _Chain] = {}
    made: set[SSAValue] = set()
    for op in block.ops:
        if isinstance(op, ForOp):
            _fuse_in(op.body.block, module)
        if isinstance(op, ElementwiseOp):
            chain = chains[op] = _Chain.of(op)
            while (first := _producer(chain, chains, made)) is not None and chain.takes(first, chains):
                pass
            made.update(_roots(chain.outs))
    for op, chain in list(chains.items()):
        if op is chain.last and len(chain.members) > 1:
            _fuse(chain, module)


@dataclass
class _Chain:
    """Operations that become one in the place of the last. They stay where they are until all chains are known.

    Attributes:
        members: in the order in which they run; none but the last counts any more for what stands between others.
        inputs, outs: the panels of the whole.
        touched: the buffers that the whole has to do with.
    """

    members: list[ElementwiseOp]
    inputs: tuple[PanelRows, ...]
    outs: tuple[PanelRows, ...]
    touched: set[SSAValue]

    @staticmethod
    def of(op: ElementwiseOp) -> _Chain:
        """An operation alone."""
        return _Chain([op], op.in_panels, op.out_panels, {_root(value) for _, value in op.buffers()})

    @property
    def last(self) -> ElementwiseOp:
        """The operation whose place the whole takes."""
        return self.members[-1]

    def takes(self, first: _Chain, chains: dict[Operation, _Chain]) -> bool:
        """Puts another chain in front, unless their rows do not match."""
        made = {_root(panel.buffer): panel for panel in first.outs}
        for panel in self.inputs:
            if made.get(_root(panel.buffer), panel) != panel:
                return False
        for panel in self.outs:
            # What the first one writes overlaps none of its inputs, unless it is one.
            written = panel in first.outs
            others = (read for read in first.inputs if read != panel and not written)
            if any(_root(panel.buffer) == _root(read.buffer) for read in others):
                return False
            if made.get(_root(panel.buffer), panel) != panel:
                return False
        self.members = [*first.members, *self.members]
        for op in first.members:
            chains[op] = self
        kept = [p for p in first.outs if p not in self.outs and self._is_read_elsewhere(p, chains)]
        inputs = [*first.inputs, *(p for p in self.inputs if p not in first.outs)]
        self.inputs, self.outs = tuple(dict.fromkeys(inputs)), (*kept, *self.outs)
        self.touched = _roots((*self.inputs, *self.outs))
        return True

    def _is_read_elsewhere(self, panel: PanelRows, chains: dict[Operation, _Chain]) -> bool:
        """Whether anything but the chain has to do with a buffer."""
        owner, _ = root_of(panel.buffer)
        if isinstance(owner, ConstantOp) or owner.placements is not None:
            return True
        for user in _users(owner.buffer):
            chain = chains.get(user)
            if chain is None or (chain is not self and owner.buffer in chain.touched):
                return True
        return False


def _fuse(chain: _Chain, module: ModuleOp) -> None:
    """The operations of a chain as one."""
    region: Region = ElementwiseOp.empty_body(len(chain.inputs))
    body = region.block
    values: dict[PanelRows, SSAValue] = dict(zip(chain.inputs, body.args, strict=True))
    for op in chain.members:
        values.update(zip(op.out_panels, _write(op, body, values), strict=True))
    body.add_op(LanesYieldOp(*(values[panel] for panel in chain.outs)))
    plan = plan_rows(body, chain.outs, chain.inputs)
    scratch = _scratch(module, plan.scratch) if plan.scratch else None
    last = chain.last
    fused = ElementwiseOp(chain.outs, chain.inputs, scratch, last.size, region, dict(last.attributes))
    Rewriter.insert_op(fused, InsertPoint.before(last))
    for old in reversed(chain.members):
        old.detach()
        old.erase()


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


def _producer(chain: _Chain, chains: dict[Operation, _Chain], made: set[SSAValue]) -> _Chain | None:
    """The chain before that makes one of the inputs and can move down to their reader.

    Args:
        made: what elementwise operations before it in its block write. Long blocks are why the search ends as soon as
            something between has to do with each of them that the chain reads: no maker of those can move.
    """
    reads = _roots(chain.inputs)
    free = reads & made
    touched: set[SSAValue] = set()
    written: set[SSAValue] = set()
    op = chain.last.prev_op
    while op is not None and free:
        other = chains.get(op)
        if other is None:
            for inner in op.walk():
                if isinstance(inner, TileOp):
                    for name, value in inner.buffers():
                        root = _root(value)
                        touched.add(root)
                        free.discard(root)
                        if isinstance(inner, ElementwiseOp) or name in inner.WRITES:
                            written.add(root)
        elif op is other.last:
            outs = _roots(other.outs)
            if outs & reads:
                movable = not outs & touched and not _roots(other.inputs) & written
                return other if movable and other.last.size == chain.last.size else None
            touched |= other.touched
            written |= other.touched
            free -= other.touched
        op = op.prev_op
    return None


def _roots(panels: Iterable[PanelRows]) -> set[SSAValue]:
    return {_root(panel.buffer) for panel in panels}


def _root(value: SSAValue) -> SSAValue:
    owner = value.owner
    while isinstance(owner, ViewOp):
        value = owner.source
        owner = value.owner
    return value


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
