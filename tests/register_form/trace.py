"""The scalar state of a program, executed: what every instruction is given, with all addresses resolved.

The affine form is evaluated by its expressions, the register form by its scalar instructions and loop counters;
f registers hold terms that say how they were computed. The sequences of two forms of a program must be equal. It
shares nothing with plena.loops.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import IndexType, IntegerAttr, ModuleOp
from xdsl.ir import Block, SSAValue

from plena.dialects.loop import AffineOp, ForOp
from plena.dialects.plena_isa import GPRegister, Instruction, Mode, PlenaRegister

WORD = 1 << 32
ARITHMETIC = ("S_ADD_INT", "S_SUB_INT", "S_MUL_INT", "S_ADDI_INT", "S_LUI_INT")

Event = tuple[object, ...]


class Trace:
    """Runs a module; `spill_base` and `fp_spill_base` are the first SRAM words that are the compiler's own."""

    def __init__(self, module: ModuleOp) -> None:
        self.module = module
        self.registers: dict[object, int] = {}
        self.int_sram: dict[int, int] = {}
        self.spill_base, self.fp_spill_base = (
            1024 - words.value.data if isinstance(words, IntegerAttr) else 1024
            for words in (module.attributes.get(f"plena.{m}_spill_words") for m in ("int", "fp"))
        )
        self.terms: dict[object, object] = {}
        self.fp_sram: dict[int, object] = {}
        self.count = 0
        self.scalar_instructions = 0

    def events(self) -> list[Event]:
        return list(self._block(self.module.body.block, {}))

    def load(self, word: int) -> int:
        """INT SRAM: untouched user words hold small numbers that depend on the address."""
        assert word < self.spill_base or word in self.int_sram, f"spill word {word} read before written"
        return self.int_sram.setdefault(word, 64 * (word * 7 % 5))

    def key(self, cell: SSAValue) -> object:
        kind = cell.type
        return str(kind) if isinstance(kind, PlenaRegister) and kind.is_allocated else cell

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
                        assert iteration == 0 or self.registers[name] == op.trips - iteration + 1, (
                            "counter lost"
                        )
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
        given: list[object] = []
        target: SSAValue | None = None
        result: SSAValue | None = None
        for slot, value in op.named_operands():
            if isinstance(value.type, GPRegister) and slot.mode is Mode.WRITE:
                target = value
            elif isinstance(value.type, IndexType | GPRegister):
                numbers[slot.name] = self._number(op, slot.name, value, values)
            else:
                if Mode.READ in slot.mode:
                    given.append(self.term(value))
                if Mode.WRITE in slot.mode:
                    result = value
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
        if mnemonic in ("S_LD_FP", "S_ST_FP") and numbers["base"] >= self.fp_spill_base:
            if mnemonic == "S_ST_FP":
                self.fp_sram[numbers["base"]] = given[0]
            elif result is not None:
                self.terms[self.key(result)] = self.fp_sram.get(numbers["base"], "zero")
            return
        flags = tuple(op.number(s.name) for s in op.SPEC.slots if s.kind.value == "flag")
        event = (mnemonic, flags, tuple(sorted(numbers.items())), tuple(given))
        if mnemonic == "S_LD_FP":
            self.terms[self.key(result)] = self.fp_sram.get(numbers["base"], ("FP", numbers["base"]))
            return
        if mnemonic == "S_ST_FP":
            self.fp_sram[numbers["base"]] = given[0]
        if mnemonic == "S_ADD_FP" and given == ["zero", "zero"]:
            self.terms[self.key(result)] = "zero"
            return
        if result is not None and self.key(result) != "!plena_isa.f<f0>":
            self.count += 1
            self.terms[self.key(result)] = (mnemonic, self.count)
        yield event

    def term(self, cell: SSAValue) -> object:
        """What an f or a register holds: how it was computed. Registers start at zero."""
        return "zero" if self.key(cell) == "!plena_isa.f<f0>" else self.terms.get(self.key(cell), "zero")

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
