"""The base of all instruction ops, and the decorator that turns a declaration into an op class."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from xdsl.dialects.builtin import I64, DenseArrayBase, IndexType, IntegerAttr, i64
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

from plena.dialects.derived import derived, derived_of_targets, forget_derived, forgets
from plena.dialects.loop import Linear, linear_of
from plena.dialects.plena_isa.demands import Caution, Demand, Requirement, all_demands
from plena.dialects.plena_isa.on_rtl import NOTHING, OnRtl
from plena.dialects.plena_isa.registers import ARegister, FRegister, GPRegister, PlenaRegister
from plena.dialects.plena_isa.sizes import Fields, Size
from plena.dialects.plena_isa.spec import Cost, Field, InstructionSpec, Integer, Kind, Memory, Mode, Slot
from plena.dialects.plena_isa.touches import Touch, Transfer
from plena.dialects.remembered_checks import checked_once

if TYPE_CHECKING:
    from plena.machine.target import Target

REGISTER_OF_KIND: dict[Kind, type[PlenaRegister]] = {
    Kind.GP: GPRegister,
    Kind.F: FRegister,
    Kind.A: ARegister,
}

INSTRUCTIONS: dict[str, InstructionSpec] = {}
"""Every instruction's declaration by mnemonic, in opcode order of declaration."""

OPCODES: dict[int, InstructionSpec] = {}
"""The same declarations by opcode."""

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
    def named(
        cls, values: Mapping[str, SSAValue | int], attributes: dict[str, Attribute] | None = None
    ) -> Instruction:
        """Builds the op from slot names: values for registers and addresses, numbers for immediates and flags.

        For whoever takes the names from somewhere; `build` checks them.

        Raises:
            TypeError: a slot that may not be absent is missing, or there is no such slot.
        """
        left = dict(values)
        operands: list[SSAValue] = []
        segments: list[int] = []
        for slot in operand_slots(cls.SPEC):
            value = left.pop(slot.name, None)
            segments.append(0 if value is None else 1)
            if value is not None:
                assert isinstance(value, SSAValue)
                operands.append(value)
            elif not slot.optional:
                raise TypeError(f"{cls.SPEC.mnemonic} needs {slot.name}")
        properties: dict[str, Attribute] = {}
        for slot in property_slots(cls.SPEC):
            value = left.pop(slot.name, 0)
            assert isinstance(value, int)
            properties[slot.name] = integer(value)
        if left:
            raise TypeError(f"{cls.SPEC.mnemonic} has no {', '.join(left)}")
        if has_segments(cls.SPEC):
            properties["operandSegmentSizes"] = segment_sizes(tuple(segments))
        results = [IndexType()] if cls.HAS_VALUE and "dst" not in values else []
        return cls.create(
            operands=operands, properties=properties, attributes=attributes or {}, result_types=results
        )

    def operand_named(self, name: str) -> SSAValue | None:
        """The operand in a slot, None when an optional one is absent."""
        place = _places(self.SPEC.mnemonic, self._present)[name][1]
        return None if place < 0 else self.operands[place]

    @property
    def _present(self) -> bytes:
        """Which operands are there, as the property says that ops with optional ones have."""
        sizes = self.properties.get("operandSegmentSizes")
        return sizes.data.data if isinstance(sizes, DenseArrayBase) else b""

    def address(self, name: str) -> Linear:
        """The address in a slot as a linear expression (affine form), its immediate included."""
        value = self.operand_named(name)
        assert value is not None
        expression = linear_of(value)
        immediate = _added_to(self.SPEC.mnemonic, name)[0]
        return expression + self.number(immediate) if immediate is not None else expression

    def whole_address(self, name: str) -> Linear:
        """The address that the machine uses (affine form): `address` and what another register adds to it."""
        addend = _added_to(self.SPEC.mnemonic, name)[1]
        return self.address(name) if addend is None else self.address(name) + self.address(addend)

    def number(self, name: str) -> int:
        """The value of an immediate or flag slot."""
        attribute = self.properties[name]
        assert isinstance(attribute, IntegerAttr)
        return attribute.value.data

    def named_operands(self) -> Iterator[tuple[Slot, SSAValue]]:
        """Every present operand with its slot."""
        operands = self.operands
        for slot, place in _places(self.SPEC.mnemonic, self._present).values():
            if place >= 0:
                yield slot, operands[place]

    def flags(self) -> tuple[int, ...]:
        """The numbers in its flag slots, in order."""
        return tuple([self.number(slot.name) for slot in self.SPEC.flags])

    def accesses(self, target: Target) -> tuple[Access, ...] | None:
        """The memories it touches (affine form), registers apart; None: not declared, so it may touch everything."""
        if self.SPEC.touches is None:
            return None
        shapes = _shapes_for(target).of(self.SPEC, self.flags())
        return tuple(
            [
                known if address is None else self._access(known, address, stride, target)
                for known, address, stride in shapes
            ]
        )

    def _access(self, shape: Access, address: str, stride: str | None, target: Target) -> Access:
        """A rectangle at its address; any row of the memory where the pitch is in an operand and not known."""
        base, pitch = self.whole_address(address), shape.pitch
        if stride is not None:
            rows = self.rows_between(stride)
            if rows is None:
                everything = target.vector_sram_size, target.vlen, target.vlen
                return Access(shape.memory, shape.mode | Mode.READ, Linear(0), *everything)
            pitch = rows * target.mlen
        return Access(shape.memory, shape.mode, base, shape.rows, shape.width, pitch)

    def rows_between(self, name: str) -> int | None:
        """The row pitch in a slot if it is known, in rows."""
        value = self.operand_named(name)
        assert value is not None
        if isinstance(value.type, GPRegister):
            return self.SPEC.by_name[name].gp0_means if value.type.is_zero else None
        expression = linear_of(value)
        return expression.constant if expression.is_constant else None

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
        checked_once(self, self._verify_slots)

    def _verify_slots(self) -> None:
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
        return cls.named(values, dict(attributes.data) if attributes else None)


@derived
def _added_to(mnemonic: str, address: str) -> tuple[str | None, str | None]:
    """The immediate slot and the register slot that are added to an address slot."""
    slots = INSTRUCTIONS[mnemonic].slots
    immediate = next((s.name for s in slots if s.offsets == address), None)
    return immediate, next((s.name for s in slots if s.adds_to == address), None)


class _Shapes:
    """The declared touches in numbers of one target: the access without its base, address slot, stride slot."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._known: dict[tuple[int, tuple[int, ...]], tuple[_Shape, ...]] = {}

    def of(self, spec: InstructionSpec, flags: tuple[int, ...]) -> tuple[_Shape, ...]:
        key = (spec.opcode, flags)
        shapes = self._known.get(key)
        if shapes is None:
            fields = dict(zip((s.name for s in spec.flags), flags, strict=True))
            shapes = self._known[key] = tuple(
                (self._shape(touch, fields), touch.address, touch.stride)
                for touch in touches_with(spec, fields)
            )
        return shapes

    def _shape(self, touch: Touch, fields: Fields) -> Access:
        rows, width = touch.rows(self.target, fields), touch.width(self.target, fields)
        pitch = touch.pitch(self.target, fields) if touch.pitch is not None else 0
        return Access(touch.memory, touch.mode, None, rows, width, pitch)


_Shape = tuple[Access, str | None, str | None]

_last_shapes: list[_Shapes] = []
forgets(_last_shapes.clear)


def _shapes_for(target: Target) -> _Shapes:
    """The shapes for a target; its hash takes longer than the rest, so the last one is found by identity."""
    if not _last_shapes or _last_shapes[0].target is not target:
        _last_shapes[:] = [_shapes_of(target)]
    return _last_shapes[0]


@derived_of_targets(8)
def _shapes_of(target: Target) -> _Shapes:
    return _Shapes(target)


def touches_with(spec: InstructionSpec, fields: Fields) -> tuple[Touch, ...]:
    """The declared touches of an instruction with certain flags."""
    return tuple(
        touch
        for touch in spec.touches or ()
        if touch.when is None or spec.by_name[touch.when].canonical(fields[touch.when])
    )


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


@derived
def _operand_slots(mnemonic: str) -> tuple[Slot, ...]:
    spec = INSTRUCTIONS[mnemonic]
    return tuple(s for s in spec.slots if s.is_register) + tuple(
        Slot(name, Kind.GP, Field.RD, optional=True) for name in spec.sticky
    )


@derived
def _places(mnemonic: str, present: bytes) -> dict[str, tuple[Slot, int]]:
    """Where the operand of each slot stands, -1: nowhere; `present`: a size for each, in 32 bits."""
    sizes = memoryview(present).cast("i").tolist() if present else None
    places: dict[str, tuple[Slot, int]] = {}
    count = 0
    for number, slot in enumerate(_operand_slots(mnemonic)):
        size = 1 if sizes is None else sizes[number]
        places[slot.name] = slot, count if size else -1
        count += size
    return places


def operand_slots(spec: InstructionSpec) -> tuple[Slot, ...]:
    """The slots that are SSA operands, then the sticky state of the affine form (optional index operands)."""
    return _operand_slots(spec.mnemonic)


def property_slots(spec: InstructionSpec) -> tuple[Slot, ...]:
    """The slots that are properties: immediates and flags."""
    return _property_slots(spec.mnemonic)


@derived
def _property_slots(mnemonic: str) -> tuple[Slot, ...]:
    return tuple(s for s in INSTRUCTIONS[mnemonic].slots if s.kind in (Kind.IMMEDIATE, Kind.FLAG))


def has_segments(spec: InstructionSpec) -> bool:
    """Whether the op has optional operands."""
    return any(s.optional for s in operand_slots(spec))


InstructionT = TypeVar("InstructionT", bound=Instruction)


def instruction(
    mnemonic: str,
    opcode: int,
    cost: Cost,
    *slots: Slot,
    touches: tuple[Touch, ...] | None = None,
    demands: tuple[Demand, ...] = (),
    requirements: tuple[Requirement, ...] = (),
    cautions: tuple[Caution, ...] = (),
    transfer: Transfer | None = None,
    integer: Integer | None = None,
    semantics: str | None = None,
    work: Size | None = None,
    sticky: tuple[str, ...] = (),
    executable: bool = True,
    free_if_f0: bool = False,
    rtl: OnRtl = NOTHING,
    result: bool = False,
) -> Callable[[type[InstructionT]], type[InstructionT]]:
    """Declares an instruction: the decorated class gets its operands, properties, name and SPEC from the slots.

    The first line of the class docstring is its summary in the reference. `touches` not given means that it may touch
    everything; `demands` come before the usual ones of what is touched (`all_demands`); `result` gives it an `index`
    result in the affine form (a run-time value); `semantics` is the mnemonic if not given. The other arguments are as
    in `InstructionSpec`.

    Raises:
        ValueError: the mnemonic or the opcode is taken.
    """

    def declare(cls: type[InstructionT]) -> type[InstructionT]:
        if mnemonic in INSTRUCTIONS or opcode in OPCODES:
            raise ValueError(f"{mnemonic} or its opcode 0x{opcode:02X} is declared already")
        spec = InstructionSpec(
            mnemonic,
            opcode,
            slots,
            cost,
            summary=(cls.__doc__ or "").strip().split("\n")[0],
            sticky=sticky,
            executable=executable,
            free_if_f0=free_if_f0,
            rtl=rtl,
            touches=touches,
            demands=all_demands(demands, touches or ()),
            requirements=requirements,
            cautions=cautions,
            transfer=transfer,
            integer=integer,
            semantics=semantics or mnemonic,
            work=work,
        )
        INSTRUCTIONS[mnemonic] = OPCODES[opcode] = spec
        forget_derived()
        defined = _op_class(cls, spec, result)
        OP_OF_MNEMONIC[mnemonic] = defined
        return defined

    return declare


def _op_class(cls: type[InstructionT], spec: InstructionSpec, result: bool) -> type[InstructionT]:
    """The xDSL operation that a declaration describes."""
    fields: dict[str, Any] = {"name": "plena_isa." + spec.mnemonic.lower(), "__doc__": cls.__doc__}
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
    return defined


def withdraw(op_class: type[Instruction]) -> None:
    """Takes a declaration back: for instructions that only a test or a page declares."""
    spec = op_class.SPEC
    del INSTRUCTIONS[spec.mnemonic], OPCODES[spec.opcode], OP_OF_MNEMONIC[spec.mnemonic]
    forget_derived()


def instructions_in(op: Operation) -> Iterator[Instruction]:
    """Every instruction nested in an operation, in program order."""
    for inner in op.walk():
        if isinstance(inner, Instruction):
            yield inner
