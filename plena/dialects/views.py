"""Steps of a view as attributes: how the host moves the elements of a tensor (plena.host.view)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import I64, ArrayAttr, DenseArrayBase, FloatAttr, IntAttr, StringAttr, f64, i64
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

_STEPS: dict[str, tuple[str, ...]] = {
    "reshape": ("list",),
    "permute": ("list",),
    "expand": ("list",),
    "slice": ("integer",) * 4,
    "pad": ("integer",) * 3,
    "compare": ("word", "number"),
    "bits": (),
    "infinite": ("integer",),
    "biases": ("list", "list", *("integer",) * 2),
    "hidden": ("list", "list", *("integer",) * 6),
    "sighted": ("list", "list", *("integer",) * 2),
    "relative": ("integer", "number", "number"),
    "relative_near": ("integer", "number", "number"),
    "relative_hidden": ("integer", "number", "number"),
    "relative_number": ("integer", *("number",) * 3),
}
"""Step of a view -> what its arguments are, in order: `to_json` of the steps of plena.host.view."""

_KINDS: dict[str, type[Attribute]] = {
    "list": DenseArrayBase,
    "integer": IntAttr,
    "word": StringAttr,
    "number": FloatAttr,
}


def integers(values: Sequence[int]) -> DenseArrayBase[I64]:
    """Whole numbers as one attribute."""
    return DenseArrayBase.from_list(i64, list(values))


@irdl_attr_definition
class StepAttr(ParametrizedAttribute):
    """A step of a view (plena.host.view) and its arguments: `#plena.step<permute [1, 0]>`, `#plena.step<pad 1 0 4>`."""

    name = "plena.step"
    kind: StringAttr = param_def()
    arguments: ArrayAttr = param_def()

    @staticmethod
    def of(kind: str, arguments: Sequence[Sequence[int] | int | float | str]) -> StepAttr:
        return StepAttr(StringAttr(kind), ArrayAttr([_argument(argument) for argument in arguments]))

    @property
    def values(self) -> list[list[int] | int | float | str]:
        """The arguments as plain data."""
        return [_plain(argument) for argument in self.arguments]

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            return list(parse_step(parser).parameters)

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            print_step(printer, self)

    def verify(self) -> None:
        kind = self.kind.data
        if kind not in _STEPS:
            raise VerifyException(f"unknown view step {kind}; one of {', '.join(_STEPS)}")
        wanted = _STEPS[kind]
        given = self.arguments.data
        fits = len(given) == len(wanted) and all(
            isinstance(argument, _KINDS[name]) for argument, name in zip(given, wanted, strict=True)
        )
        if not fits:
            raise VerifyException(f"{kind} takes {', '.join(wanted) or 'nothing'}, not {self.values}")
        if kind == "permute" and sorted(numbers := self.shape) != list(range(len(numbers))):
            raise VerifyException(f"{numbers} is no permutation")
        if kind in ("reshape", "expand") and min(self.shape, default=1) < 1:
            raise VerifyException(f"{kind} to an empty shape {self.shape}")

    @property
    def shape(self) -> list[int]:
        """The list of a reshape, expand or permute."""
        return list(cast("DenseArrayBase[I64]", self.arguments.data[0]).get_values())


def _argument(value: Sequence[int] | int | float | str) -> Attribute:
    match value:
        case str():
            return StringAttr(value)
        case int():
            return IntAttr(value)
        case float():
            return FloatAttr(value, f64)
        case _:
            return integers(value)


def _plain(attribute: Attribute) -> list[int] | int | float | str:
    match attribute:
        case StringAttr() | IntAttr():
            return attribute.data
        case FloatAttr():
            return attribute.value.data
        case _:
            return list(cast("DenseArrayBase[I64]", attribute).get_values())


def parse_integers(parser: AttrParser) -> list[int]:
    """`[1, 2]`."""
    return parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)


def parse_step(parser: AttrParser) -> StepAttr:
    """A step as `print_step` prints it."""
    kind = parser.parse_identifier()
    if kind not in _STEPS:
        parser.raise_error(f"unknown view step {kind}; one of {', '.join(_STEPS)}")
    arguments: list[Attribute] = []
    for name in _STEPS[kind]:
        match name:
            case "list":
                arguments.append(integers(parse_integers(parser)))
            case "integer":
                arguments.append(IntAttr(parser.parse_integer()))
            case "word":
                arguments.append(StringAttr(parser.parse_str_literal()))
            case _:
                arguments.append(parser.parse_attribute())
    return StepAttr(StringAttr(kind), ArrayAttr(arguments))


def print_step(printer: Printer, step: StepAttr) -> None:
    """`permute [1, 0]`, `pad 1 0 4`."""
    printer.print_string(step.kind.data)
    for argument in step.arguments:
        printer.print_string(" ")
        if isinstance(argument, StringAttr | FloatAttr):
            printer.print_attribute(argument)
        else:
            printer.print_string(str(_plain(argument)))
