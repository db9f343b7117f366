"""Elementwise computations on panels: one operation with a body on the lanes of a row, so that chains stay one loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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

SCALAR_KINDS = ("reverse_sub", "max", "min")
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
    def scalar(self) -> SSAValue | None:
        """The operand in FP SRAM."""
        return self.b if self.b is not None and isinstance(self.b.type, BufferType) else None

    def buffers(self) -> Iterator[tuple[str, SSAValue]]:
        if self.scalar is not None:
            yield "b", self.scalar

    def verify_(self) -> None:
        kind = self.kind.data
        if kind not in (*BINARY_KINDS, *SCALAR_KINDS, *UNARY_KINDS):
            raise VerifyException(f"{self.name}: unknown kind {kind}")
        if (self.b is None) != (kind in UNARY_KINDS):
            raise VerifyException(f"{self.name}: {kind} takes {1 if kind in UNARY_KINDS else 2} operands")
        if kind in SCALAR_KINDS and self.scalar is None:
            raise VerifyException(f"{self.name}: {kind} needs a number of FP SRAM")
        if self.scalar is not None and self.scalar.type != BufferType.of("fp"):
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
        a = parser.parse_operand(LANES)
        if not parser.parse_optional_punctuation(","):
            return cls(kind, a)
        b = parser.parse_unresolved_operand()
        parser.parse_punctuation(":")
        return cls(kind, a, parser.resolve_operand(b, parser.parse_type()))


@irdl_op_definition
class LanesYieldOp(BodyOp):
    """Ends the body of `tile.elementwise`: the rows to write, one for each output."""

    name = "tile.yield"
    values = var_operand_def(LANES)
    traits = traits_def(IsTerminator())

    def __init__(self, *values: SSAValue) -> None:
        super().__init__(operands=[list(values)])

    def buffers(self) -> Iterator[tuple[str, SSAValue]]:
        return iter(())

    def verify_(self) -> None:
        if any(not isinstance(value.owner, LanewiseOp) for value in self.values):
            raise VerifyException(f"{self.name}: what is written must be computed in the body")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_list(self.values, printer.print_operand)

    @classmethod
    def parse(cls, parser: Parser) -> LanesYieldOp:
        return cls(
            *parser.parse_comma_separated_list(parser.Delimiter.NONE, lambda: parser.parse_operand(LANES))
        )


@dataclass(frozen=True)
class PanelRows:
    """How an elementwise operation walks through a buffer.

    `row` elements from one row to the next, `block` from one column block to the next; 0 repeats.
    """

    buffer: SSAValue
    row: int
    block: int


@irdl_op_definition
class ElementwiseOp(TileOp):
    """outs = body(inputs) for every row of every column block of some panels.

    The body's arguments are one row of each input, what it yields is written to the outputs. `strides` has a row and a
    block stride per panel, outputs first; a row stride of 0 repeats one row, a block stride of 0 one column block. An
    output may be one of the inputs, with the same strides, and otherwise must not overlap them. Rows of `scratch` hold
    what is needed again later (see plena.instructions.row_plan).
    """

    name = "tile.elementwise"
    outs = var_operand_def(BufferType)
    inputs = var_operand_def(BufferType)
    scratch = opt_operand_def(BufferType)
    rows = prop_def(IntegerAttr[I64])
    blocks = prop_def(IntegerAttr[I64])
    strides = prop_def(DenseArrayBase[I64])
    body = region_def("single_block")
    irdl_options = (AttrSizedOperandSegments(as_property=True),)

    def __init__(
        self,
        outs: Sequence[PanelRows],
        inputs: Sequence[PanelRows],
        scratch: SSAValue | None,
        size: tuple[int, int],
        body: Region,
        attributes: dict[str, Attribute] | None = None,
    ) -> None:
        """`size` is rows, blocks."""
        strides = [number for p in (*outs, *inputs) for number in (p.row, p.block)]
        buffers = [[p.buffer for p in panels] for panels in (outs, inputs)]
        super().__init__(
            operands=[*buffers, [] if scratch is None else [scratch]],
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
    def scalars(self) -> tuple[SSAValue, ...]:
        """The numbers of FP SRAM that the body reads."""
        return tuple(dict.fromkeys(step.scalar for step in self.steps if step.scalar is not None))

    @property
    def yielded(self) -> tuple[SSAValue, ...]:
        """The rows that are written."""
        last = self.body.block.last_op
        assert isinstance(last, LanesYieldOp)
        return tuple(last.values)

    @property
    def out_panels(self) -> tuple[PanelRows, ...]:
        """The outputs with their strides."""
        return self._panels(tuple(self.outs), 0)

    @property
    def in_panels(self) -> tuple[PanelRows, ...]:
        """The inputs with their strides."""
        return self._panels(tuple(self.inputs), len(self.outs))

    def _panels(self, buffers: Sequence[SSAValue], first: int) -> tuple[PanelRows, ...]:
        numbers = self.strides.get_values()[2 * first :]
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return tuple(PanelRows(buffer, *pair) for buffer, pair in zip(buffers, pairs, strict=False))

    def buffers(self) -> Iterator[tuple[str, SSAValue]]:
        for name, values in (("out", self.outs), ("in", self.inputs)):
            for number, value in enumerate(values):
                yield f"{name}{number}", value
        if self.scratch is not None:
            yield "scratch", self.scratch
        for index, scalar in enumerate(self.scalars):
            yield f"scalar{index}", scalar

    def verify_(self) -> None:
        if any(value.type != BufferType.of("vector") for value in self.operands):
            raise VerifyException(f"{self.name}: operands must be buffers in vector SRAM")
        if len(self.strides.get_values()) != 2 * (len(self.outs) + len(self.inputs)):
            raise VerifyException(f"{self.name}: needs two strides per panel")
        if min(*self.size, *self.strides.get_values()) < 0 or 0 in self.size:
            raise VerifyException(f"{self.name}: sizes must be positive, strides must not be negative")
        for out in self.out_panels:
            if any(p.buffer == out.buffer and p != out for p in self.in_panels):
                raise VerifyException(f"{self.name}: an input that is an output needs the same strides")
        block = self.body.block
        if len(block.args) != len(self.inputs) or any(a.type != LANES for a in block.args):
            raise VerifyException(f"{self.name}: the body takes one !tile.lanes per input")
        if not isinstance(block.last_op, LanesYieldOp) or len(self.yielded) != len(self.outs):
            raise VerifyException(f"{self.name}: the body ends in tile.yield of one row per output")
        if not self.outs:
            raise VerifyException(f"{self.name}: needs an output")

    def print(self, printer: Printer) -> None:
        printer.print_string(f" rows = {self.size[0]} blocks = {self.size[1]}")
        for name, panels in (("out", self.out_panels), ("in", self.in_panels)):
            for panel in panels:
                printer.print_string(f" {name}(")
                printer.print_operand(panel.buffer)
                printer.print_string(f"[{panel.row}, {panel.block}])")
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
        outs, inputs = _parse_panels(parser, "out"), _parse_panels(parser, "in")
        scratch = None
        if parser.parse_optional_keyword("scratch"):
            parser.parse_punctuation("(")
            scratch = parser.resolve_operand(parser.parse_unresolved_operand(), BufferType.of("vector"))
            parser.parse_punctuation(")")
        body = parser.parse_region()
        given = parser.parse_optional_attr_dict_with_keyword()
        return cls(outs, inputs, scratch, (size[0], size[1]), body, dict(given.data) if given else None)


def _parse_panels(parser: Parser, keyword: str) -> list[PanelRows]:
    panels: list[PanelRows] = []
    while parser.parse_optional_keyword(keyword):
        parser.parse_punctuation("(")
        value = parser.resolve_operand(parser.parse_unresolved_operand(), BufferType.of("vector"))
        parser.parse_punctuation("[")
        row = parser.parse_integer()
        parser.parse_punctuation(",")
        block = parser.parse_integer()
        parser.parse_punctuation("]")
        parser.parse_punctuation(")")
        panels.append(PanelRows(value, row, block))
    return panels
