"""Tile operations that choose experts: the largest lanes of a row as numbers in INT SRAM, and rows made of those.

An *id* is the number of a column, a whole number in INT SRAM that is known only at run time.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, result_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.dialects.tile.buffers import BufferType
from plena.dialects.tile.operation import DeclaredOp, TileOp, number, read, tile_op, written


@tile_op("topk")
class TopkOp(DeclaredOp):
    """ids = numbers of the K largest of E lanes, the largest first, of equal ones the first; weights = their softmax.

    `policy` says how many they are (`TOPK_SHAPES`: E and K). The lanes are those of whole rows one behind the other
    from `x` on.
    """

    ids: SSAValue = written("int")
    weights: SSAValue = written("fp")
    x: SSAValue = read("vector")
    policy: int = number(default=0)

    def verify_(self) -> None:
        super().verify_()
        if self.policy not in TOPK_SHAPES:
            raise VerifyException(f"{self.name}: policy must be one of {', '.join(map(str, TOPK_SHAPES))}")


@tile_op("mark_lanes")
class MarkLanesOp(DeclaredOp):
    """One row of `blocks` out blocks: the word `one` in the columns of the first `count` ids, 0 elsewhere.

    `first` is the column of the first lane, a multiple of VLEN. `row` has a word for every column up to the last, all
    zeros, which are zeros again afterwards.
    """

    out: SSAValue = written("vector")
    row: SSAValue = written("fp")
    ids: SSAValue = read("int")
    one: SSAValue = read("fp")
    count: int = number()
    blocks: int = number()
    out_block: int = number()
    first: int = number(default=0)


@tile_op("clear_ids")
class ClearIdsOp(DeclaredOp):
    """`count` ids = 0."""

    ids: SSAValue = written("int")
    count: int = number()


@tile_op("offset_ids")
class OffsetIdsOp(DeclaredOp):
    """ids[i] = x[i] + offset for `count` numbers."""

    ids: SSAValue = written("int")
    x: SSAValue = read("int")
    count: int = number()
    offset: int = number(default=0)


@tile_op("look_up_ids")
class LookUpIdsOp(DeclaredOp):
    """ids[i] = table[positions[i]] for `count` numbers."""

    ids: SSAValue = written("int")
    positions: SSAValue = read("int")
    table: SSAValue = read("int")
    count: int = number()


@irdl_op_definition
class LoadIdOp(TileOp):
    """An id as an `index`, which offsets of views may be made of: where an expert's parameters lie."""

    name = "tile.load_id"
    ids = operand_def(BufferType)
    id = result_def(IndexType())

    def __init__(self, ids: SSAValue, attributes: dict[str, Attribute] | None = None) -> None:
        super().__init__(operands=[ids], result_types=[IndexType()], attributes=attributes or {})

    def buffers(self) -> Iterator[tuple[str, SSAValue]]:
        yield "ids", self.ids

    def verify_(self) -> None:
        if self.ids.type != BufferType.of("int"):
            raise VerifyException(f"{self.name}: ids must be a buffer in int")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ids(")
        printer.print_operand(self.ids)
        printer.print_string(" : int)")
        printer.print_op_attributes(self.attributes, print_keyword=True)

    @classmethod
    def parse(cls, parser: Parser) -> LoadIdOp:
        parser.parse_keyword("ids")
        parser.parse_punctuation("(")
        unresolved = parser.parse_unresolved_operand()
        parser.parse_punctuation(":")
        ids = parser.resolve_operand(unresolved, BufferType.parse_space(parser))
        parser.parse_punctuation(")")
        attributes = parser.parse_optional_attr_dict_with_keyword()
        return cls(ids, dict(attributes.data) if attributes else None)


__all__ = ["ClearIdsOp", "LoadIdOp", "LookUpIdsOp", "MarkLanesOp", "OffsetIdsOp", "TopkOp"]
