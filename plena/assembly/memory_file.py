"""Machine code files: hexadecimal words separated by white space (plena_isa.md section 6.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from plena.assembly.lines import BYTE_ORDER_MARK
from plena.errors import AssemblyError

_WORD = re.compile(r"(?:0x)?([0-9a-fA-F]+)\Z")


def parse_mem(text: str, file: str | None = None) -> NDArray[np.uint32]:
    """The words of a `.mem` text, uint32[n]; an optional `0x` before each.

    Raises:
        AssemblyError: a token that is not a hexadecimal number of at most 32 bits, with line and column.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    words: list[int] = []
    known: dict[str, int] = {}
    for token in text.split():
        word = known.get(token)
        if word is None:
            match = _WORD.match(token)
            digits = match[1].lstrip("0") if match else ""
            if match is None or len(digits) > 8:
                raise _bad_token(text, len(words), file)
            word = known[token] = int(digits or "0", 16)
        words.append(word)
    return np.array(words, np.uint32)


def print_mem(words: Sequence[int] | NDArray[np.unsignedinteger]) -> str:
    """The `.mem` text of a program: one `0x%08X` a line, as the public assembler writes it."""
    numbers: list[int] = np.asarray(words, np.uint32).tolist()
    lines = ["0x%08X" % word for word in numbers]  # noqa: UP031, twice as fast as an f-string
    lines.append("")
    return "\n".join(lines)


def _bad_token(text: str, position: int, file: str | None) -> AssemblyError:
    match = next(islice(re.finditer(r"\S+", text), position, None))
    token = match[0] if len(match[0]) <= 40 else match[0][:40] + "..."
    before = text[: match.start()]
    return AssemblyError(
        f"{token!r} is not a 32-bit hexadecimal word",
        before.count("\n") + 1,
        match.start() - (before.rfind("\n") + 1) + 1,
        f"It is word {position} of the program; words look like 0x00010801.",
        file,
    )
