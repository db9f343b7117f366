"""The base of all instruction ops, and the decorator that turns a declaration into an op class."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from xdsl.dialects.builtin import I64, IndexType, IntegerAttr, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_result_def,
    prop_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from plena.dialects.loop import Linear, linear_of
from plena.dialects.plena_isa.registers import ARegister, FRegister, GPRegister, PlenaRegister
from plena.dialects.plena_isa.spec import Cost, Field, InstructionSpec, Kind, Memory, Mode, Slot

if TYPE_CHECKING:
    from plena.machine.target import Target

REGISTER_OF_KIND: dict[Kind, type[PlenaRegister]] = {
    Kind.GP: GPRegister,
    Kind.F: FRegister,
    Kind.A: ARegister,
}

INSTRUCTIONS: dict[str, InstructionSpec] = {}
"""Every instruction's declaration by mnemonic, in opcode order of declaration."""

OP_OF_MNEMONIC: dict[str, type[Instruction]] = {}
"""The op class of every mnemonic."""


@dataclass(frozen=True)
class Access:
    """A rectangle of one memory that an instruction touches: `rows` rows of `width` cells, `pitch` apart.

    `base` is the address in the memory's unit; None for state without addresses (accumulators, sticky registers).
    """

    memory: Memory
    mode: Mode
    base: Linear | None = None
    rows: int = 1
    width: int = 1
    pitch: int = 0

    @property
    def extent(self) -> int:
        """Cells from the first touched to one past the last."""
        return (self.rows - 1) * self.pitch + self.width


class Instruction(IRDLOperation, ABC):
    """One machine instruction.

    Affine form: address slots are `index` values, sticky state may be given as extra `index` operands. Register form:
    address slots are gp cells. Both: f and a slots are cells, immediates and flags are properties.
    """

    SPEC: ClassVar[InstructionSpec]
    HAS_VALUE: ClassVar[bool] = False

    @classmethod
    def make(cls, *, attributes: dict[str, Attribute] | None = None, **values: SSAValue | int) -> Instruction:
        """Builds the op from slot names: values for registers and addresses, numbers for immediates and flags."""
        given = frozenset(values)
        operands: list[SSAValue] = []
        segments: list[int] = []
        for slot in operand_slots(cls.SPEC):
            value = values.pop(slot.name, None)
            segments.append(0 if value is None else 1)
            if value is not None:
                assert isinstance(value, SSAValue)
                operands.append(value)
            elif not slot.optional:
                raise TypeError(f"{cls.SPEC.mnemonic} needs {slot.name}")
        properties: dict[str, Attribute] = {}
        for slot in property_slots(cls.SPEC):
            value = values.pop(slot.name, 0)
            assert isinstance(value, int)
            properties[slot.name] = integer(value)
        if values:
            raise TypeError(f"{cls.SPEC.mnemonic} has no {', '.join(values)}")
        if has_segments(cls.SPEC):
            properties["operandSegmentSizes"] = segment_sizes(tuple(segments))
        results = [IndexType()] if cls.HAS_VALUE and "dst" not in given else []
        return cls.create(
            operands=operands, properties=properties, attributes=attributes or {}, result_types=results
        )

    def operand_named(self, name: str) -> SSAValue | None:
        """The operand in a slot, None when an optional one is absent."""
        return getattr(self, name)

    def address(self, name: str) -> Linear:
        """The address in a slot as a linear expression (affine form), its immediate included."""
        value = self.operand_named(name)
        assert value is not None
        expression = linear_of(value)
        slot = next((s for s in self.SPEC.slots if s.offsets == name), None)
        return expression + self.number(slot.name) if slot is not None else expression

    def number(self, name: str) -> int:
        """The value of an immediate or flag slot."""
        attribute = self.properties[name]
        assert isinstance(attribute, IntegerAttr)
        return attribute.value.data

    def named_operands(self) -> Iterator[tuple[Slot, SSAValue]]:
        """Every present operand with its slot."""
        for slot in operand_slots(self.SPEC):
            value = self.operand_named(slot.name)
            if value is not None:
                yield slot, value

    def accesses(self, target: Target) -> tuple[Access, ...]:
        """The memories it touches (affine form); registers follow from the slots."""
        return ()

    def cells(self) -> Iterator[tuple[SSAValue, Mode]]:
        """The register cells it touches."""
        for slot, value in self.named_operands():
            if isinstance(value.type, PlenaRegister):
                yield value, slot.mode

    @property
    def is_affine(self) -> bool:
        """False as soon as an address operand is a register cell."""
        return not any(isinstance(v.type, GPRegister) for v in self.operands)

    def verify_(self) -> None:
        for slot in property_slots(self.SPEC):
            value = self.number(slot.name)
            if not 0 <= value < slot.field.limit:
                raise VerifyException(
                    f"{self.SPEC.mnemonic}: {slot.name} = {value} does not fit {slot.field.width} unsigned bits"
                )
        for slot, value in self.named_operands():
            if isinstance(value.type, IndexType):
                if not (slot.is_address or slot.name in self.SPEC.sticky or slot.name == "base"):
                    raise VerifyException(f"{self.SPEC.mnemonic}: {slot.name} must be a register cell")
            elif not isinstance(value.type, REGISTER_OF_KIND[slot.kind]):
                raise VerifyException(
                    f"{self.SPEC.mnemonic}: {slot.name} must be of kind {slot.kind.value}, got {value.type}"
                )

    def print(self, printer: Printer) -> None:
        for slot, value in self.named_operands():
            printer.print_string(f" {slot.name}(")
            printer.print_operand(value)
            if not isinstance(value.type, IndexType):
                printer.print_string(" : ")
                printer.print_attribute(value.type)
            printer.print_string(")")
        for slot in property_slots(self.SPEC):
            if self.number(slot.name):
                printer.print_string(f" {slot.name} = {self.number(slot.name)}")
        printer.print_op_attributes(self.attributes, print_keyword=True)

    @classmethod
    def parse(cls, parser: Parser) -> Instruction:
        names = {slot.name: slot for slot in operand_slots(cls.SPEC)}
        numbers = {slot.name: slot for slot in property_slots(cls.SPEC)}
        values: dict[str, SSAValue | int] = {}
        while (name := parser.parse_optional_keyword_in((*names, *numbers))) is not None:
            if name in values:
                parser.raise_error(f"{name} given twice")
            if name in numbers:
                parser.parse_punctuation("=")
                values[name] = parser.parse_integer()
                continue
            parser.parse_punctuation("(")
            unresolved = parser.parse_unresolved_operand()
            kind = parser.parse_type() if parser.parse_optional_punctuation(":") else IndexType()
            values[name] = parser.resolve_operand(unresolved, kind)
            parser.parse_punctuation(")")
        missing = [s.name for s in operand_slots(cls.SPEC) if not s.optional and s.name not in values]
        if missing:
            parser.raise_error(f"{cls.name} needs {', '.join(missing)}")
        attributes = parser.parse_optional_attr_dict_with_keyword()
        return cls.make(attributes=dict(attributes.data) if attributes else None, **values)


_SMALL: dict[int, IntegerAttr[I64]] = {}


def integer(value: int) -> IntegerAttr[I64]:
    """An i64 attribute, interned: programs repeat few numbers many times."""
    attribute = _SMALL.get(value)
    if attribute is None:
        attribute = IntegerAttr(value, i64)
        if len(_SMALL) < 1 << 16:
            _SMALL[value] = attribute
    return attribute


_SEGMENTS: dict[tuple[int, ...], Attribute] = {}


def segment_sizes(sizes: tuple[int, ...]) -> Attribute:
    """The attribute that says which optional operands are present, interned."""
    from xdsl.dialects.builtin import DenseArrayBase, i32

    if sizes not in _SEGMENTS:
        _SEGMENTS[sizes] = DenseArrayBase.from_list(i32, sizes)
    return _SEGMENTS[sizes]


_SLOT_CACHE: dict[str, tuple[Slot, ...]] = {}


def operand_slots(spec: InstructionSpec) -> tuple[Slot, ...]:
    """The slots that are SSA operands, then the sticky state of the affine form (optional index operands)."""
    slots = _SLOT_CACHE.get(spec.mnemonic)
    if slots is None:
        slots = tuple(s for s in spec.slots if s.is_register) + tuple(
            Slot(name, Kind.GP, Field.RD, optional=True) for name in spec.sticky
        )
        _SLOT_CACHE[spec.mnemonic] = slots
    return slots


def property_slots(spec: InstructionSpec) -> tuple[Slot, ...]:
    """The slots that are properties: immediates and flags."""
    return tuple(s for s in spec.slots if s.kind in (Kind.IMMEDIATE, Kind.FLAG))


def has_segments(spec: InstructionSpec) -> bool:
    """Whether the op has optional operands."""
    return any(s.optional for s in operand_slots(spec))


InstructionT = TypeVar("InstructionT", bound=Instruction)


def instruction(
    mnemonic: str,
    opcode: int,
    cost: Cost,
    *slots: Slot,
    sticky: tuple[str, ...] = (),
    executable: bool = True,
    free_if_f0: bool = False,
    result: bool = False,
) -> Callable[[type[InstructionT]], type[InstructionT]]:
    """Declares an instruction: the decorated class gets its operands, properties, name and SPEC from the slots.

    The first line of the class docstring is its summary in the reference. `result` gives it an `index` result in the
    affine form (a run-time value).
    """

    def declare(cls: type[InstructionT]) -> type[InstructionT]:
        summary = (cls.__doc__ or "").strip().split("\n")[0]
        spec = InstructionSpec(mnemonic, opcode, slots, cost, summary, sticky, executable, free_if_f0)
        fields: dict[str, Any] = {"name": "plena_isa." + mnemonic.lower(), "__doc__": cls.__doc__}
        fields["__module__"] = cls.__module__
        for slot in operand_slots(spec):
            fields[slot.name] = opt_operand_def() if slot.optional else operand_def()
        for slot in property_slots(spec):
            fields[slot.name] = prop_def(IntegerAttr[I64], default_value=integer(0))
        if result:
            fields["value"] = opt_result_def(IndexType)
        if has_segments(spec):
            fields["irdl_options"] = (AttrSizedOperandSegments(as_property=True),)
        fields["__annotations__"] = {}
        made: type[Any] = type(cls.__name__, (cls,), fields)
        defined = irdl_op_definition(made)
        defined.SPEC = spec
        defined.HAS_VALUE = result
        INSTRUCTIONS[mnemonic] = spec
        OP_OF_MNEMONIC[mnemonic] = defined
        return defined

    return declare


def build(
    mnemonic: str, attributes: dict[str, Attribute] | None = None, **values: SSAValue | int
) -> Instruction:
    """Builds the instruction with this mnemonic; see `Instruction.make`."""
    return OP_OF_MNEMONIC[mnemonic].make(attributes=attributes, **values)


def instructions_in(op: Operation) -> Iterator[Instruction]:
    """Every instruction nested in an operation, in program order."""
    for inner in op.walk():
        if isinstance(inner, Instruction):
            yield inner
