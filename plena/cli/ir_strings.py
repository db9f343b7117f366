"""String literals of IR text: found unclosed before xDSL's lexer, which takes exponential time over one, sees them."""

from __future__ import annotations

from plena.errors import PlenaError


def require_closed_strings(text: str, file: str, offset: int = 0) -> None:
    """Refuses a string literal that its line does not close.

    Args:
        offset: lines before the text in its file.

    Raises:
        PlenaError: with line and column of the quote that opens it.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if '"' in line and (column := _unclosed(line)):
            raise PlenaError(
                "this string is not closed",
                f"{file}:{offset + number}:{column}",
                "A string ends on its line.",
            )


def _unclosed(line: str) -> int:
    """The 1-based column of the quote that opens a string without an end, 0 if there is none."""
    opened, position = 0, 0
    while position < len(line):
        if opened:
            if line[position] == "\\":
                position += 1
            elif line[position] == '"':
                opened = 0
        elif line[position] == '"':
            opened = position + 1
        elif line.startswith("//", position):
            break
        position += 1
    return opened
