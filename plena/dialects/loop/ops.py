"""The `loop` dialect: counted loops and linear index arithmetic, shared by every level below tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

from xdsl.dialects.builtin import I64, ArrayAttr, IndexType, IntAttr, IntegerAttr, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    irdl_op_definition,
    opt_operand_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsTerminator, Pure, SingleBlockImplicitTerminator, ensure_terminator
from xdsl.utils.exceptions import VerifyException

from plena.dialects.loop.linear import Linear
from plena.dialects.remembered_checks import checked_once


@irdl_op_definition
class YieldOp(IRDLOperation):
    """Ends the body of a `loop.for`; in assembly it is the C_LOOP_END line. Implicit in the custom syntax."""

    name = "loop.yield"
    traits = traits_def(IsTerminator())

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class ForOp(IRDLOperation):
    """Runs its body `trip_count` times with the index 0, 1, ...: what the hardware loop can do and nothing else.

    There are no iteration arguments: state is carried in memories and register cells. In the register form the
    operand `counter` is the gp cell that the hardware counts in (it reads trip_count, ..., 1), and the index is
    unused. Source: plena_isa.md section 4.
    """

    name = "loop.for"
    counter = opt_operand_def(AnyAttr())
    trip_count = prop_def(IntegerAttr[I64])
    body = region_def("single_block")
    traits = traits_def(SingleBlockImplicitTerminator(YieldOp))

    def __init__(
        self,
        trip_count: int,
        body: Region | Sequence[Operation] | None = None,
        counter: SSAValue | None = None,
        attributes: dict[str, Attribute] | None = None,
    ) -> None:
        if not isinstance(body, Region):
            body = Region(Block(body or [], arg_types=[IndexType()]))
        super().__init__(
            operands=[[counter] if counter is not None else []],
            properties={"trip_count": IntegerAttr(trip_count, i64)},
            attributes=attributes or {},
            regions=[body],
        )
        ensure_terminator(self, SingleBlockImplicitTerminator(YieldOp))

    @property
    def trips(self) -> int:
        """The number of iterations."""
        return self.trip_count.value.data

    @property
    def index(self) -> SSAValue:
        """The induction variable."""
        return self.regions[0].block.args[0]

    @property
    def operations(self) -> list[Operation]:
        """The body without its terminator."""
        return list(self.regions[0].block.ops)[:-1]

    def verify_(self) -> None:
        if self.trips < 1:
            raise VerifyException(f"trip count must be at least 1, got {self.trips}")
        arguments = self.body.block.args
        if len(arguments) != 1 or not isinstance(arguments[0].type, IndexType):
            raise VerifyException("the body takes exactly one argument, the index")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.index)
        printer.print_string(f" = 0 to {self.trips}")
        if self.counter is not None:
            printer.print_string(" counter(")
            printer.print_operand(self.counter)
            printer.print_string(" : ")
            printer.print_attribute(self.counter.type)
            printer.print_string(")")
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False, print_block_terminators=False)
        printer.print_op_attributes(self.attributes, print_keyword=True)

    @classmethod
    def parse(cls, parser: Parser) -> ForOp:
        index = parser.parse_argument(expect_type=False).resolve(IndexType())
        parser.parse_punctuation("=")
        if parser.parse_integer() != 0:
            parser.raise_error("a loop.for counts from 0")
        parser.parse_keyword("to")
        trips = parser.parse_integer()
        counter = None
        if parser.parse_optional_keyword("counter"):
            parser.parse_punctuation("(")
            unresolved = parser.parse_unresolved_operand()
            parser.parse_punctuation(":")
            counter = parser.resolve_operand(unresolved, parser.parse_type())
            parser.parse_punctuation(")")
        body = parser.parse_region([index])
        attributes = parser.parse_optional_attr_dict_with_keyword()
        return cls(trips, body, counter, dict(attributes.data) if attributes else None)


_INDEX = IndexType()


@lru_cache(maxsize=1 << 16)
def _number(value: int) -> IntAttr:
    """A number as an attribute: programs repeat few of them many times."""
    return IntAttr(value)


@lru_cache(maxsize=1 << 12)
def _numbers(values: tuple[int, ...]) -> ArrayAttr[IntAttr]:
    return ArrayAttr([_number(value) for value in values])


LARGEST = 1 << 48
"""Sums of the numbers of addresses stay within 64 bits."""


@irdl_op_definition
class AffineOp(IRDLOperation):
    """A linear function of index values, the only address arithmetic there is: `c + k0 * %v0 + k1 * %v1`.

    Linear because the machine adds: every loop step changes it by a constant. Values are loop indices or symbols
    loaded at run time; the unit is whatever the consuming instruction addresses in.
    """

    name = "loop.affine"
    values = var_operand_def(IndexType())
    constant = prop_def(IntAttr)
    coefficients = prop_def(ArrayAttr[IntAttr])
    result = result_def(IndexType())
    traits = traits_def(Pure())

    def __init__(self, expression: Linear) -> None:
        # As the constructor of IRDL would make it, several times faster: programs have tens of thousands.
        terms = expression.terms
        properties: dict[str, Attribute] = {
            "constant": _number(expression.constant),
            "coefficients": _numbers(tuple([c for _, c in terms])),
        }
        Operation.__init__(
            self, operands=[v for v, _ in terms], properties=properties, result_types=(_INDEX,)
        )

    @property
    def expression(self) -> Linear:
        """Its own terms, operands taken as they are (see `linear_of` for the resolved form)."""
        return Linear.of(
            self.constant.data,
            [(v, c.data) for v, c in zip(self.values, self.coefficients, strict=True)],
        )

    def verify_(self) -> None:
        checked_once(self, self._verify_numbers)

    def _verify_numbers(self) -> None:
        if len(self.values) != len(self.coefficients):
            raise VerifyException("one coefficient per value")
        for number in (self.constant.data, *(c.data for c in self.coefficients)):
            if abs(number) >= LARGEST:
                raise VerifyException(
                    f"{number} is no address: numbers are below 2^{LARGEST.bit_length() - 1}"
                )

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.constant.data}")
        for value, coefficient in zip(self.values, self.coefficients, strict=True):
            printer.print_string(f" + {coefficient.data} * ")
            printer.print_operand(value)
        printer.print_op_attributes(self.attributes, print_keyword=True)

    @classmethod
    def parse(cls, parser: Parser) -> AffineOp:
        constant = parser.parse_integer()
        terms: list[tuple[SSAValue, int]] = []
        while parser.parse_optional_punctuation("+"):
            coefficient = parser.parse_integer()
            parser.parse_punctuation("*")
            terms.append(
                (parser.resolve_operand(parser.parse_unresolved_operand(), IndexType()), coefficient)
            )
        attributes = parser.parse_optional_attr_dict_with_keyword()
        return cls.create(
            operands=[v for v, _ in terms],
            properties={
                "constant": IntAttr(constant),
                "coefficients": ArrayAttr([IntAttr(c) for _, c in terms]),
            },
            attributes=dict(attributes.data) if attributes else {},
            result_types=[IndexType()],
        )


def linear_of(value: SSAValue) -> Linear:
    """The linear expression that an index value denotes, nested `loop.affine` results resolved."""
    owner = value.owner
    if not isinstance(owner, AffineOp):
        return Linear(0, ((value, 1),))
    constant, coefficients = _numbers_of(owner)
    terms: dict[SSAValue, int] = {}
    for operand, coefficient in zip(owner.operands, coefficients, strict=True):
        if not isinstance(operand.owner, AffineOp):
            _add(terms, operand, coefficient.data)
            continue
        inner = linear_of(operand)
        constant += inner.constant * coefficient.data
        for term, factor in inner.terms:
            _add(terms, term, factor * coefficient.data)
    return Linear(constant, tuple(terms.items()))


def _numbers_of(op: AffineOp) -> tuple[int, tuple[IntAttr, ...]]:
    """Its constant and coefficients, without the descriptors of IRDL, which take as long as the rest."""
    constant, coefficients = op.properties["constant"], op.properties["coefficients"]
    assert isinstance(constant, IntAttr) and isinstance(coefficients, ArrayAttr)
    return constant.data, cast("tuple[IntAttr, ...]", coefficients.data)


def _add(terms: dict[SSAValue, int], value: SSAValue, coefficient: int) -> None:
    """Adds a term, which goes where it becomes zero."""
    total = terms.get(value, 0) + coefficient
    if total:
        terms[value] = total
    else:
        terms.pop(value, None)


__all__ = ["AffineOp", "ForOp", "YieldOp", "linear_of"]
