"""Elementwise computations on panels: one operation with a body on the lanes of a row, so that chains stay one loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.builtin import I64, DenseArrayBase, IntegerAttr, StringAttr, i64
from xdsl.ir import Attribute, Block, ParametrizedAttribute, Region, SSAValue, TypeAttribute
from xdsl.irdl import (
    AttrSizedOperandSegments,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from plena.dialects.plena_isa.instruction import integer
from plena.dialects.tile.buffers import BufferType
from plena.dialects.tile.operation import TileOp

BINARY_KINDS = ("add", "sub", "mul")
"""Two rows, or a row and a word of FP SRAM."""

WORD_KINDS = ("reverse_sub", "max", "min")
"""A row and a word of FP SRAM; reverse_sub is word - row."""

UNARY_KINDS = ("exp", "reciprocal", "copy")
"""One row."""


@irdl_attr_definition
class LanesType(ParametrizedAttribute, TypeAttribute):
    """The VLEN lanes of one row while they are computed with, `!tile.lanes`."""

    name = "tile.lanes"


LANES = LanesType()


class BodyOp(TileOp):
    """What may stand in the body of `tile.elementwise`; not an operation on buffers by itself."""

    SPACES: ClassVar[dict[str, tuple[str, ...]]] = {}
    OPTIONAL: ClassVar[frozenset[str]] = frozenset()
    WRITES: ClassVar[frozenset[str]] = frozenset()
    NUMBERS: ClassVar[tuple[str, ...]] = ()
    WORDS: ClassVar[tuple[str, ...]] = ()


@irdl_op_definition
class LanewiseOp(BodyOp):
    """One vector instruction on the lanes of a row, rounded to bf16; `b` is a row or a word of FP SRAM."""

    name = "tile.lanewise"
    kind = prop_def(StringAttr)
    a = operand_def(LANES)
    b = opt_operand_def(LanesType | BufferType)
    result = result_def(LANES)
    traits = traits_def(Pure())

    def __init__(self, kind: str, a: SSAValue, b: SSAValue | None = None) -> None:
        super().__init__(
            operands=[a, [] if b is None else [b]],
            properties={"kind": StringAttr(kind)},
            result_types=[LANES],
        )

    @property
    def word(self) -> SSAValue | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The operand in FP SRAM."""
        return self.b if self.b is not None and isinstance(self.b.type, BufferType) else None

    def buffers(self) -> Iterator[tuple[str, SSAValue]]:
        if self.word is not None:
            yield "b", self.word

    def verify_(self) -> None:
        kind = self.kind.data
        if kind not in (*BINARY_KINDS, *WORD_KINDS, *UNARY_KINDS):
            raise VerifyException(f"{self.name}: unknown kind {kind}")
        if (self.b is None) != (kind in UNARY_KINDS):
            raise VerifyException(f"{self.name}: {kind} takes {1 if kind in UNARY_KINDS else 2} operands")
        if kind in WORD_KINDS and self.word is None:
            raise VerifyException(f"{self.name}: {kind} needs a word of FP SRAM")
        if self.word is not None and self.word.type != BufferType.of("fp"):
            raise VerifyException(f"{self.name}: a buffer operand must be in FP SRAM")

    def print(self, printer: Printer) -> None:
        printer.print_string(f' "{self.kind.data}" ')
        printer.print_operand(self.a)
        if self.b is not None:
            printer.print_string(", ")
            printer.print_operand(self.b)
            printer.print_string(" : ")
            printer.print_attribute(self.b.type)

    @classmethod
    def parse(cls, parser: Parser) -> LanewiseOp:
        kind = parser.parse_str_literal()
        a = parser.parse_operand()
        if not parser.parse_optional_punctuation(","):
            return cls(kind, a)
        b = parser.parse_unresolved_operand()
        parser.parse_punctuation(":")
        return cls(kind, a, parser.resolve_operand(b, parser.parse_type()))


@irdl_op_definition
class LanesYieldOp(BodyOp):
    """Ends the body of `tile.elementwise`: the row to write."""

    name = "tile.yield"
    value = operand_def(LANES)
    traits = traits_def(IsTerminator())

    def __init__(self, value: SSAValue) -> None:
        super().__init__(operands=[value])

    def buffers(self) -> Iterator[tuple[str, SSAValue]]:
        return iter(())

    def verify_(self) -> None:
        pass

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_operand(self.value)

    @classmethod
    def parse(cls, parser: Parser) -> LanesYieldOp:
        return cls(parser.parse_operand())


@dataclass(frozen=True)
class Strides:
    """Elements from one row to the next and from one column block to the next; 0 repeats."""

    row: int
    block: int


@irdl_op_definition
class ElementwiseOp(TileOp):
    """out = body(inputs) for every row of every column block of a panel.

    The body's arguments are one row of each input, what it yields is written to `out`. `strides` has a row and a block
    stride per operand, `out` first; a row stride of 0 repeats one row, a block stride of 0 one column block. `out`
    may be one of the inputs with the same strides and otherwise must not overlap them. Rows of `scratch` hold what
    is needed again later (see plena.lowering.row_plan).
    """

    name = "tile.elementwise"
    out = operand_def(BufferType)
    inputs = var_operand_def(BufferType)
    scratch = opt_operand_def(BufferType)
    rows = prop_def(IntegerAttr[I64])
    blocks = prop_def(IntegerAttr[I64])
    strides = prop_def(DenseArrayBase[I64])
    body = region_def("single_block")
    irdl_options = (AttrSizedOperandSegments(as_property=True),)

    def __init__(
        self,
        out: tuple[SSAValue, Strides],
        inputs: Sequence[tuple[SSAValue, Strides]],
        scratch: SSAValue | None,
        size: tuple[int, int],
        body: Region,
        attributes: dict[str, Attribute] | None = None,
    ) -> None:
        """`size` is rows, blocks."""
        strides = [number for _, s in (out, *inputs) for number in (s.row, s.block)]
        super().__init__(
            operands=[out[0], [value for value, _ in inputs], [] if scratch is None else [scratch]],
            properties={
                "rows": integer(size[0]),
                "blocks": integer(size[1]),
                "strides": DenseArrayBase.from_list(i64, strides),
            },
            attributes=attributes or {},
            regions=[body],
        )

    @staticmethod
    def empty_body(inputs: int) -> Region:
        """A body without operations for so many inputs."""
        return Region(Block(arg_types=[LANES] * inputs))

    @property
    def size(self) -> tuple[int, int]:
        """Rows, blocks."""
        return self.rows.value.data, self.blocks.value.data

    @property
    def steps(self) -> tuple[LanewiseOp, ...]:
        """The computation in order."""
        return tuple(op for op in self.body.block.ops if isinstance(op, LanewiseOp))

    @property
    def yielded(self) -> SSAValue:
        """The row that is written."""
        last = self.body.block.last_op
        assert isinstance(last, LanesYieldOp)
        return last.value

    def panels(self) -> tuple[tuple[SSAValue, Strides], ...]:
        """`out` and the inputs with their strides."""
        numbers = self.strides.get_values()
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return tuple(zip((self.out, *self.inputs), (Strides(*pair) for pair in pairs), strict=True))

    def buffers(self) -> Iterator[tuple[str, SSAValue]]:
        yield "out", self.out
        for number, value in enumerate(self.inputs):
            yield f"input{number}", value
        if self.scratch is not None:
            yield "scratch", self.scratch

    def verify_(self) -> None:
        operands = (self.out, *self.inputs, *([] if self.scratch is None else [self.scratch]))
        if any(value.type != BufferType.of("vector") for value in operands):
            raise VerifyException(f"{self.name}: operands must be buffers in vector SRAM")
        if len(self.strides.get_values()) != 2 * (1 + len(self.inputs)):
            raise VerifyException(f"{self.name}: needs two strides per panel")
        if min(*self.size, *self.strides.get_values()) < 0 or 0 in self.size:
            raise VerifyException(f"{self.name}: sizes must be positive, strides must not be negative")
        block = self.body.block
        if len(block.args) != len(self.inputs) or any(a.type != LANES for a in block.args):
            raise VerifyException(f"{self.name}: the body takes one !tile.lanes per input")
        if not isinstance(block.last_op, LanesYieldOp) or not self.steps:
            raise VerifyException(f"{self.name}: the body computes something and ends in tile.yield")

    def print(self, printer: Printer) -> None:
        printer.print_string(f" rows = {self.size[0]} blocks = {self.size[1]}")
        names = ("out", *("in" for _ in self.inputs))
        for name, (value, strides) in zip(names, self.panels(), strict=True):
            printer.print_string(f" {name}(")
            printer.print_operand(value)
            printer.print_string(f"[{strides.row}, {strides.block}])")
        if self.scratch is not None:
            printer.print_string(" scratch(")
            printer.print_operand(self.scratch)
            printer.print_string(")")
        printer.print_string(" ")
        printer.print_region(self.body)
        printer.print_op_attributes(self.attributes, print_keyword=True)

    @classmethod
    def parse(cls, parser: Parser) -> ElementwiseOp:
        size: list[int] = []
        for name in ("rows", "blocks"):
            parser.parse_keyword(name)
            parser.parse_punctuation("=")
            size.append(parser.parse_integer())
        parser.parse_keyword("out")
        out = _parse_panel(parser)
        inputs: list[tuple[SSAValue, Strides]] = []
        while parser.parse_optional_keyword("in"):
            inputs.append(_parse_panel(parser))
        scratch = None
        if parser.parse_optional_keyword("scratch"):
            parser.parse_punctuation("(")
            scratch = parser.resolve_operand(parser.parse_unresolved_operand(), BufferType.of("vector"))
            parser.parse_punctuation(")")
        body = parser.parse_region()
        attributes = parser.parse_optional_attr_dict_with_keyword()
        return cls(
            out, inputs, scratch, (size[0], size[1]), body, dict(attributes.data) if attributes else None
        )


def _parse_panel(parser: Parser) -> tuple[SSAValue, Strides]:
    parser.parse_punctuation("(")
    value = parser.resolve_operand(parser.parse_unresolved_operand(), BufferType.of("vector"))
    parser.parse_punctuation("[")
    row = parser.parse_integer()
    parser.parse_punctuation(",")
    block = parser.parse_integer()
    parser.parse_punctuation("]")
    parser.parse_punctuation(")")
    return value, Strides(row, block)
