"""A machine that knows only effects: values are terms, instructions uninterpreted functions of what they read.

Two programs that leave the same terms everywhere compute the same whatever the instructions mean. It runs a program
iteration by iteration and shares nothing with plena.loops.
"""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, SSAValue

from plena.dialects.loop import AffineOp, ForOp, linear_of
from plena.dialects.plena_isa import Instruction, Memory, Mode, RegisterOp
from plena.dialects.plena_isa.registers import PlenaRegister
from plena.machine.target import Target

TINY = Target().with_settings(
    {
        "MLEN": 8,
        "VLEN": 8,
        "BLEN": 4,
        "HLEN": 4,
        "BROADCAST_AMOUNT": 2,
        "MATRIX_SRAM_SIZE": 64,
        "VECTOR_SRAM_SIZE": 64,
        "HBM_V_Prefetch_Amount": 2,
        "HBM_V_Writeback_Amount": 2,
        "HBM_M_Prefetch_Amount": 8,
    }
)

ZERO = 0


class UninterpretedMachine:
    """State: memory cell or register -> term number. Untouched cells are terms of their own."""

    def __init__(self, target: Target = TINY) -> None:
        self.target = target
        self.terms: dict[object, int] = {"zero": ZERO}
        self.state: dict[object, int] = {}
        self.count = 0
        self.names: dict[SSAValue, str] = {}

    def term(self, what: object) -> int:
        return self.terms.setdefault(what, len(self.terms))

    def load(self, cell: object) -> int:
        if cell not in self.state:
            accumulator = (
                isinstance(cell, tuple) and isinstance(cell[0], Memory) and cell[0].name.startswith("ACC")
            )
            self.state[cell] = ZERO if accumulator else self.term(("initial", cell))
        return self.state[cell]

    def run(self, module: ModuleOp) -> dict[object, int]:
        declared = [op.results[0] for op in module.walk() if isinstance(op, RegisterOp)]
        self.names = {cell: f"{cell.type} {number}" for number, cell in enumerate(declared)}
        self._block(module.body.block, {})
        return {cell: value for cell, value in self.state.items() if value != self.term(("initial", cell))}

    def _block(self, block: Block, values: dict[SSAValue, int]) -> None:
        for op in block.ops:
            if isinstance(op, AffineOp):
                values[op.results[0]] = op.expression.evaluate(values)
            elif isinstance(op, ForOp):
                for iteration in range(op.trips):
                    self._block(op.body.block, {**values, op.index: iteration})
            elif isinstance(op, Instruction):
                self._step(op, values)

    def _cells(self, op: Instruction, values: dict[SSAValue, int], mode: Mode) -> list[object]:
        cells: list[object] = []
        for value, touched in op.cells():
            if mode in touched:
                kind = value.type
                assert isinstance(kind, PlenaRegister)
                cells.append(str(kind) if kind.is_allocated else self.names[value])
        for access in op.accesses(self.target):
            if mode not in access.mode:
                continue
            if access.base is None:
                cells.append((access.memory, 0))
                continue
            start = access.base.evaluate(values)
            cells += [
                (access.memory, start + row * access.pitch + column)
                for row in range(access.rows)
                for column in range(access.width)
            ]
        if op.SPEC.transfer is not None and mode is Mode.READ:
            # Other places in HBM hold something else.
            for name in ("off", "scale"):
                value = op.operand_named(name)
                assert value is not None
                cells.append((name, linear_of(value).evaluate(values)))
        return cells

    def _step(self, op: Instruction, values: dict[SSAValue, int]) -> None:
        self.count += 1
        read = tuple(self.load(cell) for cell in self._cells(op, values, Mode.READ))
        numbers = tuple(
            linear_of(v).evaluate(values)
            for slot, v in op.named_operands()
            if op.SPEC.mnemonic.startswith("C_SET") and not isinstance(v.type, PlenaRegister)
        )
        flags = tuple(op.number(s.name) for s in op.SPEC.slots if s.name in ("mask", "order", "rstride"))
        result = self.term((op.SPEC.mnemonic, flags, numbers, read))
        if op.results:
            values[op.results[0]] = 8 * (result % 4)
        for place, cell in enumerate(self._cells(op, values, Mode.WRITE)):
            cleared = (
                op.SPEC.mnemonic.endswith("_WO")
                and isinstance(cell, tuple)
                and cell[0].name.startswith("ACC")
            )
            self.state[cell] = ZERO if cleared else self.term((result, place))


def final_state(
    module: ModuleOp, target: Target = TINY, terms: dict[object, int] | None = None
) -> dict[object, int]:
    """What a program leaves in memories, cells and accumulators, as terms.

    Pass the same `terms` for every program that is compared.
    """
    machine = UninterpretedMachine(target)
    if terms is not None:
        terms.setdefault("zero", ZERO)
        machine.terms = terms
    return machine.run(module)
