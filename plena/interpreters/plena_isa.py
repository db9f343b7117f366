"""Interpreter of the `plena_isa` dialect, affine and register form: steps the emulator instruction by instruction.

Index values are Python integers. A physical register is the machine's; a virtual one keeps its content here and is
lent a machine register for the one instruction that names it. So a module can be run at any point between the affine
form and the allocated program, and all must leave the same memories.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls
from xdsl.utils.exceptions import InterpretationError

from plena.assembly import encode
from plena.assembly.encoding import encode_values
from plena.assembly.stream import instructions_from_module
from plena.dialects.derived import derived
from plena.dialects.plena_isa import OP_OF_MNEMONIC, Instruction, Kind, Mode, PlenaRegister, RegisterOp
from plena.dialects.plena_isa.control import CBreakOp, CLoopEndOp, CLoopStartOp
from plena.dialects.plena_isa.instruction import REGISTER_OF_KIND
from plena.emulator import EmulationResult, Machine
from plena.emulator.state import SCALE, STRIDE, V_MASK
from plena.interpreters.loop import LoopFunctions
from plena.machine.target import Target

STICKY = {"scale": SCALE, "stride": STRIDE, "v_mask": V_MASK}
"""Sticky operands of the affine form and where the machine keeps them."""

WORD = 0xFFFFFFFF

FLAT_LOOPS = (CLoopStartOp, CLoopEndOp, CBreakOp)

Number: TypeAlias = "int | np.float32"


class VirtualCell:
    """A register that has no machine register yet."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.content: Number | None = None

    def load(self) -> Number:
        if self.content is None:
            raise InterpretationError(f"a virtual {self.kind.value} register is read before it is written")
        return self.content

    def store(self, number: Number) -> None:
        self.content = number


@dataclass(slots=True)
class MachineCell:
    """A machine register: one element of a register file."""

    kind: Kind
    number: int
    file: NDArray[Any]

    def load(self) -> Number:
        return self.file[self.number]

    def store(self, number: Number) -> None:
        self.file[self.number] = number


Cell: TypeAlias = VirtualCell | MachineCell

_KIND_OF_REGISTER = {register: kind for kind, register in REGISTER_OF_KIND.items()}


@dataclass(slots=True)
class _Loans:
    """Machine registers lent to operands for one instruction, with what they held before."""

    files: dict[Kind, NDArray[Any]]
    taken: dict[Kind, set[int]]
    numbers: dict[VirtualCell, int] = field(default_factory=dict[VirtualCell, int])
    before: list[tuple[Kind, int, Number]] = field(default_factory=list[tuple[Kind, int, Number]])

    def lend(self, kind: Kind, content: Number) -> int:
        """A register of a file, set to `content`; never register 0, which reads as zero."""
        number = next(n for n in range(len(self.files[kind]) - 1, 0, -1) if n not in self.taken[kind])
        self.taken[kind].add(number)
        self.before.append((kind, number, self.files[kind][number]))
        self.files[kind][number] = content
        return number

    def end(self) -> None:
        for kind, number, content in self.before:
            self.files[kind][number] = content


class PlenaISAFunctions(InterpreterFunctions):
    """Implements register declarations and every instruction outside of flat loops."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.files: dict[Kind, NDArray[Any]] = {Kind.GP: machine.gp, Kind.F: machine.fp, Kind.A: machine.hb}
        self.counters: dict[str, int] = {}

    @impl(RegisterOp)
    def declare(self, interpreter: Interpreter, op: RegisterOp, args: PythonValues) -> PythonValues:
        register = op.cell.type
        assert isinstance(register, PlenaRegister)
        kind = _KIND_OF_REGISTER[type(register)]
        number = register.number
        return (VirtualCell(kind) if number is None else MachineCell(kind, number, self.files[kind]),)

    def execute(self, interpreter: Interpreter, op: Instruction, args: PythonValues) -> PythonValues:
        """Runs one instruction: lends registers to its index values and virtual cells, takes results back."""
        given = {slot.name: value for (slot, _), value in zip(op.named_operands(), args, strict=True)}
        sticky = self.machine.state.sticky
        sticky_before = sticky.copy()
        state = {name: given.pop(name) for name in op.SPEC.sticky if name in given}
        for name, value in state.items():
            sticky[STICKY[name]] = _u32(value)
        loans = _Loans(self.files, {kind: _named(kind, given.values()) for kind in self.files})
        values = [self._field(op, slot.name, given, loans) for slot in op.SPEC.slots]
        try:
            self.machine.execute(encode_values(op.SPEC, values))
        finally:
            results = self._take_back(op, given, values)
            loans.end()
        for name in state:
            sticky[STICKY[name]] = sticky_before[STICKY[name]]
        self.counters[op.SPEC.mnemonic] = self.counters.get(op.SPEC.mnemonic, 0) + 1
        return results

    def _field(self, op: Instruction, name: str, given: dict[str, Any], loans: _Loans) -> int:
        """What goes into the word for a slot."""
        slot = op.SPEC.by_name[name]
        if slot.kind is Kind.ZERO:
            return 0
        if not slot.is_register:
            return op.number(name)
        match given.get(name):
            case None:
                return loans.lend(slot.kind, 0)
            case MachineCell() as cell:
                return cell.number
            case VirtualCell() as cell:
                if cell not in loans.numbers:
                    content = cell.load() if Mode.READ in slot.mode or _reads(op, given, cell) else 0
                    loans.numbers[cell] = loans.lend(slot.kind, content)
                return loans.numbers[cell]
            case int() as index:
                return loans.lend(slot.kind, index if slot.kind is Kind.A else _u32(index))
            case other:
                raise InterpretationError(f"{op.SPEC.mnemonic}: {name} is {other!r}")

    def _take_back(self, op: Instruction, given: dict[str, Any], values: list[int]) -> PythonValues:
        results: PythonValues = ()
        for slot, number in zip(op.SPEC.slots, values, strict=True):
            if slot.is_register and Mode.WRITE in slot.mode:
                cell = given.get(slot.name)
                if isinstance(cell, VirtualCell):
                    cell.store(self.files[slot.kind][number].item())
                elif cell is None:
                    results = (int(self.files[slot.kind][number]),)
        return results


def _reads(op: Instruction, given: dict[str, Any], cell: VirtualCell) -> bool:
    return any(given.get(slot.name) is cell and Mode.READ in slot.mode for slot in op.SPEC.slots)


def _named(kind: Kind, operands: Any) -> set[int]:
    """The machine registers of a file that an instruction names itself."""
    return {cell.number for cell in operands if isinstance(cell, MachineCell) and cell.kind is kind}


def _u32(index: int) -> int:
    if index < 0:
        raise InterpretationError(f"an address or count is negative: {index}")
    return index & WORD


@derived
def _functions() -> type[PlenaISAFunctions]:
    """The functions of every instruction that is declared."""
    methods = {
        f"run_{op.__name__}": impl(op)(PlenaISAFunctions.execute)
        for op in OP_OF_MNEMONIC.values()
        if op not in FLAT_LOOPS
    }
    return register_impls(type("AllFunctions", (PlenaISAFunctions,), methods))


def run_module(
    module: ModuleOp,
    target: Target | None = None,
    hbm: bytes | bytearray | memoryview | NDArray[Any] = b"",
    fp_sram: ArrayLike = (),
    int_sram: ArrayLike = (),
    vram: ArrayLike | None = None,
    *,
    in_place: bool = False,
) -> EmulationResult:
    """Runs a module of `loop` and `plena_isa` in any form on a freshly reset machine.

    Inputs as of `plena.emulate`. A module with flat loops must be in allocated register form.

    Returns:
        The memories and registers; `executed` and `counters` of the instructions run (for structured loops
        without the loop instructions); cycles only for flat loops.

    Raises:
        EmulatorError: an instruction aborts.
        InterpretationError: a virtual register is read before it is written, a negative address.
    """
    machine = Machine(target or Target.from_module(module), hbm, fp_sram, int_sram, vram, in_place=in_place)
    if any(isinstance(op, FLAT_LOOPS) for op in module.walk()):
        return machine.run(encode(instructions_from_module(module)))
    functions = _functions()(machine)
    interpreter = Interpreter(module)
    interpreter.register_implementations(LoopFunctions())
    interpreter.register_implementations(functions)
    interpreter.run_ssacfg_region(module.body, (), "program")
    counters = functions.counters
    return replace(machine.run([]), executed=sum(counters.values()), counters=counters)
