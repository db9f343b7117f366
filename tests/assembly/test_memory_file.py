"""Machine code files."""

from __future__ import annotations

import pytest

from plena.assembly import parse_mem, print_mem
from plena.errors import AssemblyError


def test_words_with_and_without_prefix_anywhere() -> None:
    words = parse_mem("0x00010801 FFFFC062\n\n\t0xabc\r\n000000000000001\n")
    assert words.tolist() == [0x00010801, 0xFFFFC062, 0xABC, 1]
    assert words.dtype.name == "uint32"


def test_printing() -> None:
    assert print_mem([1, 0xFFFFC062]) == "0x00000001\n0xFFFFC062\n"
    assert print_mem([]) == "" and parse_mem("").tolist() == []


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("0x00000022\n0xZZ\n", 2, 1, 1),
        ("1 2\n 3 0x123456789", 2, 4, 3),
        ("-1", 1, 1, 0),
        ("0x", 1, 1, 0),
        ("1_0", 1, 1, 0),
        ("0x1,", 1, 1, 0),
    ],
)
def test_a_bad_token_has_its_position(text: str, line: int, column: int, word: int) -> None:
    with pytest.raises(AssemblyError, match=f"is not a 32-bit hexadecimal word.*word {word} of") as raised:
        parse_mem(text, "program.mem")
    assert (raised.value.line, raised.value.column) == (line, column)
    assert str(raised.value).startswith(f"program.mem:{line}:{column}: ")
