"""The base of tile operations: named buffer operands, whole numbers, one or two words of text."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from xdsl.dialects.builtin import I64, IntegerAttr, StringAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from plena.dialects.plena_isa.instruction import integer
from plena.dialects.tile.buffers import BufferType


class TileOp(IRDLOperation, ABC):
    """An operation on whole tiles or rows in named memories.

    `SPACES` gives the memory of every buffer operand, `WRITES` the operands it writes (all others it only reads),
    `NUMBERS` its whole-number properties and `WORDS` its textual ones. Strides are in units of the memory;
    `*_block` is the distance between column blocks, `*_row` between rows.
    """

    SPACES: ClassVar[dict[str, tuple[str, ...]]]
    OPTIONAL: ClassVar[frozenset[str]]
    WRITES: ClassVar[frozenset[str]]
    NUMBERS: ClassVar[tuple[str, ...]]
    WORDS: ClassVar[tuple[str, ...]]

    if TYPE_CHECKING:
        # Operands become fields in `tile_op`, where no type checker sees them.
        def __getattr__(self, name: str) -> Any: ...

    @classmethod
    def make(
        cls, *, attributes: dict[str, Attribute] | None = None, **values: SSAValue | int | str | None
    ) -> TileOp:
        """Builds the op from operand and property names; absent numbers are 0."""
        operands = [[v] if isinstance(v := values.pop(name, None), SSAValue) else [] for name in cls.SPACES]
        properties: dict[str, Attribute] = {}
        for name in cls.NUMBERS:
            number = values.pop(name, 0)
            assert isinstance(number, int), f"{name} is a number"
            properties[name] = integer(number)
        for name in cls.WORDS:
            word = values.pop(name, None)
            if word is not None:
                properties[name] = StringAttr(str(word))
        if values:
            raise TypeError(f"{cls.name} has no {', '.join(values)}")
        flat = [
            group if name in cls.OPTIONAL else group[0]
            for name, group in zip(cls.SPACES, operands, strict=True)
        ]
        return cls(operands=flat, properties=properties, attributes=attributes or {})

    def number(self, name: str) -> int:
        attribute = self.properties[name]
        assert isinstance(attribute, IntegerAttr)
        return attribute.value.data

    def word(self, name: str) -> str:
        attribute = self.properties[name]
        assert isinstance(attribute, StringAttr)
        return attribute.data

    def buffers(self) -> Iterator[tuple[str, SSAValue]]:
        """Every present buffer operand with its name."""
        for name in self.SPACES:
            value = getattr(self, name)
            if value is not None:
                yield name, value

    def verify_(self) -> None:
        for name, value in self.buffers():
            if not isinstance(value.type, BufferType) or value.type.space.data not in self.SPACES[name]:
                raise VerifyException(
                    f"{self.name}: {name} must be a buffer in {' or '.join(self.SPACES[name])}"
                )
        for name in self.NUMBERS:
            if self.number(name) < 0:
                raise VerifyException(f"{self.name}: {name} must not be negative")

    def print(self, printer: Printer) -> None:
        if self.WORDS:
            for name in self.WORDS:
                if name in self.properties:
                    printer.print_string(f' {name} = "{self.word(name)}"')
        for name, value in self.buffers():
            printer.print_string(f" {name}(")
            printer.print_operand(value)
            assert isinstance(value.type, BufferType)
            printer.print_string(f" : {value.type.space.data})")
        for name in self.NUMBERS:
            if self.number(name):
                printer.print_string(f" {name} = {self.number(name)}")
        printer.print_op_attributes(self.attributes, print_keyword=True)

    @classmethod
    def parse(cls, parser: Parser) -> TileOp:
        values: dict[str, SSAValue | int | str | None] = {}
        names = (*cls.SPACES, *cls.NUMBERS, *cls.WORDS)
        while (name := parser.parse_optional_keyword_in(names)) is not None:
            if name in cls.SPACES:
                parser.parse_punctuation("(")
                unresolved = parser.parse_unresolved_operand()
                parser.parse_punctuation(":")
                values[name] = parser.resolve_operand(unresolved, BufferType.parse_space(parser))
                parser.parse_punctuation(")")
                continue
            parser.parse_punctuation("=")
            values[name] = parser.parse_integer() if name in cls.NUMBERS else parser.parse_str_literal()
        missing = [n for n in cls.SPACES if n not in cls.OPTIONAL and n not in values]
        if missing:
            parser.raise_error(f"{cls.name} needs {', '.join(missing)}")
        attributes = parser.parse_optional_attr_dict_with_keyword()
        return cls.make(attributes=dict(attributes.data) if attributes else None, **values)


TileOpT = TypeVar("TileOpT", bound=TileOp)


def tile_op(
    name: str,
    writes: dict[str, str],
    reads: dict[str, str],
    numbers: tuple[str, ...] = (),
    words: tuple[str, ...] = (),
) -> Callable[[type[TileOpT]], type[TileOpT]]:
    """Declares a tile operation: a memory for each buffer, `a|b` allows two, a trailing `?` makes it optional."""

    def declare(cls: type[TileOpT]) -> type[TileOpT]:
        spaces = {**writes, **reads}
        optional = frozenset(n for n, s in spaces.items() if s.endswith("?"))
        fields: dict[str, Any] = {
            "name": f"tile.{name}",
            "__doc__": cls.__doc__,
            "__module__": cls.__module__,
            "__annotations__": {},
        }
        for operand in spaces:
            fields[operand] = opt_operand_def(BufferType) if operand in optional else operand_def(BufferType)
        for number in numbers:
            fields[number] = prop_def(IntegerAttr[I64], default_value=integer(0))
        for word in words:
            fields[word] = opt_prop_def(StringAttr)
        if optional:
            fields["irdl_options"] = (AttrSizedOperandSegments(as_property=True),)
        made: type[Any] = type(cls.__name__, (cls,), fields)
        defined = irdl_op_definition(made)
        defined.SPACES = {n: tuple(s.rstrip("?").split("|")) for n, s in spaces.items()}
        defined.OPTIONAL = optional
        defined.WRITES = frozenset(writes)
        defined.NUMBERS = numbers
        defined.WORDS = words
        return defined

    return declare
