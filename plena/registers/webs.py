"""Splits register cells into webs: parts of a cell's life that share no value become cells of their own."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.utils.disjoint_set import IntDisjointSet

from plena.dialects.loop import ForOp
from plena.dialects.plena_isa import Instruction, Mode, PlenaRegister, RegisterOp


def split_webs(module: ModuleOp, kind: type[PlenaRegister]) -> None:
    """Gives every web of the virtual cells of one register file its own cell.

    A web is a set of writes and the reads they reach. Loops run at least once, so what a body writes is what code
    behind the loop reads; a body that reads a cell before writing it joins its own last write with the one before
    the loop.
    """
    webs = _Webs(kind)
    webs.block(module.body.block, {})
    webs.rename()


class _Webs:
    def __init__(self, kind: type[PlenaRegister]) -> None:
        self.kind = kind
        self.webs = IntDisjointSet(size=0)
        self.cell: list[SSAValue] = []
        self.initial: dict[SSAValue, int] = {}
        """The web of what a cell holds when the program starts."""
        self.places: list[tuple[Operation, int, int]] = []
        """(operation, operand position, web)."""

    def block(self, block: Block, current: dict[SSAValue, int]) -> set[SSAValue]:
        """Follows a block; `current` maps cells to the web that reaches. Returns the cells read before a write."""
        exposed: set[SSAValue] = set()
        written: set[SSAValue] = set()
        for op in block.ops:
            if isinstance(op, ForOp):
                read, changed = self._loop(op, current)
                exposed |= read - written
                written |= changed
            elif isinstance(op, Instruction):
                self._instruction(op, current, exposed, written)
        return exposed

    def _loop(self, loop: ForOp, current: dict[SSAValue, int]) -> tuple[set[SSAValue], set[SSAValue]]:
        """Follows a loop; returns the cells it reads before a write and those it writes."""
        counter = loop.counter
        if counter is not None and self._is_split(counter):
            current[counter] = self._new(counter)
            self.places.append((loop, 0, current[counter]))
        before = dict(current)
        exposed = self.block(loop.body.block, current)
        for cell, web in before.items():
            if cell in exposed or cell is counter:
                self.webs.union_left(current[cell], web)
        for cell in exposed - before.keys():
            self.webs.union_left(current[cell], self._reaching(cell, before))
        changed = {cell for cell, web in current.items() if before.get(cell) != web}
        if counter is not None:
            changed.add(counter)
            exposed.discard(counter)
        return exposed, changed

    def _instruction(
        self, op: Instruction, current: dict[SSAValue, int], exposed: set[SSAValue], written: set[SSAValue]
    ) -> None:
        writes: list[tuple[int, SSAValue]] = []
        for position, (slot, cell) in enumerate(op.named_operands()):
            if not self._is_split(cell):
                continue
            if Mode.READ not in slot.mode:
                writes.append((position, cell))
                continue
            if cell not in written:
                exposed.add(cell)
            self.places.append((op, position, self._reaching(cell, current)))
        for position, cell in writes:
            current[cell] = self._new(cell)
            self.places.append((op, position, current[cell]))
            written.add(cell)

    def _is_split(self, cell: SSAValue) -> bool:
        return isinstance(cell.type, self.kind) and not cell.type.is_allocated

    def _reaching(self, cell: SSAValue, current: dict[SSAValue, int]) -> int:
        if cell not in current:
            if cell not in self.initial:
                self.initial[cell] = self._new(cell)
            current[cell] = self.initial[cell]
        return current[cell]

    def _new(self, cell: SSAValue) -> int:
        self.cell.append(cell)
        return self.webs.add()

    def rename(self) -> None:
        """Declares the new cells and puts them in place; the first web of a cell keeps it."""
        names: dict[int, SSAValue] = {}
        kept: set[SSAValue] = set()
        for op, position, web in self.places:
            root = self.webs[web]
            if root not in names:
                names[root] = self._declare(self.cell[root], kept)
            op.operands[position] = names[root]

    def _declare(self, cell: SSAValue, kept: set[SSAValue]) -> SSAValue:
        if cell not in kept:
            kept.add(cell)
            return cell
        op = RegisterOp(self.kind.unallocated())
        declaration = cell.owner
        assert isinstance(declaration, Operation)
        block = declaration.parent_block()
        assert block is not None
        block.insert_op_before(op, declaration)
        return op.cell
