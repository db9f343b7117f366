"""What the conversion to tiles chose, and what it could have chosen otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, IntAttr, StringAttr
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

CHOICES = "tile.choices"
"""The module attribute that holds a `ChoicesAttr`."""

_FREEDOMS = ("order", "pairing", "shortening", "row_groups")


@irdl_attr_definition
class ChoicesAttr(ParametrizedAttribute):
    """`#tile.choices<order pairing sections 4, ["a line for each decision"]>`.

    `freedoms`: the options of `convert-plena-to-tile` that would change these tiles: "order" (loop order and query
    block of attention), "pairing" (column blocks of linear layers in pairs), "shortening" (M_BTMM instead of M_BTMV in
    repeated layers), "row_groups" (M_BTMV for more rows than it takes at once). `sections`: the most pieces of
    code that treat query blocks apart by the keys they see. `decisions`: what was chosen and why.
    """

    name = "tile.choices"
    freedoms: ArrayAttr[StringAttr] = param_def()
    sections: IntAttr = param_def()
    decisions: ArrayAttr[StringAttr] = param_def()

    @staticmethod
    def of(
        *,
        order: bool,
        pairing: bool,
        shortening: bool,
        row_groups: bool,
        sections: int,
        decisions: Sequence[str],
    ) -> ChoicesAttr:
        free = (order, pairing, shortening, row_groups)
        freedoms = [name for name, is_free in zip(_FREEDOMS, free, strict=True) if is_free]
        return ChoicesAttr(
            ArrayAttr([StringAttr(name) for name in freedoms]),
            IntAttr(sections),
            ArrayAttr([StringAttr(line) for line in decisions]),
        )

    def is_free(self, name: str) -> bool:
        """Whether an option would change the tiles."""
        return any(freedom.data == name for freedom in self.freedoms)

    @property
    def lines(self) -> tuple[str, ...]:
        """The decisions as text."""
        return tuple(line.data for line in self.decisions)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            freedoms = [StringAttr(name) for name in _FREEDOMS if parser.parse_optional_keyword(name)]
            parser.parse_keyword("sections")
            sections = IntAttr(parser.parse_integer(allow_boolean=False))
            parser.parse_punctuation(",")
            lines = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_str_literal)
        return [ArrayAttr(freedoms), sections, ArrayAttr([StringAttr(line) for line in lines])]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            for freedom in self.freedoms:
                printer.print_string(f"{freedom.data} ")
            printer.print_string(f"sections {self.sections.data}, [")
            printer.print_list(self.decisions, lambda line: printer.print_string_literal(line.data))
            printer.print_string("]")

    def verify(self) -> None:
        names = [name.data for name in self.freedoms]
        if names != [name for name in _FREEDOMS if name in names]:
            raise VerifyException(f"{CHOICES} are free in {', '.join(names)}; known, in order: {_FREEDOMS}")
        if self.sections.data < 1:
            raise VerifyException(f"{CHOICES} have at least one section")
