"""Linear expressions over index values: the algebra of every address in the compiler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from xdsl.ir import SSAValue


@dataclass(frozen=True, slots=True)
class Linear:
    """`constant + sum(coefficient * value)`, canonical: no zero coefficients, one term per value.

    The values are `index` SSA values: loop indices and symbols loaded at run time. Terms keep the order in which
    they were first met; equality ignores it.
    """

    constant: int = 0
    terms: tuple[tuple[SSAValue, int], ...] = ()

    @staticmethod
    def of(constant: int, terms: Mapping[SSAValue, int] | Iterable[tuple[SSAValue, int]] = ()) -> Linear:
        """Builds the canonical form, adding up repeated values and dropping zero coefficients."""
        total: dict[SSAValue, int] = {}
        pairs = terms.items() if isinstance(terms, Mapping) else terms
        for value, coefficient in cast("Iterable[tuple[SSAValue, int]]", pairs):
            total[value] = total.get(value, 0) + coefficient
        return Linear(constant, tuple((v, c) for v, c in total.items() if c))

    @staticmethod
    def index(value: SSAValue) -> Linear:
        """The expression that is just `value`."""
        return Linear(0, ((value, 1),))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Linear):
            return NotImplemented
        return self.constant == other.constant and self.variable_part == other.variable_part

    def __hash__(self) -> int:
        return hash((self.constant, self.variable_part))

    def __add__(self, other: Linear | int) -> Linear:
        if isinstance(other, int):
            return Linear(self.constant + other, self.terms)
        return Linear.of(self.constant + other.constant, self.terms + other.terms)

    __radd__ = __add__

    def __neg__(self) -> Linear:
        return self * -1

    def __sub__(self, other: Linear | int) -> Linear:
        return self + (-other)

    def __mul__(self, factor: int) -> Linear:
        if not factor:
            return Linear()
        return Linear(self.constant * factor, tuple((v, c * factor) for v, c in self.terms))

    __rmul__ = __mul__

    @property
    def variable_part(self) -> frozenset[tuple[SSAValue, int]]:
        """What distinguishes two addresses that do not differ by a constant."""
        return frozenset(self.terms)

    @property
    def is_constant(self) -> bool:
        return not self.terms

    def coefficient(self, value: SSAValue) -> int:
        """The coefficient of `value`, zero when it does not occur."""
        return next((c for v, c in self.terms if v is value), 0)

    def without(self, value: SSAValue) -> Linear:
        """The expression with the term of `value` dropped (its value at `value = 0`)."""
        return Linear(self.constant, tuple((v, c) for v, c in self.terms if v is not value))

    def substitute(self, value: SSAValue, replacement: Linear | int) -> Linear:
        """The expression with `value` replaced by another expression."""
        coefficient = self.coefficient(value)
        return self.without(value) + replacement * coefficient if coefficient else self

    def map_values(self, mapping: Mapping[SSAValue, SSAValue]) -> Linear:
        """The expression with every value replaced through `mapping` (absent = itself)."""
        return Linear.of(self.constant, [(mapping.get(v, v), c) for v, c in self.terms])

    def evaluate(self, values: Mapping[SSAValue, int]) -> int:
        """The number it denotes when every value is known."""
        return self.constant + sum(values[v] * c for v, c in self.terms)

    def range(self, bounds: Mapping[SSAValue, tuple[int, int]]) -> tuple[int, int]:
        """Smallest and largest value, each index value lying in its inclusive bounds.

        Raises KeyError for a value without bounds.
        """
        low = high = self.constant
        for value, coefficient in self.terms:
            ends = (bounds[value][0] * coefficient, bounds[value][1] * coefficient)
            low, high = low + min(ends), high + max(ends)
        return low, high
