"""Takes register cells out of registers: constants are rebuilt before each use, other cells live in a scalar memory."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Literal

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from plena.dialects.plena_isa import (
    GPRegister,
    Instruction,
    Memory,
    Mode,
    PlenaRegister,
    RegisterOp,
    build,
    instructions_in,
    is_zero_cell,
)
from plena.dialects.plena_isa.scalar import SAddFPOp, SAddiIntOp, SLdFPOp, SLuiIntOp
from plena.dialects.plena_isa.sizes import ONE
from plena.dialects.plena_isa.touches import Touch
from plena.registers.spill_region import SpillMemory, check_touches, reserve


class Spiller:
    """Spills cells of one register file of a module in the register form."""

    def __init__(self, module: ModuleOp, kind: type[PlenaRegister]) -> None:
        self.module = module
        self.kind = kind
        self.memory = SpillMemory.INT if kind is GPRegister else SpillMemory.FP
        self.load: Literal["S_LD_INT", "S_LD_FP"] = "S_LD_INT" if kind is GPRegister else "S_LD_FP"
        self.store: Literal["S_ST_INT", "S_ST_FP"] = "S_ST_INT" if kind is GPRegister else "S_ST_FP"
        self.created: set[SSAValue] = set()

    def spill(self, cells: Iterable[SSAValue]) -> set[SSAValue]:
        """Removes the cells from all instructions; returns the short-lived cells that took their places."""
        self.created = set()
        for cell in cells:
            recipe = self._recipe(cell)
            if recipe is not None:
                self._rebuild(cell, recipe)
            else:
                self._to_memory(cell)
        return self.created

    # -- constants

    def _recipe(self, cell: SSAValue) -> list[Instruction] | None:
        """The instructions that make a cell's only value out of nothing, None when it is not such a constant."""
        writers: list[Instruction] = []
        readers: list[Instruction] = []
        for op in _users(cell):
            modes = [mode for value, mode in op.cells() if value is cell]
            if any(Mode.WRITE in mode for mode in modes):
                writers.append(op)
            elif modes:
                readers.append(op)
        first = writers[0] if writers else None
        if first is None or not self._is_constant(first):
            return None
        if len(writers) == 2 and not isinstance(writers[0], SLuiIntOp):
            writers.reverse()
        whole = len(writers) == 1 and not _is_own(writers[0])
        if not whole and not (len(writers) == 2 and _is_low_part(writers[1], writers[0], cell)):
            return None
        last = writers[-1]
        return writers if all(_is_after(op, last) for op in readers) else None

    def _is_constant(self, op: Instruction) -> bool:
        match op:
            case SLuiIntOp():
                return True
            case SAddiIntOp():
                return is_zero_cell(op.operand_named("a")) or _is_own(op)
            case SAddFPOp():
                return is_zero_cell(op.operand_named("a")) and is_zero_cell(op.operand_named("b"))
            case SLdFPOp():
                return is_zero_cell(op.operand_named("base")) and self._is_never_stored(op.number("imm"))
            case _:
                return False

    def _is_never_stored(self, word: int) -> bool:
        """Whether no instruction can write a word of FP SRAM."""
        for op in instructions_in(self.module):
            if op.SPEC.touches is None:
                return False
            for touch in op.SPEC.touches:
                if touch.memory is Memory.FP and Mode.WRITE in touch.mode and _may_reach(op, touch, word):
                    return False
        return True

    def _rebuild(self, cell: SSAValue, recipe: list[Instruction]) -> None:
        for op in _users(cell):
            if op in recipe:
                continue
            temporary = self._cell(cell)
            for maker in recipe:
                _insert_before(op, _rebuilt(maker, cell, temporary))
            _replace(op, cell, temporary)
        for maker in recipe:
            maker.detach()
            maker.erase()

    # -- memory

    @cached_property
    def _zero(self) -> SSAValue:
        """The cell of gp0, once it is known what touches the memory: what is spilled adds nothing hidden."""
        check_touches(self.module, self.memory)
        return zero_register(self.module)

    def _to_memory(self, cell: SSAValue) -> None:
        zero = self._zero
        word = reserve(self.module, self.memory, 1, checked=True)
        for op in _users(cell):
            modes = [mode for value, mode in op.cells() if value is cell]
            temporary = self._cell(cell)
            if any(Mode.READ in mode for mode in modes):
                _insert_before(op, build(self.load, dst=temporary, base=zero, imm=word))
            if any(Mode.WRITE in mode for mode in modes):
                _insert_after(op, build(self.store, src=temporary, base=zero, imm=word))
            _replace(op, cell, temporary)

    def _cell(self, origin: SSAValue) -> SSAValue:
        op = RegisterOp(self.kind.unallocated())
        declaration = origin.owner
        assert isinstance(declaration, Operation)
        _insert_before(declaration, op)
        self.created.add(op.cell)
        return op.cell


def zero_register(module: ModuleOp) -> SSAValue:
    """The cell of gp0, declared if the program does not have it yet."""
    zero = GPRegister.from_index(0)
    block = module.body.block
    for op in block.ops:
        if isinstance(op, RegisterOp) and op.cell.type == zero:
            return op.cell
    declaration = RegisterOp(zero)
    if block.first_op is None:
        block.add_op(declaration)
    else:
        block.insert_op_before(declaration, block.first_op)
    return declaration.cell


def _users(cell: SSAValue) -> list[Instruction]:
    """The instructions that name a cell, each once, in no particular order."""
    found = dict.fromkeys(use.operation for use in cell.uses)
    return [op for op in found if isinstance(op, Instruction)]


def _may_reach(op: Instruction, touch: Touch, word: int) -> bool:
    """Whether an instruction in the register form may touch a word: certainly not with another one of its own."""
    immediate = next((s.name for s in op.SPEC.slots if s.offsets == touch.address), None)
    if touch.address is None or immediate is None or touch.width is not ONE:
        return True
    return not is_zero_cell(op.operand_named(touch.address)) or op.number(immediate) == word


def _is_own(op: Instruction) -> bool:
    """Whether an S_ADDI_INT updates its own destination."""
    return isinstance(op, SAddiIntOp) and op.operand_named("a") is op.operand_named("dst")


def _is_low_part(add: Instruction, upper: Instruction, cell: SSAValue) -> bool:
    """Whether an S_ADDI_INT completes the S_LUI_INT right before it to a 32-bit constant."""
    return (
        isinstance(upper, SLuiIntOp)
        and isinstance(add, SAddiIntOp)
        and add.operand_named("a") is cell
        and upper.next_op is add
    )


def _is_after(op: Operation, definition: Operation) -> bool:
    """Whether an operation, at any depth, comes after another one of an enclosing block."""
    block = definition.parent_block()
    inside: Operation | None = op
    while inside is not None and inside.parent_block() is not block:
        inside = inside.parent_op()
    return inside is not None and definition.is_before_in_block(inside)


def _rebuilt(maker: Instruction, cell: SSAValue, temporary: SSAValue) -> Instruction:
    copy = maker.clone()
    _replace(copy, cell, temporary)
    return copy


def _replace(op: Instruction, cell: SSAValue, by: SSAValue) -> None:
    for position, value in enumerate(op.operands):
        if value is cell:
            op.operands[position] = by


def _insert_before(op: Operation, new: Operation) -> None:
    block = op.parent_block()
    assert block is not None
    block.insert_op_before(new, op)


def _insert_after(op: Operation, new: Operation) -> None:
    block = op.parent_block()
    assert block is not None
    block.insert_op_after(new, op)
