"""Interned address values: a class (the variable part) and a constant."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from plena.machine.constants import IMMEDIATE_LIMIT, INT_LIMIT

CONSTANT = 0
"""The class of plain numbers."""

Value = tuple[int, int]
"""(class, constant): values of one class differ by a number known at compile time."""

Terms = frozenset[tuple[Hashable, int]]


@dataclass
class ClassTable:
    """Numbers the variable parts of address expressions; terms are (index or symbol, coefficient)."""

    _ids: dict[Terms, int] = field(default_factory=lambda: {frozenset(): CONSTANT})
    _terms: list[Terms] = field(default_factory=lambda: [frozenset()])
    _without: dict[tuple[int, Hashable], int] = field(default_factory=dict[tuple[int, Hashable], int])
    _coefficients: dict[tuple[int, Hashable], int] = field(default_factory=dict[tuple[int, Hashable], int])

    def of(self, terms: Iterable[tuple[Hashable, int]]) -> int:
        """The class with these terms (one per value, none zero)."""
        key = frozenset(terms)
        known = self._ids.get(key)
        if known is None:
            known = self._ids[key] = len(self._terms)
            self._terms.append(key)
        return known

    def terms(self, cls: int) -> Terms:
        """The variable part of a class."""
        return self._terms[cls]

    def coefficient(self, cls: int, index: Hashable) -> int:
        """By how much the class grows when `index` grows by one."""
        key = (cls, index)
        known = self._coefficients.get(key)
        if known is None:
            known = self._coefficients[key] = next((c for v, c in self._terms[cls] if v == index), 0)
        return known

    def without(self, cls: int, index: Hashable) -> int:
        """The class with the term of `index` dropped."""
        key = (cls, index)
        known = self._without.get(key)
        if known is None:
            known = self._without[key] = self.of((v, c) for v, c in self._terms[cls] if v != index)
        return known

    def at(self, value: Value, index: Hashable, number: int) -> Value:
        """The value with `index` replaced by a number."""
        cls, constant = value
        step = self.coefficient(cls, index)
        if not step:
            return value
        rest = self.without(cls, index)
        constant += step * number
        return (rest, constant % INT_LIMIT) if rest == CONSTANT else (rest, constant)


def number(constant: int) -> Value:
    """A plain number as a value, modulo the register width (2^32 itself stays: a zero outside gp0)."""
    return (CONSTANT, constant if constant == INT_LIMIT else constant % INT_LIMIT)


def build_cost(constant: int) -> int:
    """Instructions that build a number from nothing: one ADDI or LUI, or both."""
    return 1 if constant < IMMEDIATE_LIMIT or constant % 4096 == 0 else 2
