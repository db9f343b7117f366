"""Straight code in columns: the addresses that its instructions read, which are copied and compared by the thousand."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Terms: TypeAlias = tuple[tuple[Hashable, int], ...]
"""The variable part of an address: indices of loops with their coefficients."""

Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Code:
    """Straight code; a row of the columns is an address that an instruction reads, in program order.

    Attributes:
        length: instructions.
        place: which instruction reads it.
        part: its variable part, a number in `parts`.
        constant: the rest of it.
        has_immediate: the instruction adds a number to it.
        parts: no two with the same terms.
    """

    length: int
    place: Ints
    part: Ints
    constant: Ints
    has_immediate: Flags
    parts: tuple[Terms, ...]

    def first(self, most: int) -> Code:
        """The first `most` instructions."""
        if self.length <= most:
            return self
        end = int(np.searchsorted(self.place, most))
        return Code(
            most,
            self.place[:end],
            self.part[:end],
            self.constant[:end],
            self.has_immediate[:end],
            self.parts,
        )

    def copies(self, index: Hashable, count: int, most: int, *, factor: int = 0) -> Code:
        """The first `most` instructions of `count` iterations: copy t has `factor * index + t` for the index."""
        needed = min(count, -(-most // max(1, self.length)))
        steps = np.array([_coefficient(terms, index) for terms in self.parts], np.int64)
        numbers, parts = _without_repetition([_scaled(terms, index, factor) for terms in self.parts])
        rows = len(self.place)
        copy = np.repeat(np.arange(needed), rows)
        part = np.tile(self.part, needed)
        return Code(
            needed * self.length,
            np.tile(self.place, needed) + copy * self.length,
            numbers[part],
            np.tile(self.constant, needed) + copy * steps[part],
            np.tile(self.has_immediate, needed),
            parts,
        ).first(most)


_NO_INTS = np.zeros(0, np.int64)

NOTHING = Code(0, _NO_INTS, _NO_INTS, _NO_INTS, _NO_INTS != 0, ())


def joined(codes: Sequence[Code]) -> Code:
    """One after the other."""
    if len(codes) < 2:
        return codes[0] if codes else NOTHING
    numbers, parts = _without_repetition([terms for code in codes for terms in code.parts])
    starts = np.cumsum([0, *(code.length for code in codes)])
    first = np.cumsum([0, *(len(code.parts) for code in codes)])
    return Code(
        int(starts[-1]),
        np.concatenate([code.place + start for code, start in zip(codes, starts, strict=False)]),
        numbers[np.concatenate([code.part + start for code, start in zip(codes, first, strict=False)])],
        np.concatenate([code.constant for code in codes]),
        np.concatenate([code.has_immediate for code in codes]),
        parts,
    )


def _without_repetition(parts: Sequence[Terms]) -> tuple[Ints, tuple[Terms, ...]]:
    """The number that each variable part gets, and those that are numbered; the order of terms is none."""
    numbers: dict[frozenset[tuple[Hashable, int]], int] = {}
    kept: list[Terms] = []
    found: list[int] = []
    for terms in parts:
        number = numbers.setdefault(frozenset(terms), len(kept))
        if number == len(kept):
            kept.append(terms)
        found.append(number)
    return np.array(found, np.int64), tuple(kept)


def _coefficient(terms: Terms, index: Hashable) -> int:
    return next((c for key, c in terms if key == index), 0)


def _scaled(terms: Terms, index: Hashable, factor: int) -> Terms:
    """With the coefficient of an index multiplied, 0: without the index."""
    return tuple((key, c * factor if key == index else c) for key, c in terms if factor or key != index)
