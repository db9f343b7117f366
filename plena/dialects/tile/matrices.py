"""Matrices of numbers as attributes, exact to the bit."""

from __future__ import annotations

from math import isfinite, prod

import numpy as np
import numpy.typing as npt
from xdsl.dialects.builtin import I64, BytesAttr, DenseArrayBase, i64
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException


@irdl_attr_definition
class MatrixAttr(ParametrizedAttribute):
    """A float32 array of any shape: `#tile.matrix<[4, 64] all 1.000000e+00>`, or its bytes, little-endian, row-major.

    Not builtin's `dense`: xDSL prints some numbers there as 0x..., which its parser takes for whole numbers.
    """

    name = "tile.matrix"
    shape: DenseArrayBase[I64] = param_def()
    stored: BytesAttr = param_def()

    @staticmethod
    def of(values: npt.NDArray[np.float32]) -> MatrixAttr:
        """The attribute of an array."""
        stored = np.ascontiguousarray(values, "<f4").tobytes()
        return MatrixAttr(DenseArrayBase.from_list(i64, values.shape), BytesAttr(stored))

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """The array; not to be written to."""
        return np.frombuffer(self.stored.data, "<f4").reshape(self.shape.get_values())

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            shape = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)
            if parser.parse_optional_keyword("all"):
                stored = np.full(max(0, prod(shape)), parser.parse_number(), "<f4").tobytes()
            else:
                digits = parser.parse_str_literal()
                try:
                    stored = bytes.fromhex(digits)
                except ValueError:
                    parser.raise_error("the bytes of a matrix are hexadecimal digits")
        return [DenseArrayBase.from_list(i64, shape), BytesAttr(stored)]

    def print_parameters(self, printer: Printer) -> None:
        stored = self.stored.data
        first = float(np.frombuffer(stored[:4], "<f4")[0])
        shown = f"{first:.6e}"
        exact = isfinite(first) and np.float32(shown).tobytes() == stored[:4]
        with printer.in_angle_brackets():
            printer.print_string(f"{list(self.shape.get_values())} ")
            if exact and stored == stored[:4] * (len(stored) // 4):
                printer.print_string(f"all {shown}")
            else:
                printer.print_string_literal(stored.hex())

    def verify(self) -> None:
        shape = self.shape.get_values()
        if not shape or min(shape) < 1:
            raise VerifyException(f"a matrix of shape {list(shape)}")
        if 4 * prod(shape) != len(self.stored.data):
            raise VerifyException(f"{len(self.stored.data)} bytes are no float32 matrix {list(shape)}")
