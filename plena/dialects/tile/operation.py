"""The base of tile operations: named buffer operands, whole numbers, keywords, each declared once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast, overload

from typing_extensions import dataclass_transform
from xdsl.dialects.builtin import I64, IntegerAttr, LocationAttr, StringAttr
from xdsl.ir import Attribute, Block, Operation, OpResult, Region, SSAValue, SSAValues, Use
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    prop_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from plena.dialects.plena_isa.instruction import integer
from plena.dialects.tile.buffers import BufferType


class TileOp(IRDLOperation, ABC):
    """An operation on whole tiles or rows in named memories.

    Strides are in units of the memory; `*_block` is the distance between column blocks, `*_row` between rows.
    """

    WRITES: ClassVar[frozenset[str]] = frozenset()
    """The buffers it writes, by the names of `buffers`; all others it only reads."""

    @abstractmethod
    def buffers(self) -> Iterator[tuple[str, SSAValue]]:
        """Every present buffer operand with its name."""


@dataclass(frozen=True)
class _Buffer:
    """A buffer operand in one of some memories."""

    spaces: tuple[str, ...]
    is_written: bool
    is_optional: bool


@dataclass(frozen=True)
class _Number:
    """A whole number, at least 0."""

    default: int | None


@dataclass(frozen=True)
class _Keyword:
    """One of some texts."""

    choices: tuple[str, ...]


@overload
def written(*spaces: str) -> SSAValue: ...


@overload
def written(*spaces: str, default: None) -> SSAValue | None: ...


def written(*spaces: str, **default: None) -> SSAValue | None:
    """Declares a buffer that the operation writes, in one of some memories; `default=None` makes it optional."""
    return cast(SSAValue, _Buffer(spaces, True, bool(default)))


@overload
def read(*spaces: str) -> SSAValue: ...


@overload
def read(*spaces: str, default: None) -> SSAValue | None: ...


def read(*spaces: str, **default: None) -> SSAValue | None:
    """Declares a buffer that the operation only reads, as `written` does."""
    return cast(SSAValue, _Buffer(spaces, False, bool(default)))


def number(*, default: int | None = None) -> int:
    """Declares a whole number; without a default whoever builds the operation has to say it."""
    return cast(int, _Number(default))


def keyword(*choices: str) -> str:
    """Declares a text that is one of the choices."""
    return cast(str, _Keyword(choices))


def _inherited(*, init: Literal[False] = False) -> Any:
    """A field of xDSL's operations that is no argument of an operation's constructor."""


def _attributes(*, default: None) -> Any:
    """The discardable attributes, an argument of every operation's constructor."""


TileOpT = TypeVar("TileOpT", bound="TileOp")
DeclaredOpT = TypeVar("DeclaredOpT", bound="DeclaredOp")


@dataclass_transform(
    kw_only_default=True, field_specifiers=(written, read, number, keyword, _inherited, _attributes)
)
def tile_op(name: str) -> Callable[[type[DeclaredOpT]], type[DeclaredOpT]]:
    """Declares the operation `tile.<name>` from the fields of a class: `written`, `read`, `number`, `keyword`.

    The constructor takes them as keywords, and `attributes`; a type checker sees it as that of a dataclass. Reading a
    field gives the buffer (None if absent), the number or the text.
    """

    def declare(cls: type[DeclaredOpT]) -> type[DeclaredOpT]:
        declared = {n: f for n, f in vars(cls).items() if isinstance(f, _Buffer | _Number | _Keyword)}
        buffers = {n: f for n, f in declared.items() if isinstance(f, _Buffer)}
        fields: dict[str, Any] = {"name": f"tile.{name}", "__annotations__": {}, "__init__": _construct}
        for field, kind in declared.items():
            match kind:
                case _Buffer(is_optional=is_optional):
                    fields[field] = opt_operand_def(BufferType) if is_optional else operand_def(BufferType)
                case _Number():
                    fields[field] = prop_def(IntegerAttr[I64], default_value=integer(0))
                case _Keyword():
                    fields[field] = prop_def(StringAttr)
        if any(buffer.is_optional for buffer in buffers.values()):
            fields["irdl_options"] = (AttrSizedOperandSegments(as_property=True),)
        for field, value in fields.items():
            setattr(cls, field, value)
        irdl_op_definition(cls)
        cls.SPACES = {n: buffer.spaces for n, buffer in buffers.items()}
        cls.OPTIONAL = frozenset(n for n, buffer in buffers.items() if buffer.is_optional)
        cls.WRITES = frozenset(n for n, buffer in buffers.items() if buffer.is_written)
        cls.NUMBERS = {n: number.default for n, number in declared.items() if isinstance(number, _Number)}
        cls.KEYWORDS = {n: kept.choices for n, kept in declared.items() if isinstance(kept, _Keyword)}
        for field in cls.NUMBERS:
            setattr(cls, field, _number_property(field))
        for field in cls.KEYWORDS:
            setattr(cls, field, _word_property(field))
        return cls

    return declare


def _construct(self: DeclaredOp, *, attributes: dict[str, Attribute] | None = None, **values: Any) -> None:
    """The constructor of every declared operation.

    Raises:
        TypeError: a field without a default is missing, or there is no such field.
    """
    operands: list[Any] = []
    properties: dict[str, Attribute] = {}
    try:
        for name in self.SPACES:
            if name in self.OPTIONAL:
                value = values.pop(name, None)
                operands.append([] if value is None else [value])
            else:
                operands.append(values.pop(name))
        for name, default in self.NUMBERS.items():
            properties[name] = integer(values.pop(name) if default is None else values.pop(name, default))
        for name in self.KEYWORDS:
            properties[name] = StringAttr(values.pop(name))
    except KeyError as error:
        raise TypeError(f"{self.name} needs {error.args[0]}") from None
    if values:
        raise TypeError(f"{self.name} has no {', '.join(values)}")
    IRDLOperation.__init__(self, operands=operands, properties=properties, attributes=attributes or {})


_ClassT = TypeVar("_ClassT", bound=type)


@dataclass_transform(kw_only_default=True, field_specifiers=(_inherited, _attributes))
def _with_fields(cls: _ClassT) -> _ClassT:
    """Lets a type checker see the fields of a base class; does nothing."""
    return cls


def _number_property(name: str) -> property:
    def get(self: DeclaredOp) -> int:
        attribute = self.properties[name]
        assert isinstance(attribute, IntegerAttr)
        return attribute.value.data

    return property(get)


def _word_property(name: str) -> property:
    def get(self: DeclaredOp) -> str:
        attribute = self.properties[name]
        assert isinstance(attribute, StringAttr)
        return attribute.data

    return property(get)


@_with_fields
class DeclaredOp(TileOp):
    """A tile operation that `tile_op` makes from its fields.

    `SPACES` gives the memories of every buffer operand, `OPTIONAL` those that may be absent, `NUMBERS` its whole
    numbers with their defaults and `KEYWORDS` its keywords with their choices.
    """

    SPACES: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    OPTIONAL: ClassVar[frozenset[str]] = frozenset()
    NUMBERS: ClassVar[Mapping[str, int | None]] = {}
    KEYWORDS: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    if TYPE_CHECKING:
        # xDSL's Operation is a dataclass: its fields must not become arguments of the constructors.
        _operands: SSAValues = _inherited()
        _operand_uses: tuple[Use, ...] = _inherited()
        results: SSAValues[OpResult] = _inherited()
        _successors: tuple[Block, ...] = _inherited()
        _successor_uses: tuple[Use, ...] = _inherited()
        properties: dict[str, Attribute] = _inherited()
        attributes: dict[str, Attribute] = _attributes(default=None)
        location: LocationAttr = _inherited()
        regions: tuple[Region, ...] = _inherited()
        parent: Block | None = _inherited()
        _next_op: Operation | None = _inherited()
        _prev_op: Operation | None = _inherited()

    @classmethod
    def named(
        cls, values: Mapping[str, SSAValue | int | str | None], attributes: dict[str, Attribute] | None = None
    ) -> DeclaredOp:
        """Builds the op from the text's names; absent numbers are 0, as they are printed."""
        numbers = dict.fromkeys(cls.NUMBERS, 0)
        made: Any = cls
        return made(attributes=attributes, **{**numbers, **values})

    def buffers(self) -> Iterator[tuple[str, SSAValue]]:
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
            if getattr(self, name) < 0:
                raise VerifyException(f"{self.name}: {name} must not be negative")
        for name, choices in self.KEYWORDS.items():
            if getattr(self, name) not in choices:
                raise VerifyException(f"{self.name}: {name} must be one of {', '.join(choices)}")

    def print(self, printer: Printer) -> None:
        for name in self.KEYWORDS:
            printer.print_string(f' {name} = "{getattr(self, name)}"')
        for name, value in self.buffers():
            printer.print_string(f" {name}(")
            printer.print_operand(value)
            assert isinstance(value.type, BufferType)
            printer.print_string(f" : {value.type.space.data})")
        for name in self.NUMBERS:
            if given := getattr(self, name):
                printer.print_string(f" {name} = {given}")
        printer.print_op_attributes(self.attributes, print_keyword=True)

    @classmethod
    def parse(cls, parser: Parser) -> DeclaredOp:
        values: dict[str, SSAValue | int | str | None] = {}
        names = (*cls.SPACES, *cls.NUMBERS, *cls.KEYWORDS)
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
        required = (*(n for n in cls.SPACES if n not in cls.OPTIONAL), *cls.KEYWORDS)
        missing = [n for n in required if n not in values]
        if missing:
            parser.raise_error(f"{cls.name} needs {', '.join(missing)}")
        attributes = parser.parse_optional_attr_dict_with_keyword()
        return cls.named(values, dict(attributes.data) if attributes else None)


__all__ = ["DeclaredOp", "TileOp", "TileOpT", "keyword", "number", "read", "tile_op", "written"]
