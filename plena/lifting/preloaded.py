"""What the host loads before a program starts: declared by the user, believed by lift and verify-program."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plena.errors import PlenaError

WORD_LIMIT = 1 << 32


@dataclass(frozen=True)
class Span:
    """Cells `start` up to `stop` (not included); their contents are `low`, `low + step` ... `high` (INT SRAM only)."""

    start: int
    stop: int
    low: int = 0
    high: int = WORD_LIMIT - 1
    step: int = 1


Declared: TypeAlias = int | Sequence[int] | Iterable[Sequence[int]] | NDArray[Any] | str
"""One memory: a size from 0 on, one (start, stop[, low, high[, step]]), several of those, contents, or text."""

MEMORIES = ("hbm", "matrix", "vector", "fp", "int")
_ALIASES = {"vram": "vector", "mram": "matrix", "fp_sram": "fp", "int_sram": "int"}
_SPAN = re.compile(r"(\d+)-(\d+)(?:=(\d+)\.\.(\d+)(?:/(\d+))?)?\Z")


@dataclass(frozen=True)
class Preloaded:
    """Preloaded cells of every memory: HBM bytes, matrix and vector elements, FP and INT words.

    Attributes:
        spans: by memory; a memory that is absent was not declared, one without spans holds nothing.
    """

    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict[str, tuple[Span, ...]])

    @staticmethod
    def of(declared: Preloaded | Mapping[str, Declared] | str | None) -> Preloaded:
        """Reads a declaration: `{"int": 16, "fp": [(0, 8)], "hbm": 65536}`, `{"int": [(0, 16, 0, 31)]}`, or
        the text `int:0-16=0..31 fp:0-8 hbm:0-65536`; `int:0-16=0..1984/64` are multiples of 64.

        Raises:
            PlenaError: an unknown memory or a malformed span.
        """
        if declared is None:
            return Preloaded()
        if isinstance(declared, Preloaded):
            return declared
        if isinstance(declared, str):
            declared = _from_text(declared)
        spans: dict[str, tuple[Span, ...]] = {}
        for name, what in declared.items():
            memory = _ALIASES.get(name, name)
            if memory not in MEMORIES:
                raise PlenaError(
                    f"unknown memory {name!r}", "preloaded", f"The memories are {', '.join(MEMORIES)}."
                )
            spans[memory] = spans.get(memory, ()) + tuple(_spans(memory, what))
        return Preloaded(spans)

    def of_memory(self, memory: str) -> tuple[Span, ...]:
        """The preloaded cells of one memory."""
        return self.spans.get(memory, ())

    def size(self, memory: str) -> int:
        """One past the last preloaded cell."""
        return max((s.stop for s in self.of_memory(memory)), default=0)


def _from_text(text: str) -> dict[str, list[tuple[int, ...]]]:
    found: dict[str, list[tuple[int, ...]]] = {}
    for part in text.replace(",", " ").split():
        name, colon, span = part.partition(":")
        match = _SPAN.match(span)
        if not colon or match is None:
            raise PlenaError(
                f"cannot read {part!r}",
                "preloaded",
                "Write memory:start-stop or int:start-stop=low..high[/step].",
            )
        found.setdefault(name, []).append(tuple(int(n) for n in match.groups() if n is not None))
    return found


def _spans(memory: str, what: Declared) -> Iterable[Span]:
    if isinstance(what, np.ndarray):
        return _contents(what) if memory == "int" else [Span(0, int(what.size))]
    if isinstance(what, int):
        return [Span(0, what)]
    if isinstance(what, str):
        return _spans(memory, _from_text(f"{memory}:{what}")[memory])
    parts: list[Sequence[int]] = []
    numbers: list[int] = []
    for item in what:
        if isinstance(item, int):
            numbers.append(item)
        else:
            parts.append(item)
    if numbers:
        parts.append(numbers)
    for part in parts:
        is_range = len(part) in (2, 4, 5) and 0 <= part[0] <= part[1]
        has_bounds = len(part) < 4 or 0 <= part[2] <= part[3] < WORD_LIMIT
        if not is_range or not has_bounds or (len(part) == 5 and part[4] < 1):
            raise PlenaError(
                f"{memory}: cannot read {tuple(part)}",
                "preloaded",
                "Write (start, stop) or (start, stop, low, high[, step]).",
            )
    return [Span(*part) for part in parts]


def _contents(words: NDArray[Any]) -> list[Span]:
    """INT SRAM words from 0 on with these contents: a span for every run of equal ones."""
    values = [int(word) % WORD_LIMIT for word in words.reshape(-1)]
    cuts = [i for i in range(len(values)) if i == 0 or values[i] != values[i - 1]]
    return [Span(a, b, values[a], values[a]) for a, b in pairwise([*cuts, len(values)])]
