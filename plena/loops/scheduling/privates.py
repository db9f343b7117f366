"""Cells and rows that every iteration of a loop fills for itself: iterations side by side need several of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.ir import SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa import FRegister
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.plena_isa.spec import Memory, Mode
from plena.loops.dependence import may_conflict
from plena.loops.effects import Effect, EffectTable, Resource, resource_of_cell, touches_in_order


def private_cells(loop: ForOp, table: EffectTable) -> list[Resource]:
    """The f registers of a straight body, machine registers or not yet, whose first touch is a write."""
    first = table.first_touches(loop.operations)
    return [cell for cell, mode in first.items() if mode is Mode.WRITE and is_f_cell(cell)]


def is_f_cell(resource: Resource) -> bool:
    """Whether a resource is an f register, f0 apart."""
    register = resource.type if isinstance(resource, SSAValue) else resource
    return isinstance(register, FRegister) and register.number != 0


def private_rows(loop: ForOp, table: EffectTable) -> list[Linear]:
    """The rows of a straight body at one address in all iterations, written whole before they are read."""
    vlen = table.target.vlen
    effects = [e for op in _instructions(loop) for e in _of_rows(op, table)]
    found: list[Linear] = []
    for effect in effects:
        base = effect.base
        if base is None or base.coefficient(loop.index) or base in found or effect.rows != 1:
            continue
        same = [e for e in effects if e.base == base]
        if same[0].mode is not Mode.WRITE or any(e.width != vlen or e.rows != 1 for e in same):
            continue
        anywhere = {loop.index: (1 - loop.trips, loop.trips - 1)}
        if not any(may_conflict(effect, e, anywhere) for e in effects if e.base != base):
            found.append(base)
    return found


def _of_rows(op: Instruction, table: EffectTable) -> Iterator[Effect]:
    """Reads before writes."""
    touched = [e for e in touches_in_order(op, table.target) if e.resource is Memory.VECTOR]
    yield from sorted(touched, key=lambda e: not e.reads)


def _instructions(loop: ForOp) -> list[Instruction]:
    return [op for op in loop.operations if isinstance(op, Instruction)]


def spread_cells(instructions: Sequence[Instruction], cell: Resource, pool: Sequence[SSAValue]) -> None:
    """Lets each value of a private register live in one of the pool in turn, the last value where all did."""
    starts = [n for n, op in enumerate(instructions) if _begins(op, cell)]
    turn = len(starts)
    for n, op in enumerate(instructions):
        if turn and n == starts[-turn]:
            turn -= 1
        if turn % (len(pool) + 1):
            for position, value in enumerate(op.operands):
                if isinstance(value.type, FRegister) and resource_of_cell(value) == cell:
                    op.operands[position] = pool[turn % (len(pool) + 1) - 1]


def _begins(op: Instruction, cell: Resource) -> bool:
    """Whether it writes a register without reading it."""
    modes = [mode for value, mode in op.cells() if resource_of_cell(value) == cell]
    return bool(modes) and all(mode is Mode.WRITE for mode in modes)


def spread_rows(instructions: Sequence[Instruction], row: Linear, pool: Sequence[int]) -> None:
    """The same of a row; the pool has addresses of rows beside it."""
    starts = [n for n, op in enumerate(instructions) if _begins_row(op, row)]
    moved: dict[int, AffineOp] = {}
    turn, count = len(starts), len(pool) + 1
    for n, op in enumerate(instructions):
        if turn and n == starts[-turn]:
            turn -= 1
        if turn % count:
            to = pool[turn % count - 1]
            if _row_slots(op, row):
                _move(op, row, moved.setdefault(to, AffineOp(Linear(to))))


def _row_slots(op: Instruction, row: Linear) -> list[tuple[int, Mode]]:
    """The operands by which it touches a row of vector SRAM, and how."""
    touches = {t.address: t.mode for t in op.SPEC.touches or () if t.memory is Memory.VECTOR and t.address}
    return [
        (position, touches[slot.name])
        for position, (slot, _) in enumerate(op.named_operands())
        if slot.name in touches and op.address(slot.name) == row
    ]


def _begins_row(op: Instruction, row: Linear) -> bool:
    modes = [mode for _, mode in _row_slots(op, row)]
    return bool(modes) and all(mode is Mode.WRITE for mode in modes)


def _move(op: Instruction, row: Linear, address: AffineOp) -> None:
    if address.parent is None:
        block = op.parent_block()
        assert block is not None
        block.insert_op_before(address, op)
    for position, _ in _row_slots(op, row):
        op.operands[position] = address.result
