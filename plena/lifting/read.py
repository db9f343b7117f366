"""A module in affine form as a lifted program: the other direction of `plena.lifting.build`, for the static check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, IndexType, IntAttr, ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from plena.assembly.encoding import encode_values
from plena.dialects.loop import AffineOp, ForOp, Linear, YieldOp, linear_of
from plena.dialects.plena_isa import (
    FRegister,
    GPRegister,
    Instruction,
    Kind,
    RegisterOp,
    instructions_in,
    is_zero_cell,
)
from plena.errors import PlenaError
from plena.lifting.build import RANGE_ATTRIBUTE
from plena.lifting.flat_program import FlatProgram
from plena.lifting.records import layout
from plena.lifting.tree import LiftedInstruction, LiftedItem, LiftedLoop, LiftedProgram, Number
from plena.machine.constants import F_REGISTERS, INT_LIMIT
from plena.machine.target import Target

UNKNOWN_BASE = (0, 0)
"""High and low half in place of a base that hangs on an a register."""


def program_of_module(module: ModuleOp) -> LiftedProgram:
    """The instructions and loops of a module in affine form; words carry opcodes, flags and f registers only.

    Virtual f cells count as f1..f7 in order of declaration, then again: which one it is does not matter here.

    Raises:
        PlenaError: an operation of another level, or an integer register.
    """
    reader = _ModuleReader(Target.from_module(module))
    body = reader.block(module.body.block)
    code = FlatProgram(np.array(reader.words, np.uint32), texts=_Texts(reader.ops))
    return LiftedProgram(code, reader.target, body, reader.bounds)


class _Texts(Sequence[str]):
    """The operations of a program, printed when asked for."""

    def __init__(self, ops: list[Operation]) -> None:
        self._ops = ops

    def __len__(self) -> int:
        return len(self._ops)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [str(op) for op in self._ops[index]]
        return str(self._ops[index])


@dataclass
class _ModuleReader:
    target: Target
    words: list[int] = field(default_factory=list[int])
    ops: list[Operation] = field(default_factory=list[Operation])
    bounds: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    numbers: dict[SSAValue, int] = field(default_factory=dict[SSAValue, int])
    f_numbers: dict[SSAValue, int] = field(default_factory=dict[SSAValue, int])
    known: dict[SSAValue, Number] = field(default_factory=dict[SSAValue, Number])

    def block(self, block: Block) -> list[LiftedItem]:
        """The items of a body."""
        items: list[LiftedItem] = []
        for op in block.ops:
            if isinstance(op, Instruction):
                items.append(self._instruction(op))
            elif isinstance(op, ForOp):
                loop = LiftedLoop(op.trips, self._new(op.index, (0, op.trips - 1)), len(self.words))
                loop.body = self.block(op.body.block)
                items.append(loop)
            elif isinstance(op, RegisterOp):
                self._declare(op)
            elif not isinstance(op, AffineOp | YieldOp):
                raise PlenaError(f"{op.name} is not of the affine form", "verify-program")
        return items

    def _new(self, value: SSAValue, bounds: tuple[int, int]) -> int:
        self.bounds.append(bounds)
        self.numbers[value] = len(self.bounds) - 1
        return self.numbers[value]

    def _declare(self, op: RegisterOp) -> None:
        kind = op.cell.type
        if isinstance(kind, FRegister):
            allocated = kind.number
            virtual = 1 + len(self.f_numbers) % (F_REGISTERS - 1)
            self.f_numbers[op.cell] = virtual if allocated is None else allocated

    def _instruction(self, op: Instruction) -> LiftedInstruction:
        position = len(self.words)
        shape = layout(op.SPEC.opcode)
        values: list[int] = []
        for slot in op.SPEC.slots:
            is_folded = slot.offsets is not None and slot.offsets in shape.addresses
            if slot.kind is Kind.F:
                cell = op.operand_named(slot.name)
                assert cell is not None
                values.append(self.f_numbers[cell])
            elif slot.kind in (Kind.IMMEDIATE, Kind.FLAG) and not is_folded:
                values.append(op.number(slot.name))
            else:
                values.append(0)
        self.words.append(encode_values(op.SPEC, values))
        self.ops.append(op)
        numbers = [self._address(op, name) for name in shape.addresses]
        if shape.transfer:
            numbers += self._state_of_transfer(op)
        elif shape.mask is not None and op.number(shape.mask.name):
            numbers.append(self._optional(op, "v_mask"))
        if shape.sum is not None:
            added, address = shape.sum
            numbers[added], numbers[address] = 0, self._number(op.whole_address(shape.addresses[address]))
        if op.results:
            numbers.append(self._new(op.results[0], _range_of(op)))
        return (position, *numbers)

    def _address(self, op: Instruction, name: str) -> Number:
        value = op.operand_named(name)
        assert value is not None
        if isinstance(value.type, IndexType):
            return self._number(op.address(name))
        means = op.SPEC.by_name[name].gp0_means
        if means is not None:
            return means
        if is_zero_cell(value):
            return self._number(
                Linear(next((op.number(s.name) for s in op.SPEC.slots if s.offsets == name), 0))
            )
        raise PlenaError(f"{op.SPEC.mnemonic}: {name} is an integer register", "verify-program")

    def _state_of_transfer(self, op: Instruction) -> Sequence[Number]:
        base = op.operand_named("base")
        assert base is not None
        high, low = UNKNOWN_BASE
        if isinstance(base.type, IndexType):
            expression = linear_of(base)
            turns = expression.constant // INT_LIMIT
            high, low = turns, self._number(expression - turns * INT_LIMIT)
        return [high, low, self._optional(op, "scale"), self._optional(op, "stride")]

    def _optional(self, op: Instruction, name: str) -> Number:
        value = op.operand_named(name)
        return 0 if value is None else self._number(linear_of(value))

    def _number(self, expression: Linear) -> Number:
        if expression.is_constant:
            return expression.constant
        return Linear(expression.constant, tuple((self.numbers[v], c) for v, c in expression.terms))


def _range_of(op: Instruction) -> tuple[int, int]:
    declared = op.attributes.get(RANGE_ATTRIBUTE)
    if isinstance(declared, ArrayAttr) and all(isinstance(bound, IntAttr) for bound in declared):
        low, high = (bound.data for bound in declared if isinstance(bound, IntAttr))
        return low, high
    return 0, INT_LIMIT - 1


def is_affine(module: ModuleOp) -> bool:
    """Whether a module is in the affine form: it has index operands, and no integer register but gp0."""
    has_index = False
    for op in instructions_in(module):
        for value in op.operands:
            if isinstance(value.type, GPRegister) and not value.type.is_zero:
                return False
            has_index = has_index or isinstance(value.type, IndexType)
    return has_index
