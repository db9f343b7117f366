"""Between a module in register form and a flat stream of instructions.

    [AsmInstruction]  --module_from_instructions-->  builtin.module of plena_isa ops on physical cells
                      <--instructions_from_module--  the same, loops flat or as loop.for with a counter cell

Every instruction may carry where it comes from: the module path of the user's model and the kernel step, as
the discardable attributes `plena.module` and `plena.step` of its op.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from plena.assembly import INVALID, AsmInstruction
from plena.dialects.loop import ForOp, YieldOp
from plena.dialects.plena_isa import (
    INSTRUCTIONS,
    OP_OF_MNEMONIC,
    Instruction,
    InstructionSpec,
    Kind,
    RegisterOp,
)
from plena.dialects.plena_isa.instruction import (
    REGISTER_OF_KIND,
    has_segments,
    integer,
    operand_slots,
    segment_sizes,
)
from plena.dialects.plena_isa.registers import PlenaRegister
from plena.dialects.provenance import MODULE_ATTRIBUTE, STEP_ATTRIBUTE
from plena.errors import PlenaError
from plena.machine.constants import LARGEST_TRIP_COUNT

LOOP_START = INSTRUCTIONS["C_LOOP_START"]
LOOP_END = INSTRUCTIONS["C_LOOP_END"]


class Provenance(NamedTuple):
    """Where an instruction comes from: module path in the user's model, kernel step; empty = unknown."""

    module: str = ""
    step: str = ""


UNKNOWN = Provenance()


@dataclass(slots=True)
class Stream:
    """A flat program and, instruction by instruction, where it comes from."""

    instructions: list[AsmInstruction] = field(default_factory=list[AsmInstruction])
    provenance: list[Provenance] = field(default_factory=list[Provenance])


def module_from_instructions(
    instructions: Sequence[AsmInstruction], provenance: Sequence[Provenance] | None = None
) -> ModuleOp:
    """The flat register form: physical cells declared once at the top, then one op per instruction.

    Bits of a word that the machine ignores are lost.

    Raises:
        PlenaError: a word that decodes to no instruction, or that the machine refuses to load.
    """
    builder = _FlatBuilder()
    operations = [builder.operation(i, position) for position, i in enumerate(instructions)]
    if provenance is not None:
        for operation, origin in zip(operations, provenance, strict=True):
            operation.attributes.update(attributes_of(origin))
    return ModuleOp([*builder.declarations, *operations])


def instructions_from_module(module: ModuleOp) -> list[AsmInstruction]:
    """The flat program of a module in allocated register form, see `stream_from_module`."""
    return stream_from_module(module).instructions


def stream_from_module(module: ModuleOp) -> Stream:
    """The flat program of a module in allocated register form, with provenance.

    A `loop.for` becomes C_LOOP_START counter, trips ... C_LOOP_END counter. An op without provenance has that
    of the loop around it, else that of the next instruction that has one (it sets something up for it), else of
    the last.

    Raises:
        PlenaError: the module is not in allocated register form (an index operand, a virtual register, a loop
            without counter, an op of another dialect), or a trip count does not fit its immediate.
    """
    flattener = _Flattener()
    flattener.block(module.body.block, UNKNOWN)
    stream = flattener.stream
    _fill_gaps(stream.provenance)
    return stream


@dataclass(slots=True)
class _FlatBuilder:
    """Builds ops fast: one declaration per register, operands and properties once per distinct instruction."""

    declarations: list[RegisterOp] = field(default_factory=list[RegisterOp])
    cells: dict[tuple[Kind, int], SSAValue] = field(default_factory=dict[tuple[Kind, int], SSAValue])
    known: dict[AsmInstruction, tuple[type[Instruction], list[SSAValue], dict[str, Attribute]]] = field(
        default_factory=dict[AsmInstruction, tuple[type[Instruction], list[SSAValue], dict[str, Attribute]]]
    )

    def operation(self, instruction: AsmInstruction, position: int) -> Operation:
        parts = self.known.get(instruction)
        if parts is None:
            parts = self.known[instruction] = self._parts(instruction, position)
        op_class, operands, properties = parts
        return op_class.create(operands=operands, properties=properties.copy())

    def _parts(
        self, instruction: AsmInstruction, position: int
    ) -> tuple[type[Instruction], list[SSAValue], dict[str, Attribute]]:
        spec = instruction.spec
        where = f"instruction {position}"
        if spec is INVALID:
            raise PlenaError(f"the word 0x{instruction.word or 0:08X} decodes to no instruction", where)
        operands: list[SSAValue] = []
        properties: dict[str, Attribute] = {}
        for slot, value in zip(spec.slots, instruction.values, strict=True):
            if slot.is_register:
                operands.append(self._cell(slot.kind, value))
            elif slot.kind is not Kind.ZERO:
                properties[slot.name] = integer(value)
            elif value and slot.refused:
                raise PlenaError(f"{spec.mnemonic} with a nonzero rd field does not load", where)
        if has_segments(spec):
            properties["operandSegmentSizes"] = _register_segments(spec)
        return OP_OF_MNEMONIC[spec.mnemonic], operands, properties

    def _cell(self, kind: Kind, number: int) -> SSAValue:
        cell = self.cells.get((kind, number))
        if cell is None:
            declaration = RegisterOp(REGISTER_OF_KIND[kind].at(number))
            self.declarations.append(declaration)
            cell = self.cells[kind, number] = declaration.cell
        return cell


def _register_segments(spec: InstructionSpec) -> Attribute:
    return segment_sizes(tuple(int(slot.name not in spec.sticky) for slot in operand_slots(spec)))


def attributes_of(origin: Provenance) -> dict[str, Attribute]:
    """The discardable attributes that record where an instruction comes from."""
    named = ((MODULE_ATTRIBUTE, origin.module), (STEP_ATTRIBUTE, origin.step))
    return {name: StringAttr(text) for name, text in named if text}


@dataclass(slots=True)
class _Flattener:
    stream: Stream = field(default_factory=Stream)
    numbers: dict[Attribute, int] = field(default_factory=dict[Attribute, int])
    """Register numbers by type."""
    origins: dict[tuple[Attribute | None, Attribute | None], Provenance] = field(
        default_factory=dict[tuple[Attribute | None, Attribute | None], Provenance]
    )

    def block(self, block: Block, around: Provenance) -> None:
        for operation in block.ops:
            if isinstance(operation, Instruction):
                self._append(self._instruction(operation), self._origin(operation, around))
            elif isinstance(operation, ForOp):
                self._loop(operation, around)
            elif not isinstance(operation, RegisterOp | YieldOp):
                raise _not_register_form(operation, f"{operation.name} is not an instruction")

    def _append(self, instruction: AsmInstruction, origin: Provenance) -> None:
        self.stream.instructions.append(instruction)
        self.stream.provenance.append(origin)

    def _loop(self, loop: ForOp, around: Provenance) -> None:
        if loop.counter is None:
            raise _not_register_form(loop, "a loop.for has no counter register")
        if loop.trips > LARGEST_TRIP_COUNT:
            raise PlenaError(
                f"a loop runs {loop.trips} times; the hardware counts to {LARGEST_TRIP_COUNT}",
                hint="Split the loop.",
            )
        counter = self._number(loop.counter, loop)
        origin = self._origin(loop, around)
        self._append(AsmInstruction(LOOP_START, (counter, loop.trips)), origin)
        self.block(loop.body.block, origin)
        self._append(AsmInstruction(LOOP_END, (counter,)), origin)

    def _instruction(self, op: Instruction) -> AsmInstruction:
        spec = op.SPEC
        if len(op.operands) != sum(slot.is_register for slot in spec.slots):
            raise _not_register_form(op, f"{spec.mnemonic} has operands of the affine form")
        operands = iter(op.operands)
        values: list[int] = []
        for slot in spec.slots:
            if slot.is_register:
                values.append(self._number(next(operands), op))
            else:
                values.append(0 if slot.kind is Kind.ZERO else op.number(slot.name))
        return AsmInstruction(spec, tuple(values))

    def _number(self, value: SSAValue, op: Operation) -> int:
        number = self.numbers.get(value.type)
        if number is None:
            if not isinstance(value.type, PlenaRegister):
                raise _not_register_form(op, f"an operand of {op.name} is of type {value.type}")
            number = value.type.number
            if number is None:
                raise _not_register_form(op, f"an operand of {op.name} is a virtual register")
            self.numbers[value.type] = number
        return number

    def _origin(self, op: Operation, around: Provenance) -> Provenance:
        if not op.attributes:
            return around
        key = (op.attributes.get(MODULE_ATTRIBUTE), op.attributes.get(STEP_ATTRIBUTE))
        origin = self.origins.get(key)
        if origin is None:
            module, step = (a.data if isinstance(a, StringAttr) else "" for a in key)
            origin = self.origins[key] = Provenance(module, step)
        return Provenance(origin.module or around.module, origin.step or around.step)


def _fill_gaps(provenance: list[Provenance]) -> None:
    """Gives unknown entries the next known one, those at the end the last known one."""
    for later, earlier in pairwise(range(len(provenance) - 1, -1, -1)):
        if provenance[earlier] == UNKNOWN:
            provenance[earlier] = provenance[later]
    for earlier, later in pairwise(range(len(provenance))):
        if provenance[later] == UNKNOWN:
            provenance[later] = provenance[earlier]


def _not_register_form(op: Operation, what: str) -> PlenaError:
    text = str(op).split("\n", 1)[0]
    return PlenaError(
        f"{what}: the module is not in allocated register form",
        text if len(text) <= 100 else text[:100] + "...",
        "Run materialize-addresses and allocate-registers first.",
    )
