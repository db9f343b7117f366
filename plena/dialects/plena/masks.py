"""The structural part of an attention mask as an attribute."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, StringAttr
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException


@irdl_attr_definition
class BandAttr(ParametrizedAttribute):
    """A mask that allows exactly the keys with `lower <= key - query <= upper`; an absent bound is `*`.

    Causal is `#plena.band<* to 0>`, a causal window of n keys `#plena.band<-(n-1) to 0>`.
    """

    name = "plena.band"
    bounds: ArrayAttr[IntegerAttr | StringAttr]

    def __init__(self, lower: int | None, upper: int | None) -> None:
        bounds = [StringAttr("*") if b is None else IntegerAttr(b, 64) for b in (lower, upper)]
        super().__init__(ArrayAttr(bounds))

    @property
    def lower(self) -> int | None:
        """The smallest allowed key - query, None if unbounded."""
        return _bound(self.bounds.data[0])

    @property
    def upper(self) -> int | None:
        """The largest allowed key - query, None if unbounded."""
        return _bound(self.bounds.data[1])

    def allows(self, query: int, key: int) -> bool:
        """Whether the query at row `query` sees the key at column `key`."""
        distance = key - query
        return (self.lower is None or distance >= self.lower) and (
            self.upper is None or distance <= self.upper
        )

    def intersect(self, other: BandAttr) -> BandAttr:
        """The band of the keys that both allow."""
        lowers = [b for b in (self.lower, other.lower) if b is not None]
        uppers = [b for b in (self.upper, other.upper) if b is not None]
        return BandAttr(max(lowers, default=None), min(uppers, default=None))

    def verify(self) -> None:
        if len(self.bounds.data) != 2:
            raise VerifyException("plena.band has two bounds")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise VerifyException("plena.band allows nothing")

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(f"{_text(self.lower)} to {_text(self.upper)}")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            lower = None if parser.parse_optional_punctuation("*") else parser.parse_integer()
            parser.parse_keyword("to")
            upper = None if parser.parse_optional_punctuation("*") else parser.parse_integer()
        return BandAttr(lower, upper).parameters


def _bound(attribute: Attribute) -> int | None:
    return attribute.value.data if isinstance(attribute, IntegerAttr) else None


def _text(bound: int | None) -> str:
    return "*" if bound is None else str(bound)
