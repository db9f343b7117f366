"""Builds affine-form code: counted loops, instructions whose addresses are linear expressions, register cells."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.loop import Address, Linear, LoopBuilder
from plena.dialects.plena_isa import (
    OP_OF_MNEMONIC,
    ARegister,
    FRegister,
    GPRegister,
    Instruction,
    PlenaRegister,
    RegisterOp,
)
from plena.instructions.emitter import Emitter, Place
from plena.machine.target import Target


class InstructionBuilder(LoopBuilder, Emitter):
    """A loop builder for instructions in the affine form."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
        self._physical: dict[PlenaRegister, SSAValue] = {}

    def _emit(self, mnemonic: str, slots: dict[str, Place]) -> Instruction:
        op_class = OP_OF_MNEMONIC[mnemonic]
        spec = op_class.SPEC
        values: dict[str, SSAValue | int] = {}
        for name, given in slots.items():
            slot = spec.by_name.get(name)
            addressed = slot is None or slot.is_address or name == "base"
            if addressed and isinstance(given, Linear | int):
                values[name] = self.value(given)
            else:
                assert not isinstance(given, Linear)
                values[name] = given
        op = op_class.named(values, dict(self.provenance))
        self.append(op)
        return op

    def cell(self, register: PlenaRegister) -> SSAValue:
        """A register cell: a new virtual one, or the shared declaration of a machine register."""
        if register.is_allocated and register in self._physical:
            return self._physical[register]
        op = RegisterOp(register)
        self.declare(op)
        if register.is_allocated:
            self._physical[register] = op.cell
        return op.cell

    def f_cell(self) -> SSAValue:
        """A new virtual f register."""
        return self.cell(FRegister.unallocated())

    @property
    def f0(self) -> SSAValue:
        return self.cell(FRegister.from_index(0))

    @property
    def gp0(self) -> SSAValue:
        return self.cell(GPRegister.from_index(0))

    @property
    def a0(self) -> SSAValue:
        return self.cell(ARegister.from_index(0))


__all__ = ["Address", "InstructionBuilder"]
