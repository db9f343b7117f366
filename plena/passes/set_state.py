"""`set-state`: sticky operands of instructions become C_SET_* instructions, only where the state changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import IndexType, ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp, Linear, linear_of
from plena.dialects.plena_isa import (
    INSTRUCTIONS,
    OP_OF_MNEMONIC,
    ARegister,
    Instruction,
    Integer,
    Memory,
    RegisterOp,
    build,
    instructions_in,
)
from plena.dialects.plena_isa.spec import STICKY
from plena.errors import CompileError
from plena.registers.base_registers import assign_bases, split_words
from plena.registers.sticky_state import Demand, place_settings

BASE_REGISTERS = len(ARegister.allocatable_registers())
"""a0 .. a7: what the hardware definition has (plena_isa.md section 1.3)."""


@dataclass(frozen=True)
class SetState(ModulePass):
    """Makes the sticky state of the machine explicit, with as few settings as the structure of loops allows.

    A value is set only where it differs from what the register holds, before the outermost loop in which it does not
    change. Reset values are known. A base address of 0 is the register a0, which nobody writes; other bases
    get a1 .. a7, shared when there are more.

    Before::

        builtin.module {
          loop.for %i = 0 to 4 {
            %dst = loop.affine 0 + 4096 * %i
            %base = loop.affine 0
            %scale = loop.affine 16384
            plena_isa.h_prefetch_m dst(%dst) off(%dst) base(%base) scale(%scale)
          }
        }

    After::

        builtin.module {
          %0 = plena_isa.register : !plena_isa.a<a0>
          %1 = loop.affine 16384
          plena_isa.c_set_scale_reg src(%1)
          loop.for %i = 0 to 4 {
            %dst = loop.affine 0 + 4096 * %i
            plena_isa.h_prefetch_m dst(%dst) off(%dst) base(%0 : !plena_isa.a<a0>)
          }
        }
    """

    name = "set-state"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        block = op.body.block
        for state, register in STICKY.items():
            setter = _setter(register.memory)
            settings = place_settings(block, Linear(register.reset), lambda o, s=state: _demand(o, s))
            if settings:
                _check_setters(op, register.memory)
            for before, value in settings:
                _insert(before, OP_OF_MNEMONIC[setter].named({"src": _value(before, value)}))
        _Bases(op).run()
        for instruction in list(instructions_in(op)):
            _strip(instruction)
        for affine in [o for o in op.walk(reverse=True) if isinstance(o, AffineOp) and not o.result.uses]:
            affine.detach()
            affine.erase()


def _setter(memory: Memory) -> str:
    """The instruction that sets a sticky register."""
    return next(
        spec.mnemonic
        for spec in INSTRUCTIONS.values()
        if spec.integer is Integer.SET_STICKY and spec.may_write(memory)
    )


def _check_setters(module: ModuleOp, memory: Memory) -> None:
    """No instruction may set a sticky register in a way that is not followed here."""
    for op in instructions_in(module):
        spec = op.SPEC
        if spec.integer is not Integer.SET_STICKY and spec.may_write(memory):
            why = "does not declare what it touches" if spec.touches is None else "sets it"
            raise CompileError(
                f"{spec.mnemonic} may change the register {memory.name}, which others use: it {why}",
                "set-state",
                "Declare its `touches`, or leave the instruction out.",
            )


def _insert(before: Operation, *new: Operation) -> None:
    block = before.parent_block()
    assert block is not None
    block.insert_ops_before(new, before)


def _value(before: Operation, expression: Linear) -> SSAValue:
    """An index value for an expression, computed before an operation."""
    op = AffineOp(expression)
    _insert(before, op)
    return op.result


def _demand(op: Operation, state: str) -> Demand | None:
    """What an instruction asks of one sticky register."""
    if not isinstance(op, Instruction):
        return None
    register = STICKY[state]
    if op.SPEC.integer is Integer.SET_STICKY and op.SPEC.may_write(register.memory):
        (source,) = op.operands
        if not isinstance(source.type, IndexType):
            raise CompileError("the program is in the register form already", "set-state")
        return Demand(linear_of(source), is_own=True)
    if state not in op.SPEC.sticky:
        return None
    value = op.operand_named(state)
    if value is None or (register.flag is not None and not _is_set(op, register.flag)):
        return None
    return Demand(linear_of(value))


def _is_set(op: Instruction, flag: str) -> bool:
    """Whether a flag makes the instruction look at its register."""
    return bool(op.SPEC.by_name[flag].canonical(op.number(flag)))


def _strip(op: Instruction) -> None:
    """Replaces an instruction by one without sticky operands."""
    if not any(op.operand_named(state) is not None for state in op.SPEC.sticky):
        return
    values: dict[str, SSAValue | int] = {
        slot.name: value for slot, value in op.named_operands() if slot.name not in op.SPEC.sticky
    }
    values |= {s.name: op.number(s.name) for s in op.SPEC.slots if s.name in op.properties}
    _insert(op, type(op).named(values, dict(op.attributes)))
    op.detach()
    op.erase()


class _Bases:
    """Puts base addresses into a registers."""

    def __init__(self, module: ModuleOp) -> None:
        self.block = module.body.block
        self.declarations: list[Operation] = []
        self.cells: dict[int, SSAValue] = {}
        self.used: set[int] = set()
        for op in module.walk():
            if isinstance(op, RegisterOp) and isinstance(op.cell.type, ARegister):
                register = op.cell.type
                if not register.is_allocated:
                    raise CompileError("base addresses and virtual base registers are mixed", "set-state")
                self.cells.setdefault(register.index.data, op.cell)  # type: ignore[union-attr]
        for op in instructions_in(module):
            self.used |= {self._number(v) for v in op.operands if isinstance(v.type, ARegister)}

    @staticmethod
    def _number(cell: SSAValue) -> int:
        assert isinstance(cell.type, ARegister) and cell.type.number is not None
        return cell.type.number

    def run(self) -> None:
        """Replaces every base expression by a register."""
        needs = list(self._needs())
        others = [(op, base) for op, base in needs if base != Linear(0)]
        free = [n for n in range(1, BASE_REGISTERS) if n not in self.used]
        if others and not free:
            raise CompileError("no base register is left for the base addresses", "set-state")
        register_of = {base: free[n] for base, n in assign_bases(others, self.block, len(free)).items()}
        base_of = dict(others)
        for register in sorted(set(register_of.values())):
            mine = {op: base for op, base in base_of.items() if register_of[base] == register}
            demands = {op: Demand(base) for op, base in mine.items()}
            for before, base in place_settings(self.block, Linear(0), demands.get):
                upper, lower = split_words(base)
                hi, lo = _value(before, Linear(upper)), _value(before, lower)
                _insert(before, build("C_SET_ADDR_REG", dst=self._cell(register), hi=hi, lo=lo))
        for op, base in needs:
            op.operands[self._position(op)] = self._cell(register_of.get(base, 0))
        first = self.block.first_op
        if first is not None:
            self.block.insert_ops_before(self.declarations, first)

    def _needs(self) -> Iterator[tuple[Operation, Linear]]:
        for op in self.block.walk():
            if isinstance(op, Instruction) and op.SPEC.transfer is not None:
                base = op.operand_named("base")
                if base is not None and isinstance(base.type, IndexType):
                    yield op, linear_of(base)

    @staticmethod
    def _position(op: Operation) -> int:
        assert isinstance(op, Instruction)
        return [slot.name for slot, _ in op.named_operands()].index("base")

    def _cell(self, register: int) -> SSAValue:
        if register not in self.cells:
            op = RegisterOp(ARegister.from_index(register))
            self.declarations.append(op)
            self.cells[register] = op.cell
        return self.cells[register]
