"""What the host puts into a buffer before the run, or reads from it afterwards, as attributes."""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    BoolAttr,
    DenseArrayBase,
    FloatAttr,
    IntAttr,
    NoneAttr,
    StringAttr,
    f64,
)
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from plena.dialects.views import StepAttr, integers, parse_integers, parse_step, print_step

LAYOUTS = ("rows", "tiled", "column_blocks", "words")
ORDERS = ("rows", "columns")
STAGINGS = ("public", "nearest", "calibrated")
PORTS = ("input", "output")


@irdl_attr_definition
class SourceAttr(ParametrizedAttribute):
    """What a placed tensor is.

    `#tile.source<input 0>` or `output 0`: a port of the program. `#tile.source<data @w>`: a staging expression over
    the parameters of the model (plena.dialects.plena.staging). `#tile.source<constant @guard>`: the matrix of a
    `tile.data` of the module. `#tile.source<host @host_0>`: the value of a `tile.host` of the module, which the host
    computes of inputs. `#tile.source<state @keys>`: a buffer of the model that a run changes and the next one finds as
    it was left. `#tile.source<scratch>`: memory that the program itself defines.
    """

    name = "tile.source"
    kind: StringAttr = param_def()
    value: Attribute = param_def()

    @staticmethod
    def port(kind: str, number: int) -> SourceAttr:
        return SourceAttr(StringAttr(kind), IntAttr(number))

    @staticmethod
    def data(expression: Attribute) -> SourceAttr:
        return SourceAttr(StringAttr("data"), expression)

    @staticmethod
    def constant(symbol: str) -> SourceAttr:
        return SourceAttr(StringAttr("constant"), StringAttr(symbol))

    @staticmethod
    def host(symbol: str) -> SourceAttr:
        return SourceAttr(StringAttr("host"), StringAttr(symbol))

    @staticmethod
    def state(name: str) -> SourceAttr:
        return SourceAttr(StringAttr("state"), StringAttr(name))

    @staticmethod
    def scratch() -> SourceAttr:
        return SourceAttr(StringAttr("scratch"), NoneAttr())

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            return list(_parse_source(parser).parameters)

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            _print_source(printer, self)

    def verify(self) -> None:
        wanted: dict[str, type[Attribute]] = {
            "input": IntAttr,
            "output": IntAttr,
            "constant": StringAttr,
            "host": StringAttr,
            "state": StringAttr,
            "scratch": NoneAttr,
        }
        if self.kind.data != "data" and self.kind.data not in wanted:
            raise VerifyException(f"unknown source {self.kind.data}; one of {', '.join(wanted)}, data")
        expected = wanted.get(self.kind.data)
        if expected is not None and not isinstance(self.value, expected):
            raise VerifyException(f"source {self.kind.data} does not go with {self.value}")
        if isinstance(self.value, IntAttr) and self.value.data < 0:
            raise VerifyException(f"there is no {self.kind.data} {self.value.data}")


@irdl_attr_definition
class PlacementAttr(ParametrizedAttribute):
    """Where a tensor lies in a buffer: `TensorPlacement` (plena.host.layout) relative to it.

    `#tile.placement<"w" of data @w as tiled [64, 64] HBM_M_WEIGHT_TYPE>`, then those of these that have not their
    default value, in this order: `padded [Rp, Cp]`, `view [reshape [2, 32], permute [1, 0]]`, `offset 64` (bytes,
    elements or words from the start of the buffer), `order columns`, `scale 2.0`, `limit 9`,
    `residual`, `staging nearest`, `routed`. The memory is the buffer's.
    """

    name = "tile.placement"
    symbol: StringAttr = param_def()
    source: SourceAttr = param_def()
    layout: StringAttr = param_def()
    shape: DenseArrayBase[I64] = param_def()
    number_format: StringAttr = param_def()
    padded: DenseArrayBase[I64] = param_def()
    view: ArrayAttr[StepAttr] = param_def()
    offset: IntAttr = param_def()
    order: StringAttr = param_def()
    scale: FloatAttr = param_def()
    limit: IntAttr = param_def()
    residual: BoolAttr = param_def()
    staging: StringAttr = param_def()
    routed: BoolAttr = param_def()

    @property
    def elements(self) -> int:
        """Elements from the offset to the end, padding included."""
        shape = self.shape.get_values()
        if self.layout.data == "words":
            return prod(shape)
        return prod(shape[:-2]) * prod(self.padded.get_values() or shape[-2:])

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            symbol = StringAttr(parser.parse_str_literal())
            parser.parse_keyword("of")
            source = _parse_source(parser)
            parser.parse_keyword("as")
            layout = StringAttr(parser.parse_identifier())
            shape = integers(parse_integers(parser))
            number_format = StringAttr(parser.parse_identifier())
            padded = integers(parse_integers(parser) if parser.parse_optional_keyword("padded") else ())
            steps: list[StepAttr] = []
            if parser.parse_optional_keyword("view"):
                steps = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, lambda: parse_step(parser))

            def number(keyword: str) -> IntAttr:
                return IntAttr(parser.parse_integer() if parser.parse_optional_keyword(keyword) else 0)

            def word(keyword: str, otherwise: str) -> StringAttr:
                known = parser.parse_optional_keyword(keyword)
                return StringAttr(parser.parse_identifier() if known else otherwise)

            offset, order = number("offset"), word("order", ORDERS[0])
            scale: Attribute = FloatAttr(1.0, f64)
            if parser.parse_optional_keyword("scale"):
                scale = parser.parse_attribute()
            limit = number("limit")
            residual = BoolAttr.from_bool(parser.parse_optional_keyword("residual") is not None)
            staging = word("staging", STAGINGS[0])
            routed = BoolAttr.from_bool(parser.parse_optional_keyword("routed") is not None)
        described = [symbol, source, layout, shape, number_format, padded, ArrayAttr(steps)]
        return [*described, offset, order, scale, limit, residual, staging, routed]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string_literal(self.symbol.data)
            printer.print_string(" of ")
            _print_source(printer, self.source)
            printer.print_string(f" as {self.layout.data} ")
            printer.print_string(f"{list(self.shape.get_values())} {self.number_format.data}")
            if self.padded.get_values():
                printer.print_string(f" padded {list(self.padded.get_values())}")
            if self.view.data:
                printer.print_string(" view [")
                printer.print_list(self.view, lambda step: print_step(printer, step))
                printer.print_string("]")
            if self.offset.data:
                printer.print_string(f" offset {self.offset.data}")
            if self.order.data != ORDERS[0]:
                printer.print_string(f" order {self.order.data}")
            if self.scale.value.data != 1.0:
                printer.print_string(" scale ")
                printer.print_attribute(self.scale)
            if self.limit.data:
                printer.print_string(f" limit {self.limit.data}")
            if self.residual.value.data:
                printer.print_string(" residual")
            if self.staging.data != STAGINGS[0]:
                printer.print_string(f" staging {self.staging.data}")
            if self.routed.value.data:
                printer.print_string(" routed")

    def verify(self) -> None:
        for value, allowed in ((self.layout, LAYOUTS), (self.order, ORDERS), (self.staging, STAGINGS)):
            if value.data not in allowed:
                raise VerifyException(f"{self.symbol.data}: {value.data} is none of {', '.join(allowed)}")
        shape, padded = self.shape.get_values(), self.padded.get_values()
        if not shape or min(shape) < 1:
            raise VerifyException(f"{self.symbol.data}: empty shape {list(shape)}")
        if self.layout.data == "words":
            if padded:
                raise VerifyException(f"{self.symbol.data}: words have no padding")
        elif len(shape) < 2 or len(padded) not in (0, 2):
            raise VerifyException(
                f"{self.symbol.data}: shape and padding have at least and just two dimensions"
            )
        elif any(whole < part for whole, part in zip(padded, shape[-2:], strict=False)):
            raise VerifyException(
                f"{self.symbol.data}: {list(shape)} does not fit in the padded {list(padded)}"
            )
        if self.offset.data < 0 or self.limit.data < 0:
            raise VerifyException(f"{self.symbol.data}: offset and limit must not be negative")
        last = self.view.data[-1] if self.view.data else None
        if last is not None and last.kind.data in ("reshape", "expand") and last.shape != list(shape):
            raise VerifyException(f"{self.symbol.data}: the view gives {last.shape}, not {list(shape)}")


def _parse_source(parser: AttrParser) -> SourceAttr:
    kind = parser.parse_identifier()
    if kind in PORTS:
        return SourceAttr.port(kind, parser.parse_integer())
    if kind in ("constant", "host", "state"):
        return SourceAttr(StringAttr(kind), StringAttr(parser.parse_symbol_name().data))
    if kind == "data":
        return SourceAttr.data(parser.parse_attribute())
    return SourceAttr(StringAttr(kind), NoneAttr())


def _print_source(printer: Printer, source: SourceAttr) -> None:
    printer.print_string(source.kind.data)
    match source.value:
        case IntAttr():
            printer.print_string(f" {source.value.data}")
        case StringAttr():
            printer.print_string(" ")
            printer.print_symbol_name(source.value.data)
        case NoneAttr():
            pass
        case _:
            printer.print_string(" ")
            printer.print_attribute(source.value)
