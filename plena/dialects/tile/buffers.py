"""Buffers: named regions of one memory, and addresses within them."""

from __future__ import annotations

from collections.abc import Sequence
from math import copysign

from xdsl.dialects.builtin import ArrayAttr, FloatAttr, IndexType, IntAttr, StringAttr, f64
from xdsl.ir import Attribute, Operation, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import (
    IRDLOperation,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    param_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from plena.dialects.loop import Linear, linear_of
from plena.dialects.tile.matrices import MatrixAttr
from plena.dialects.tile.placements import PlacementAttr

SPACES = ("hbm", "matrix", "vector", "fp", "int")
"""Memory spaces; units of addresses and sizes: element-plane bytes, elements, elements, words, words."""


@irdl_attr_definition
class BufferType(ParametrizedAttribute, TypeAttribute):
    """A region of one memory, `!tile.buffer<vector>`. Shapes and strides belong to the operations on it."""

    name = "tile.buffer"
    space: StringAttr = param_def()

    @staticmethod
    def of(space: str) -> BufferType:
        return _BUFFER_TYPES[space]

    @staticmethod
    def parse_space(parser: AttrParser) -> BufferType:
        """The type of the memory that is named next.

        Raises:
            ParseError: there is no such memory.
        """
        space = parser.parse_identifier()
        if space not in _BUFFER_TYPES:
            parser.raise_error(f"there is no memory {space}: it must be one of {', '.join(_BUFFER_TYPES)}")
        return _BUFFER_TYPES[space]

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            return [StringAttr(parser.parse_identifier())]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(self.space.data)

    def verify(self) -> None:
        if self.space.data not in SPACES:
            raise VerifyException(f"unknown memory space {self.space.data}; one of {', '.join(SPACES)}")


_BUFFER_TYPES = {space: BufferType(StringAttr(space)) for space in SPACES}


@irdl_op_definition
class BufferOp(IRDLOperation):
    """Declares a buffer of `size` units. `address` appears when `allocate-buffers` has placed it.

    `anchor` names another buffer: the address must be that one's plus `anchor_offset`, if need be in another memory
    (matrix and vector SRAM both count elements), so that one register can hold addresses in both.

    `placements` say what the host puts there before the run or reads from it afterwards, at offsets in the buffer;
    such buffers live from the start or to the end of the program.
    """

    name = "tile.buffer"
    symbol = prop_def(StringAttr)
    size = prop_def(IntAttr)
    address = opt_prop_def(IntAttr)
    placements = opt_prop_def(ArrayAttr[PlacementAttr])
    anchor = opt_prop_def(StringAttr)
    anchor_offset = opt_prop_def(IntAttr)
    buffer = result_def(BufferType)

    def __init__(
        self,
        symbol: str,
        space: str,
        size: int,
        address: int | None = None,
        placements: Sequence[PlacementAttr] = (),
        anchor: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(
            properties={
                "symbol": StringAttr(symbol),
                "size": IntAttr(size),
                "address": IntAttr(address) if address is not None else None,
                "placements": ArrayAttr(placements) if placements else None,
                "anchor": StringAttr(anchor[0]) if anchor else None,
                "anchor_offset": IntAttr(anchor[1]) if anchor else None,
            },
            result_types=[BufferType.of(space)],
        )

    @property
    def space(self) -> str:
        return self.buffer.type.space.data

    def verify_(self) -> None:
        if self.size.data < 1:
            raise VerifyException(f"buffer {self.symbol.data} has size {self.size.data}")
        if (self.anchor is None) != (self.anchor_offset is None):
            raise VerifyException(f"buffer {self.symbol.data}: an anchor has an offset")
        if self.anchor is not None and self.space not in ("matrix", "vector"):
            raise VerifyException(f"buffer {self.symbol.data}: only matrix and vector SRAM have anchors")
        for placement in self.placements or ():
            # How many bytes an element takes in HBM is the target's to say.
            end = placement.offset.data + (1 if self.space == "hbm" else placement.elements)
            if end > self.size.data:
                raise VerifyException(
                    f"buffer {self.symbol.data} ends at {self.size.data}, {placement.symbol.data} at {end}"
                )

    @property
    def source_kind(self) -> str:
        """What the host does with it: input, output, data, constant, host, state, or "scratch" if nothing."""
        return "scratch" if self.placements is None else self.placements.data[0].source.kind.data

    def print(self, printer: Printer) -> None:
        printer.print_string(f" @{self.symbol.data} [{self.size.data}] : ")
        printer.print_attribute(self.buffer.type)
        if self.anchor is not None and self.anchor_offset is not None:
            printer.print_string(f" anchor @{self.anchor.data}[{self.anchor_offset.data}]")
        if self.address is not None:
            printer.print_string(f" at {self.address.data}")
        if self.placements is not None:
            printer.print_string(" placements ")
            printer.print_attribute(self.placements)

    @classmethod
    def parse(cls, parser: Parser) -> BufferOp:
        symbol = parser.parse_symbol_name().data
        parser.parse_punctuation("[")
        size = parser.parse_integer()
        parser.parse_punctuation("]")
        parser.parse_punctuation(":")
        kind = parser.parse_type()
        if not isinstance(kind, BufferType):
            parser.raise_error("a buffer has type !tile.buffer")
        anchor: tuple[str, int] | None = None
        if parser.parse_optional_keyword("anchor"):
            other = parser.parse_symbol_name().data
            parser.parse_punctuation("[")
            anchor = (other, parser.parse_integer())
            parser.parse_punctuation("]")
        address = parser.parse_integer() if parser.parse_optional_keyword("at") else None
        placements: list[PlacementAttr] = []
        if parser.parse_optional_keyword("placements"):
            given = parser.parse_attribute()
            if not isinstance(given, ArrayAttr) or not all(isinstance(p, PlacementAttr) for p in given):
                parser.raise_error("placements are a list of #tile.placement<...>")
            placements = [p for p in given if isinstance(p, PlacementAttr)]
        return cls(symbol, kind.space.data, size, address, placements, anchor)


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """FP SRAM words that the preload fills with `values` (fp16 in the preload file, bf16 in the machine)."""

    name = "tile.constant"
    values = prop_def(ArrayAttr[FloatAttr])
    address = opt_prop_def(IntAttr)
    buffer = result_def(BufferType)

    def __init__(self, values: tuple[float, ...], address: int | None = None) -> None:
        super().__init__(
            properties={
                "values": ArrayAttr([FloatAttr(v, f64) for v in values]),
                "address": IntAttr(address) if address is not None else None,
            },
            result_types=[BufferType.of("fp")],
        )

    @property
    def numbers(self) -> tuple[float, ...]:
        return tuple(v.value.data for v in self.values)

    @property
    def key(self) -> tuple[tuple[float, float], ...]:
        """Equal for constants with the same numbers: zero and minus zero are not the same."""
        return tuple((number, copysign(1.0, number)) for number in self.numbers)

    @property
    def is_zero(self) -> bool:
        """Whether it is one number, zero and not minus zero."""
        return self.key == ((0.0, 1.0),)

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_attribute(self.values)
        if self.address is not None:
            printer.print_string(f" at {self.address.data}")

    @classmethod
    def parse(cls, parser: Parser) -> ConstantOp:
        start = parser.pos
        values = parser.parse_attribute()
        if not isinstance(values, ArrayAttr) or not all(isinstance(v, FloatAttr) for v in values):
            parser.raise_error("constants are a list of real numbers", start, parser.pos)
        address = parser.parse_integer() if parser.parse_optional_keyword("at") else None
        return cls(tuple(v.value.data for v in values if isinstance(v, FloatAttr)), address)


@irdl_op_definition
class DataOp(IRDLOperation):
    """A matrix that a kernel brings itself (a packing tile, guarding zeros): placements name it as a constant.

    `tile.data @ones #tile.matrix<[4, 64] all 1.000000e+00>`.
    """

    name = "tile.data"
    symbol = prop_def(StringAttr)
    value = prop_def(MatrixAttr)

    def __init__(self, symbol: str, value: MatrixAttr) -> None:
        super().__init__(properties={"symbol": StringAttr(symbol), "value": value})

    def print(self, printer: Printer) -> None:
        printer.print_string(f" @{self.symbol.data} ")
        printer.print_attribute(self.value)

    @classmethod
    def parse(cls, parser: Parser) -> DataOp:
        symbol = parser.parse_symbol_name().data
        value = parser.parse_attribute()
        if not isinstance(value, MatrixAttr):
            parser.raise_error("data are a #tile.matrix<...>")
        return cls(symbol, value)


@irdl_op_definition
class HostOp(IRDLOperation):
    """What the host computes of the program's inputs before it runs: placements name it as `host`.

    `tile.host @host_0 #plena.host_value<[input {index = 0 : i64} : tensor<4xi64>, ...]>`; inputs are the program's.
    """

    name = "tile.host"
    symbol = prop_def(StringAttr)
    value = prop_def(Attribute)

    def __init__(self, symbol: str, value: Attribute) -> None:
        super().__init__(properties={"symbol": StringAttr(symbol), "value": value})

    def print(self, printer: Printer) -> None:
        printer.print_string(f" @{self.symbol.data} ")
        printer.print_attribute(self.value)

    @classmethod
    def parse(cls, parser: Parser) -> HostOp:
        return cls(parser.parse_symbol_name().data, parser.parse_attribute())


@irdl_op_definition
class ViewOp(IRDLOperation):
    """The part of a buffer that starts `offset` units after its beginning."""

    name = "tile.view"
    source = operand_def(BufferType)
    offset = operand_def(IndexType)
    view = result_def(BufferType)
    traits = traits_def(Pure())

    def __init__(self, source: SSAValue, offset: SSAValue) -> None:
        super().__init__(operands=[source, offset], result_types=[source.type])

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_operand(self.source)
        printer.print_string("[")
        printer.print_operand(self.offset)
        printer.print_string("] : ")
        printer.print_attribute(self.source.type)

    @classmethod
    def parse(cls, parser: Parser) -> ViewOp:
        source = parser.parse_unresolved_operand()
        parser.parse_punctuation("[")
        offset = parser.parse_operand(IndexType())
        parser.parse_punctuation("]")
        parser.parse_punctuation(":")
        return cls(parser.resolve_operand(source, parser.parse_type()), offset)


@irdl_op_definition
class AddressOp(IRDLOperation):
    """The address of a buffer in its memory as an `index`: where kernels below the tile level meet allocation."""

    name = "tile.address"
    source = operand_def(BufferType)
    result = result_def(IndexType())
    traits = traits_def(Pure())

    def __init__(self, source: SSAValue) -> None:
        super().__init__(operands=[source], result_types=[IndexType()])

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_operand(self.source)
        printer.print_string(" : ")
        printer.print_attribute(self.source.type)

    @classmethod
    def parse(cls, parser: Parser) -> AddressOp:
        source = parser.parse_unresolved_operand()
        parser.parse_punctuation(":")
        return cls(parser.resolve_operand(source, parser.parse_type()))


def root_of(value: SSAValue) -> tuple[BufferOp | ConstantOp, Linear]:
    """The buffer that a value is a view of, and the offset within it in units."""
    offset = Linear()
    owner = value.owner
    while isinstance(owner, ViewOp):
        offset = linear_of(owner.offset) + offset
        owner = owner.source.owner
    assert isinstance(owner, BufferOp | ConstantOp), "a buffer comes from a declaration"
    return owner, offset


def is_declaration(op: Operation) -> bool:
    return isinstance(op, BufferOp | ConstantOp | DataOp | HostOp)


__all__ = [
    "SPACES",
    "AddressOp",
    "BufferOp",
    "BufferType",
    "ConstantOp",
    "DataOp",
    "HostOp",
    "ViewOp",
    "is_declaration",
    "root_of",
]
