"""A lifted program as a module in affine form."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects.builtin import ArrayAttr, IndexType, IntAttr, ModuleOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from plena.dialects.derived import derived
from plena.dialects.loop import AffineOp, ForOp, YieldOp
from plena.dialects.plena_isa import (
    INSTRUCTIONS,
    OP_OF_MNEMONIC,
    Field,
    FRegister,
    GPRegister,
    Instruction,
    Integer,
    Kind,
    Mode,
    RegisterOp,
    build,
)
from plena.dialects.plena_isa.instruction import (
    has_segments,
    integer,
    operand_slots,
    property_slots,
    segment_sizes,
)
from plena.lifting.flat_program import OPCODE_MASK, FlatProgram
from plena.lifting.records import RecordLayout, layout, opcode_doing, transfers_with_scales
from plena.lifting.tree import (
    LiftedInstruction,
    LiftedItem,
    LiftedLoop,
    LiftedProgram,
    Number,
    expression_of,
    number_of,
)
from plena.machine.constants import F_REGISTERS, INT_LIMIT

LOAD = opcode_doing(Integer.LOAD)
_INDEX = IndexType()
RANGE_ATTRIBUTE = "plena.range"
"""On S_LD_INT in affine form: bounds of the loaded number, `[low, high]`."""


def module_of(program: LiftedProgram) -> ModuleOp:
    """The affine form: f registers are virtual cells (f0 the machine's), everything integer is `index` values."""
    builder = _Builder(program)
    body = builder.block(program.body)
    module = ModuleOp([*builder.declarations(), *body])
    program.target.attach(module)
    return module


@dataclass(frozen=True, slots=True)
class _Template:
    """What instructions that differ only in addresses share."""

    op_class: type[Instruction]
    operands: list[SSAValue | None]
    places: tuple[int, ...]
    """Where the numbers of the record go, in record order; the HBM base is one number by then."""
    properties: dict[str, Attribute]


@dataclass
class _Builder:
    program: LiftedProgram
    cells: dict[int, RegisterOp] = field(default_factory=dict[int, RegisterOp])
    gp_zero: RegisterOp | None = None
    indices: dict[int, SSAValue] = field(default_factory=dict[int, SSAValue])
    templates: dict[tuple[int, bool], _Template] = field(default_factory=dict[tuple[int, bool], _Template])
    known: list[dict[Number, SSAValue]] = field(default_factory=list[dict[Number, SSAValue]])

    def __post_init__(self) -> None:
        self.has_scales = transfers_with_scales(self.program.target)

    def declarations(self) -> list[Operation]:
        """Register cells, and the reset values that the program relies on."""
        reset = [self._cell(number) for number in read_at_reset(self.program.code)]
        zero = self._cell(0) if reset else None
        declared: list[Operation] = [] if self.gp_zero is None else [self.gp_zero]
        declared.extend(self.cells[number] for number in sorted(self.cells))
        if zero is not None:
            declared.extend(build("S_ADD_FP", dst=cell, a=zero, b=zero) for cell in reset)
        return declared

    def block(self, items: list[LiftedItem]) -> list[Operation]:
        """The operations of a body."""
        code = self.program.code
        ops: list[Operation] = []
        self.known.append({})
        for item in items:
            if isinstance(item, LiftedLoop):
                body = Block(arg_types=[_INDEX])
                self.indices[item.index] = body.args[0]
                body.add_ops([*self.block(item.body), YieldOp()])
                ops.append(ForOp(item.trips, Region(body)))
            else:
                op = self._instruction(item, ops)
                if code.attributes is not None:
                    op.attributes.update(code.attributes[item[0]])
                ops.append(op)
        self.known.pop()
        return ops

    def _instruction(self, item: LiftedInstruction, ops: list[Operation]) -> Operation:
        code = self.program.code
        pc = item[0]
        op = code.op[pc]
        if op == LOAD:
            return self._load(item, ops)
        shape = layout(op)
        numbers = item[1:]
        if shape.transfer:
            count = len(shape.addresses)
            numbers = (*numbers[:count], _wide(numbers[count], numbers[count + 1]), *numbers[count + 2 :])
        is_unit_stride = shape.pitch is not None and numbers[shape.pitch[0]] == _unit(shape)
        key = (int(code.words[pc]) & kept_bits(op), is_unit_stride)
        template = self.templates.get(key)
        if template is None:
            template = self.templates[key] = self._template(pc, op, is_unit_stride)
        operands = list(template.operands)
        for place, number in zip(template.places, numbers, strict=True):
            if place >= 0:
                operands[place] = self._value(number, ops)
        return template.op_class.create(operands=operands, properties=template.properties)  # pyright: ignore[reportArgumentType]

    def _load(self, item: LiftedInstruction, ops: list[Operation]) -> Operation:
        index = item[2]
        assert isinstance(index, int)
        op = build("S_LD_INT", base=self._value(item[1], ops))
        low, high = self.program.bounds[index]
        if (low, high) != (0, (1 << 32) - 1):
            op.attributes[RANGE_ATTRIBUTE] = ArrayAttr([IntAttr(low), IntAttr(high)])
        self.indices[index] = op.results[0]
        return op

    def _value(self, number: Number, ops: list[Operation]) -> SSAValue:
        """The SSA value of a number: a `loop.affine` of this block or one around it, or an index itself."""
        for known in reversed(self.known):
            value = known.get(number)
            if value is not None:
                return value
        if isinstance(number, int):
            constant, terms = number, ()
        else:
            constant, terms = number.constant, number.terms
        if not constant and len(terms) == 1 and terms[0][1] == 1:
            return self.indices[terms[0][0]]
        op = AffineOp.create(
            operands=[self.indices[i] for i, _ in terms],
            properties={
                "constant": IntAttr(constant),
                "coefficients": ArrayAttr([IntAttr(c) for _, c in terms]),
            },
            result_types=[_INDEX],
        )
        ops.append(op)
        value = self.known[-1][number] = op.results[0]
        return value

    def _template(self, pc: int, op: int, is_unit_stride: bool) -> _Template:
        code, shape = self.program.code, layout(op)
        spec = shape.spec
        operands: list[SSAValue | None] = []
        position: dict[str, int] = {}
        segments: list[int] = []
        present = self._state_in_use(pc, op)
        for slot in operand_slots(spec):
            is_present = not slot.optional or slot.name in present
            segments.append(int(is_present))
            if not is_present:
                continue
            position[slot.name] = len(operands)
            if slot.kind is Kind.F:
                operands.append(self._cell(code.number(pc, slot.field)))
            else:
                operands.append(None)
        names = [*shape.addresses]
        if shape.transfer:
            names += ["base", "scale", "stride"]
        elif "v_mask" in present:
            names.append("v_mask")
        places = [position.get(name, -1) for name in names]
        if is_unit_stride and shape.pitch is not None:
            operands[position[shape.addresses[shape.pitch[0]]]] = self._zero()
            places[shape.pitch[0]] = -1
        properties: dict[str, Attribute] = {}
        for slot in property_slots(spec):
            is_folded = slot.kind is Kind.IMMEDIATE
            properties[slot.name] = integer(0 if is_folded else slot.canonical(code.number(pc, slot.field)))
        if has_segments(spec):
            properties["operandSegmentSizes"] = segment_sizes(tuple(segments))
        return _Template(OP_OF_MNEMONIC[spec.mnemonic], operands, tuple(places), properties)

    def _state_in_use(self, pc: int, op: int) -> tuple[str, ...]:
        """The sticky state that has an effect on an instruction."""
        code, shape = self.program.code, layout(op)
        if shape.transfer:
            has_scale = self.has_scales[op, code.number(pc, Field.FUNCT1) != 0]
            return ("scale",) * has_scale + ("stride",) * shape.uses_stride(code.flags[pc])
        return ("v_mask",) if shape.mask is not None and code.field(shape.mask.field)[pc] else ()

    def _cell(self, number: int) -> SSAValue:
        """The cell of an f register."""
        if number not in self.cells:
            self.cells[number] = RegisterOp(FRegister.unallocated() if number else FRegister.at(0))
        return self.cells[number].cell

    def _zero(self) -> SSAValue:
        if self.gp_zero is None:
            self.gp_zero = RegisterOp(GPRegister.at(0))
        return self.gp_zero.cell


def read_at_reset(code: FlatProgram) -> list[int]:
    """The f registers that are read before anything writes them: the program relies on their +0."""
    words = code.words.astype(np.int64)
    opcodes = words & OPCODE_MASK
    never = len(words)
    first = {Mode.READ: [never] * F_REGISTERS, Mode.WRITE: [never] * F_REGISTERS}
    for spec in INSTRUCTIONS.values():
        slots = [s for s in spec.slots if s.kind is Kind.F]
        positions = np.flatnonzero(opcodes == spec.opcode) if slots else np.empty(0, np.int64)
        if spec.free_if_f0:
            positions = positions[(words[positions] >> Field.RD.lsb & Field.RD.limit - 1) != 0]
        for slot in slots if positions.size else ():
            named = words[positions] >> slot.field.lsb & slot.field.limit - 1
            for mode, table in first.items():
                for number in np.unique(named).tolist() if mode in slot.mode else ():
                    if number < F_REGISTERS:
                        table[number] = min(table[number], int(positions[np.argmax(named == number)]))
    reads, writes = first[Mode.READ], first[Mode.WRITE]
    return [n for n in range(1, F_REGISTERS) if reads[n] < never and reads[n] <= writes[n]]


def _wide(high: Number, low: Number) -> Number:
    """high << 32 | low."""
    return number_of(expression_of(low) + expression_of(high) * INT_LIMIT)


def _unit(shape: RecordLayout) -> int | None:
    """The row pitch that the register gp0 stands for."""
    assert shape.pitch is not None
    return shape.spec.by_name[shape.addresses[shape.pitch[0]]].gp0_means


@derived
def kept_bits(op: int) -> int:
    """The bits of a word that are not addresses: opcode, f registers, flags; for M_MM_WO nothing more."""
    bits = OPCODE_MASK
    for slot in layout(op).spec.slots:
        if slot.kind in (Kind.F, Kind.FLAG):
            bits |= (slot.field.limit - 1) << slot.field.lsb
    return bits
