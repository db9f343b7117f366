"""Runs a module in affine form on the emulator, instruction by instruction: the meaning that lift must preserve."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects.builtin import IndexType, ModuleOp
from xdsl.ir import Block, SSAValue

from plena.assembly import AsmInstruction, encode
from plena.dialects.loop import AffineOp, ForOp
from plena.dialects.plena_isa import FRegister, Instruction, Kind, RegisterOp
from plena.dialects.plena_isa.registers import PlenaRegister
from plena.emulator import Machine
from plena.emulator.state import SCALE, STRIDE, V_MASK

STICKY = {"scale": SCALE, "stride": STRIDE, "v_mask": V_MASK}
POISON = 0xDEADBEEF
BASE_REGISTER = 5


class AffineMachine:
    """A machine whose registers hold garbage except where the affine form says what they hold."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.cells: dict[SSAValue, int] = {}
        self.values: dict[SSAValue, int] = {}

    def run(self, module: ModuleOp) -> None:
        self.machine.fp[1:] = np.float32(np.nan)
        self._block(module.body.block)

    def _block(self, block: Block) -> None:
        for op in block.ops:
            if isinstance(op, RegisterOp):
                kind = op.cell.type
                is_zero = isinstance(kind, PlenaRegister) and kind.is_zero
                self.cells[op.cell] = 0 if is_zero else len(self._of_kind(FRegister)) + 1
                assert is_zero or isinstance(kind, FRegister), "integer registers must be gone"
            elif isinstance(op, AffineOp):
                self.values[op.results[0]] = op.expression.evaluate(self.values)
            elif isinstance(op, ForOp):
                for iteration in range(op.trips):
                    self.values[op.index] = iteration
                    self._block(op.body.block)
            elif isinstance(op, Instruction):
                self._step(op)

    def _of_kind(self, kind: type) -> list[SSAValue]:
        return [c for c, n in self.cells.items() if isinstance(c.type, kind) and n]

    def _step(self, op: Instruction) -> None:
        state = self.machine.state
        state.gp[1:] = POISON
        state.hb[:] = POISON
        state.sticky[:] = POISON
        given: dict[str, int] = {}
        for slot, value in op.named_operands():
            if isinstance(value.type, IndexType):
                number = self.values[value]
                if slot.optional:
                    state.sticky[STICKY[slot.name]] = number
                elif slot.name == "base" and slot.kind is Kind.A:
                    state.hb[BASE_REGISTER] = number
                    given["base"] = BASE_REGISTER
                else:
                    assert 0 <= number < 1 << 32
                    given[slot.name] = len(given) + 1
                    state.gp[given[slot.name]] = number
            else:
                given[slot.name] = self.cells[value]
        if op.results:
            given["dst"] = 15
        numbers = [
            given[s.name] if s.is_register else 0 if s.kind is Kind.ZERO else op.number(s.name)
            for s in op.SPEC.slots
        ]
        (word,) = encode([AsmInstruction(op.SPEC, tuple(numbers))])
        self.machine.execute(int(word))
        if op.results:
            self.values[op.results[0]] = int(state.gp[15])


def memories(machine: Machine) -> dict[str, Any]:
    """A copy of everything a program can leave behind outside registers."""
    s = machine.state
    names = ("vram_bits", "mram", "fp_sram", "int_sram", "hbm", "acc_mm", "acc_v", "acc_bmm", "acc_bmv")
    return {name: np.array(getattr(s, name)) for name in names}


def assert_same_effect(words: Any, module: ModuleOp, machines: tuple[Machine, Machine]) -> None:
    """Runs a flat program and a module in affine form from equal states and compares every memory."""
    original, lifted = machines
    original.run(words)
    AffineMachine(lifted).run(module)
    left, right = memories(original), memories(lifted)
    for name, expected in left.items():
        same = expected.view(np.uint8) if expected.dtype == np.float32 else expected
        found = right[name].view(np.uint8) if right[name].dtype == np.float32 else right[name]
        assert np.array_equal(same, found), f"{name} differs"
