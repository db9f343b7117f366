"""`fuse-elementwise`: chains of elementwise operations become one pass over the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import count

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
        _fuse_in(op.body.block, _Scratch(op))
        _drop_unused(op)


def _fuse_in(block: Block, scratch: _Scratch) -> None:
    past = _Past()
    for op in block.ops:
        if isinstance(op, ForOp):
            _fuse_in(op.body.block, scratch)
        if isinstance(op, ElementwiseOp):
            past.add_elementwise(op)
        else:
            past.add(op)
    for op, chain in list(past.chains.items()):
        if op is chain.last and len(chain.members) > 1:
            _fuse(chain, scratch)


_Entry = tuple[int, Operation | None]
"""A place in a block and what is there."""

_NOTHING: _Entry = (0, None)


class _Chain:
    """Operations that become one in the place of the last. They stay where they are until all chains are known.

    Attributes:
        members: in the order in which they run; none but the last counts any more for what stands between others.
        inputs: the panels that the whole reads, in order, with their buffers.
        reading: the same by buffer.
        outs: the panels that it writes.
        touched: the buffers that it has to do with.
        place: where its last operation is.
        nearest: the last maker of an input before the whole, as far as it has been looked for.
        unknown: the inputs of which no maker has been looked for.
    """

    def __init__(self, op: ElementwiseOp, place: int) -> None:
        self.members = [op]
        self.inputs: dict[PanelRows, SSAValue] = {}
        self.reading: dict[SSAValue, list[PanelRows]] = {}
        self.outs = op.out_panels
        self.touched = {_root(value) for _, value in op.buffers()}
        self.place, self.nearest = place, _NOTHING
        self.unknown: list[SSAValue] = []
        for panel in op.in_panels:
            self._read(panel, _root(panel.buffer))

    @property
    def last(self) -> ElementwiseOp:
        """The operation whose place the whole takes."""
        return self.members[-1]

    def _read(self, panel: PanelRows, root: SSAValue) -> None:
        if panel not in self.inputs:
            self.inputs[panel] = root
            self.reading.setdefault(root, []).append(panel)
            self.unknown.append(root)

    def can_lead(self, second: _Chain) -> bool:
        """Whether the rows of a chain behind, which reads some of its outs, match."""
        made = {_root(panel.buffer): panel for panel in self.outs}
        for panel, root in second.inputs.items():
            if made.get(root, panel) != panel:
                return False
        for panel in second.outs:
            # What this one writes overlaps none of its inputs, unless it is one.
            root = _root(panel.buffer)
            if panel not in self.outs and any(read != panel for read in self.reading.get(root, ())):
                return False
            if made.get(root, panel) != panel:
                return False
        return True

    def append(self, second: _Chain, chains: dict[Operation, _Chain]) -> None:
        """Takes in another chain behind."""
        self.members += second.members
        self.place = second.place
        for op in second.members:
            chains[op] = self
        for panel, root in second.inputs.items():
            if panel not in self.outs:
                self._read(panel, root)
        kept = [p for p in self.outs if p not in second.outs and self._is_read_elsewhere(p, chains)]
        self.outs = (*kept, *second.outs)
        self.touched = self.reading.keys() | {_root(panel.buffer) for panel in self.outs}

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


class _Past:
    """The part of a block that has been walked past.

    Attributes:
        chains: of each elementwise operation the chain that it belongs to.
        between: what is at each place, with the buffers that it touches and those that it writes. A chain counts in
            the place of its last operation alone, and as if it wrote all that it touches.
        makers: the places of the chains that write a buffer.
    """

    def __init__(self) -> None:
        self.chains: dict[Operation, _Chain] = {}
        self.between: list[tuple[Operation, AbstractSet[SSAValue], AbstractSet[SSAValue]]] = []
        self.makers: dict[SSAValue, list[_Entry]] = defaultdict(list)

    def add_elementwise(self, op: ElementwiseOp) -> None:
        """The next operation, joined to the chains before it that make what it reads."""
        chain = self.chains[op] = _Chain(op, len(self.between) + 1)
        while (first := self._producer(chain)) is not None and first.can_lead(chain):
            first.append(chain, self.chains)
            chain = first
        self.between.append((op, chain.touched, chain.touched))
        for root in {_root(panel.buffer) for panel in chain.outs}:
            self.makers[root].append((chain.place, op))

    def add(self, op: Operation) -> None:
        """The next operation, with all that is in it."""
        touched, written = set[SSAValue](), set[SSAValue]()
        for inner in op.walk():
            if isinstance(inner, TileOp):
                for name, value in inner.buffers():
                    root = _root(value)
                    touched.add(root)
                    if isinstance(inner, ElementwiseOp) or name in inner.WRITES:
                        written.add(root)
        self.between.append((op, touched, written))

    def _producer(self, chain: _Chain) -> _Chain | None:
        """The nearest chain before that makes one of the inputs, if it can move down to their reader."""
        if not self._counts(chain.nearest[1]):
            chain.nearest, chain.unknown = _NOTHING, list(chain.reading)
        for root in chain.unknown:
            chain.nearest = max(chain.nearest, self._maker(root))
        chain.unknown = []
        place, maker = chain.nearest
        if maker is None:
            return None
        found = self.chains[maker]
        if found.last.size != chain.last.size:
            return None
        outs = {_root(panel.buffer) for panel in found.outs}
        for op, touched, written in reversed(self.between[place:]):
            if self._counts(op) and (
                any(root in touched for root in outs) or any(root in found.reading for root in written)
            ):
                return None
        return found

    def _maker(self, root: SSAValue) -> _Entry:
        """The last chain that writes a buffer."""
        entries = self.makers[root]
        while entries and not self._counts(entries[-1][1]):
            entries.pop()
        return entries[-1] if entries else _NOTHING

    def _counts(self, op: Operation | None) -> bool:
        """Whether an operation is still where it was: it is no part of a chain further down."""
        chain = None if op is None else self.chains.get(op)
        return chain is None or chain.last is op


def _fuse(chain: _Chain, scratch: _Scratch) -> None:
    """The operations of a chain as one."""
    inputs = tuple(chain.inputs)
    region: Region = ElementwiseOp.empty_body(len(inputs))
    body = region.block
    values: dict[PanelRows, SSAValue] = dict(zip(inputs, body.args, strict=True))
    for op in chain.members:
        values.update(zip(op.out_panels, _write(op, body, values), strict=True))
    body.add_op(LanesYieldOp(*(values[panel] for panel in chain.outs)))
    plan = plan_rows(body, chain.outs, inputs)
    rows = scratch.buffer(plan.scratch) if plan.scratch else None
    last = chain.last
    fused = ElementwiseOp(chain.outs, inputs, rows, last.size, region, dict(last.attributes))
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


class _Scratch:
    """New buffers of some rows."""

    def __init__(self, module: ModuleOp) -> None:
        self.block = module.body.block
        self.vlen = Target.from_module(module).vlen
        taken = {op.symbol.data for op in self.block.ops if isinstance(op, BufferOp)}
        self.names = (name for n in count() if (name := f"fused_row_{n}") not in taken)

    def buffer(self, rows: int) -> SSAValue:
        """One more."""
        op = BufferOp(next(self.names), "vector", rows * self.vlen)
        assert self.block.first_op is not None
        self.block.insert_op_before(op, self.block.first_op)
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
