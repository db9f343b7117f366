"""The integer state of a program, executed: what every instruction is given, with all addresses resolved.

The affine form is evaluated by its expressions, the register form by its scalar instructions and loop counters. The
two sequences must be equal. It shares nothing with plena.analysis.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import IndexType, IntegerAttr, ModuleOp
from xdsl.ir import Block, SSAValue

from plena.dialects.loop import AffineOp, ForOp
from plena.dialects.plena_isa import GPRegister, Instruction, Mode

WORD = 1 << 32
ARITHMETIC = ("S_ADD_INT", "S_SUB_INT", "S_MUL_INT", "S_ADDI_INT", "S_LUI_INT")

Event = tuple[object, ...]


class Trace:
    """Runs a module; `spill_base` is the first INT SRAM word that is the compiler's own."""

    def __init__(self, module: ModuleOp) -> None:
        self.module = module
        self.registers: dict[object, int] = {}
        self.int_sram: dict[int, int] = {}
        base = module.attributes.get("plena.int_spill_base")
        self.spill_base = base.value.data if isinstance(base, IntegerAttr) else 1024
        self.scalar_instructions = 0

    def events(self) -> list[Event]:
        return list(self._block(self.module.body.block, {}))

    def load(self, word: int) -> int:
        """INT SRAM: untouched user words hold small numbers that depend on the address."""
        assert word < self.spill_base or word in self.int_sram, f"spill word {word} read before written"
        return self.int_sram.setdefault(word, 64 * (word * 7 % 5))

    def key(self, cell: SSAValue) -> object:
        kind = cell.type
        return str(kind) if isinstance(kind, GPRegister) and kind.is_allocated else cell

    def read(self, cell: SSAValue) -> int:
        if self.key(cell) == "!plena_isa.gp<gp0>":
            return 0
        assert self.key(cell) in self.registers, "a register is read before it is written"
        return self.registers[self.key(cell)]

    def _block(self, block: Block, values: dict[SSAValue, int]) -> Iterator[Event]:
        for op in block.ops:
            if isinstance(op, AffineOp):
                values[op.results[0]] = op.expression.evaluate(values)
            elif isinstance(op, ForOp):
                for iteration in range(op.trips):
                    if op.counter is not None:
                        name = self.key(op.counter)
                        assert iteration == 0 or self.registers[name] == op.trips - iteration + 1, "counter lost"
                        self.registers[name] = op.trips - iteration
                    yield from self._block(op.body.block, {**values, op.index: iteration})
                if op.counter is not None:
                    assert self.registers[self.key(op.counter)] == 1, "counter lost"
                    self.registers[self.key(op.counter)] = 0
            elif isinstance(op, Instruction):
                yield from self._step(op, values)

    def _number(self, op: Instruction, name: str, value: SSAValue, values: dict[SSAValue, int]) -> int:
        mnemonic = op.SPEC.mnemonic
        if isinstance(value.type, IndexType):
            number = values[value] % WORD
        else:
            number = self.read(value)
            if mnemonic == "M_MM_WO" and name == "stride" and self.key(value) == "!plena_isa.gp<gp0>":
                return 1
        offset = next((s for s in op.SPEC.slots if s.offsets == name), None)
        return (number + (op.number(offset.name) if offset is not None else 0)) % WORD

    def _step(self, op: Instruction, values: dict[SSAValue, int]) -> Iterator[Event]:
        mnemonic = op.SPEC.mnemonic
        numbers: dict[str, int] = {}
        cells: list[SSAValue] = []
        target: SSAValue | None = None
        for slot, value in op.named_operands():
            if isinstance(value.type, GPRegister) and slot.mode is Mode.WRITE:
                target = value
            elif isinstance(value.type, IndexType | GPRegister):
                numbers[slot.name] = self._number(op, slot.name, value, values)
            else:
                cells.append(value)
        if mnemonic in ARITHMETIC:
            assert target is not None
            self.scalar_instructions += 1
            self.registers[self.key(target)] = self._result(op, numbers) % WORD
            return
        if mnemonic == "S_LD_INT":
            loaded = self.load(numbers["base"])
            if target is not None:
                self.registers[self.key(target)] = loaded
            else:
                values[op.results[0]] = loaded
        if mnemonic == "S_ST_INT":
            self.int_sram[numbers["base"]] = numbers["src"]
        if mnemonic in ("S_LD_INT", "S_ST_INT") and numbers["base"] >= self.spill_base:
            self.scalar_instructions += 1
            return
        flags = tuple(op.number(s.name) for s in op.SPEC.slots if s.kind.value == "flag")
        yield (mnemonic, flags, tuple(sorted(numbers.items())), tuple(cells))

    @staticmethod
    def _result(op: Instruction, numbers: dict[str, int]) -> int:
        match op.SPEC.mnemonic:
            case "S_ADD_INT":
                return numbers["a"] + numbers["b"]
            case "S_SUB_INT":
                return numbers["a"] - numbers["b"]
            case "S_MUL_INT":
                return numbers["a"] * numbers["b"]
            case "S_ADDI_INT":
                return numbers["a"]
            case _:
                return op.number("imm") << 12


def trace(module: ModuleOp) -> list[Event]:
    """Every instruction that is not address arithmetic, in execution order, with what it is given."""
    return Trace(module).events()
