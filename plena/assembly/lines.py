"""The lines of a text file as every reader of assembly and words counts them."""

from __future__ import annotations

BYTE_ORDER_MARK = "\ufeff"
"""What some editors put before the first character; it is no part of the text."""


def source_lines(text: str) -> list[str]:
    """The lines of a text: any newline convention, no byte order mark before a line.

    A mark stands before a later line when files were joined.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if BYTE_ORDER_MARK in text:
        lines = [line.lstrip(BYTE_ORDER_MARK) for line in lines]
    return lines


def statement_of(line: str) -> str:
    """What precedes the comment of an assembly line; `//` and `;` start comments (plena_isa.md section 6.4)."""
    if (cut := line.find(";")) >= 0:
        line = line[:cut]
    if (cut := line.find("//")) >= 0:
        line = line[:cut]
    return line
