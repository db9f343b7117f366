"""`guard-hazards`: instructions that wait for results which the public RTL does not wait for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from plena.dialects.loop import ForOp, YieldOp
from plena.dialects.plena_isa import FRegister, GPRegister, Instruction, PlenaRegister, RegisterOp, build
from plena.dialects.plena_isa.control import CBreakOp
from plena.errors import CompileError
from plena.gc_pause import without_collection
from plena.lifting.entry import code_of_module
from plena.lifting.preloaded import Preloaded
from plena.machine.target import Target
from plena.verification.rtl import RULES
from plena.verification.rtl.view import END, RtlView, vector_ops, write_outs

ROUNDS = 16
"""Times that guards are looked for: a guard may break a rule of its own, which the next round mends."""


@dataclass(frozen=True)
class GuardHazards(ModulePass):
    """Puts fences where the rules of the RTL (docs/rtl.md) find a hazard, and the end of a program behind it.

    The fences change nothing on any machine: S_ADDI_INT gp0, gp0, 0 lets time pass, S_MAX_FP f0, f0, f0 waits for the
    scalar unit, and V_SUB_VF of f0 leaves row 0 as it is and waits for the matrix unit. C_BREAK ends a program on the
    RTL; the emulator has no end, and aborts there.

    Before::

        builtin.module {
          %z = plena_isa.register : !plena_isa.gp<gp0>
          %f = plena_isa.register : !plena_isa.f<f1>
          plena_isa.s_ld_fp dst(%f : !plena_isa.f<f1>) base(%z : !plena_isa.gp<gp0>)
          plena_isa.v_add_vf dst(%z : !plena_isa.gp<gp0>) a(%z : !plena_isa.gp<gp0>) b(%f : !plena_isa.f<f1>)
        }

    After::

        builtin.module {
          %z = plena_isa.register : !plena_isa.gp<gp0>
          %f = plena_isa.register : !plena_isa.f<f1>
          plena_isa.s_ld_fp dst(%f : !plena_isa.f<f1>) base(%z : !plena_isa.gp<gp0>)
          plena_isa.s_addi_int dst(%z : !plena_isa.gp<gp0>) a(%z : !plena_isa.gp<gp0>)
          plena_isa.s_addi_int dst(%z : !plena_isa.gp<gp0>) a(%z : !plena_isa.gp<gp0>)
          plena_isa.v_add_vf dst(%z : !plena_isa.gp<gp0>) a(%z : !plena_isa.gp<gp0>) b(%f : !plena_isa.f<f1>)
          plena_isa.s_addi_int dst(%z : !plena_isa.gp<gp0>) a(%z : !plena_isa.gp<gp0>)
          plena_isa.s_addi_int dst(%z : !plena_isa.gp<gp0>) a(%z : !plena_isa.gp<gp0>)
          plena_isa.c_break
        }
    """

    name = "guard-hazards"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        with without_collection():
            guards = _Guards(op)
            guards.end()
            for _ in range(ROUNDS):
                if not guards.insert():
                    return
        raise CompileError(f"hazards remain after {ROUNDS} rounds of fences", self.name)


class _Guards:
    """Fences for one module in allocated register form."""

    def __init__(self, module: ModuleOp) -> None:
        self.module, self.target = module, Target.from_module(module)

    def insert(self) -> bool:
        """Puts a fence before every instruction that breaks a rule; whether there was one."""
        view = RtlView(code_of_module(self.module), self.target, Preloaded())
        places = list(_places(self.module.body.block))
        found: dict[int, Callable[[_Guards], list[Instruction]]] = {}
        for name, fence in FENCES.items():
            for breach in RULES[name].breaches(view):
                if breach.pc is not None and (name != "R11" or view.code.op[breach.pc] == END):
                    found.setdefault(breach.pc, fence)
        for pc, fence in found.items():
            where = places[pc]
            block = where.parent_block()
            assert block is not None
            block.insert_ops_before(fence(self), where)
        return bool(found)

    def end(self) -> None:
        """The end of the program, behind what waits for its last results."""
        block = self.module.body.block
        instructions = [op for op in self.module.walk() if isinstance(op, Instruction)]
        if instructions and isinstance(instructions[-1], CBreakOp):
            return
        opcodes = [op.SPEC.opcode for op in instructions]
        last = next((op for op in reversed(opcodes) if op in vector_ops() | write_outs()), None)
        block.add_ops([*(self.settle() if last in write_outs() else []), *self.drain(), build("C_BREAK")])

    def cell(self, register: PlenaRegister) -> SSAValue:
        """The cell of a machine register."""
        block = self.module.body.block
        for op in block.ops:
            if isinstance(op, RegisterOp) and op.cell.type == register:
                return op.cell
        declared = RegisterOp(register)
        if block.first_op is None:
            block.add_op(declared)
        else:
            block.insert_op_before(declared, block.first_op)
        return declared.cell

    def wait(self) -> list[Instruction]:
        """One instruction that does nothing."""
        zero = self.cell(GPRegister.from_index(0))
        return [build("S_ADDI_INT", dst=zero, a=zero)]

    def drain(self) -> list[Instruction]:
        """Waits for the vector unit."""
        return [*self.wait(), *self.wait()]

    def scalar(self) -> list[Instruction]:
        """Waits for the scalar unit."""
        zero = self.cell(FRegister.from_index(0))
        return [build("S_MAX_FP", dst=zero, a=zero, b=zero)]

    def settle(self) -> list[Instruction]:
        """A vector instruction that waits for the matrix unit: row 0 less zero is row 0."""
        row, zero = self.cell(GPRegister.from_index(0)), self.cell(FRegister.from_index(0))
        return [build("V_SUB_VF", dst=row, a=row, b=zero)]


FENCES: dict[str, Callable[[_Guards], list[Instruction]]] = {
    "R26": _Guards.drain,
    "R25": _Guards.scalar,
    "R32": _Guards.settle,
    **dict.fromkeys(("R11", "R24", "R27", "R28", "R31", "R38"), _Guards.wait),
}
"""What stands before an instruction that breaks a rule."""


def _places(block: Block) -> list[Operation]:
    """What a fence is put before, for every instruction of the flat program: of the end of a loop its yield."""
    places: list[Operation] = []
    for op in block.ops:
        if isinstance(op, ForOp):
            last = op.body.block.last_op
            assert isinstance(last, YieldOp)
            places += [op, *_places(op.body.block), last]
        elif isinstance(op, Instruction):
            places.append(op)
    return places


__all__ = ["GuardHazards"]
