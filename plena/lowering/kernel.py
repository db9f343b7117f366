"""Builds affine-form code: counted loops, instructions whose addresses are linear expressions, register cells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa import (
    OP_OF_MNEMONIC,
    ARegister,
    FRegister,
    GPRegister,
    Instruction,
    PlenaRegister,
    RegisterOp,
)
from plena.target import Target

Address = Linear | int


class KernelBuilder:
    """Appends operations to a module at an insertion point that `loop` moves into loop bodies.

    Attributes put into `provenance` are copied onto every instruction (model module path, kernel step).
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.module = ModuleOp([])
        self.provenance: dict[str, Attribute] = {}
        self._declarations: list[Operation] = []
        self._physical: dict[PlenaRegister, SSAValue] = {}
        self._block: Block = self.module.body.block
        self._addresses: dict[Linear, SSAValue] = {}

    @contextmanager
    def loop(self, trips: int, attributes: dict[str, Attribute] | None = None) -> Iterator[Linear]:
        """Opens a counted loop and yields its index; a single trip opens none and yields 0."""
        if trips == 1:
            yield Linear(0)
            return
        op = ForOp(trips, attributes={**self.provenance, **(attributes or {})})
        self._block.add_op(op)
        outer, outer_addresses = self._block, self._addresses
        terminator = op.body.block.last_op
        assert terminator is not None
        terminator.detach()
        self._block, self._addresses = op.body.block, {}
        yield Linear.index(op.index)
        self._block.add_op(terminator)
        self._block, self._addresses = outer, outer_addresses

    def append(self, op: Operation) -> None:
        """Adds an operation at the insertion point."""
        self._block.add_op(op)

    def value(self, address: Address) -> SSAValue:
        """An `index` value for an expression, shared within the block."""
        expression = Linear(address) if isinstance(address, int) else address
        known = self._addresses.get(expression)
        if known is None:
            op = AffineOp(expression)
            self._block.add_op(op)
            known = self._addresses[expression] = op.result
        return known

    def emit(self, mnemonic: str, **slots: SSAValue | Address) -> Instruction:
        """Appends an instruction. Address slots take linear expressions, immediates numbers, the rest cells."""
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
        op = op_class.make(attributes=dict(self.provenance), **values)
        self._block.add_op(op)
        return op

    def emit_masked(self, mnemonic: str, v_mask: Address, **slots: SSAValue | Address) -> Instruction:
        """A vector instruction under a lane mask."""
        return self.emit(mnemonic, mask=1, v_mask=v_mask, **slots)

    def cell(self, register: PlenaRegister) -> SSAValue:
        """A register cell: a new virtual one, or the shared declaration of a machine register."""
        if register.is_allocated and register in self._physical:
            return self._physical[register]
        op = RegisterOp(register)
        self._declarations.append(op)
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

    def finish(self) -> ModuleOp:
        """The module, cell declarations first."""
        block = self.module.body.block
        first = block.first_op
        if first is None:
            block.add_ops(self._declarations)
        else:
            block.insert_ops_before(self._declarations, first)
        self._declarations = []
        return self.module


def ceil_div(total: int, part: int) -> int:
    """How many parts cover the total."""
    return -(-total // part)


def round_up(total: int, part: int) -> int:
    """The smallest multiple of `part` that is at least `total`."""
    return ceil_div(total, part) * part


__all__ = ["Address", "KernelBuilder", "ceil_div", "round_up"]
