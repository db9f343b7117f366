"""Linear expressions: the algebra of every address in the compiler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, cast

from xdsl.ir import SSAValue

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    K = TypeVar("K", default=SSAValue)
    J = TypeVar("J", default=SSAValue)
    K_contra = TypeVar("K_contra", contravariant=True)
else:
    from typing import TypeVar

    K = TypeVar("K")
    J = TypeVar("J")
    K_contra = TypeVar("K_contra", contravariant=True)


class Bounds(Protocol[K_contra]):
    """Inclusive bounds by index: a mapping, or a list where indices are numbers."""

    def __getitem__(self, index: K_contra, /) -> tuple[int, int]: ...


def collected(terms: Iterable[tuple[K, int]]) -> dict[K, int]:
    """Coefficients by index, those of repeated ones added up; they may be zero."""
    total: dict[K, int] = {}
    for index, coefficient in terms:
        total[index] = total.get(index, 0) + coefficient
    return total


class Expression(Generic[K]):
    """`constant + sum(coefficient * index)`: no zero coefficients, one term per index. Never changed.

    Equality ignores the order of terms. What the numbers are, integers or integers modulo something, and what an
    index is, a subclass or its user says.
    """

    __slots__ = ("_hash", "constant", "terms")

    constant: Final[int]
    terms: Final[tuple[tuple[K, int], ...]]  # type: ignore[misc]

    def __init__(self, constant: int = 0, terms: tuple[tuple[K, int], ...] = ()) -> None:
        self.constant = constant
        self.terms = terms
        self._hash = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Expression):
            return NotImplemented
        if self.constant != other.constant:
            return False
        theirs = cast("tuple[tuple[Any, int], ...]", other.terms)
        return self.terms == theirs or (
            len(self.terms) == len(theirs) > 1 and frozenset(self.terms) == frozenset(theirs)
        )

    def __hash__(self) -> int:
        if not self._hash:
            self._hash = hash((self.constant, frozenset(self.terms))) or 1
        return self._hash

    def __repr__(self) -> str:
        return " + ".join([str(self.constant), *(f"{c} * {i!r}" for i, c in self.terms)])

    @property
    def variable_part(self) -> frozenset[tuple[K, int]]:
        """What distinguishes two addresses that do not differ by a constant."""
        return frozenset(self.terms)

    @property
    def is_constant(self) -> bool:
        return not self.terms

    def coefficient(self, index: K) -> int:
        """The coefficient of an index, zero when it does not occur."""
        for own, coefficient in self.terms:
            if own is index or own == index:
                return coefficient
        return 0


class Linear(Expression[K]):
    """A linear expression over the integers.

    Indices of IR are `index` SSA values: loop indices and symbols loaded at run time; plain data has numbers and names
    for them. Terms keep the order in which they were first met.
    """

    __slots__ = ()

    @staticmethod
    def of(constant: int, terms: Mapping[J, int] | Iterable[tuple[J, int]] = ()) -> Linear[J]:
        """Builds the canonical form, adding up repeated values and dropping zero coefficients."""
        pairs = cast("Iterable[tuple[J, int]]", terms.items() if isinstance(terms, Mapping) else terms)
        return Linear(constant, tuple((i, c) for i, c in collected(pairs).items() if c))

    @staticmethod
    def index(value: SSAValue) -> Linear[SSAValue]:
        """The expression that is just `value`."""
        return Linear(0, ((value, 1),))

    def __add__(self, other: Linear[K] | int) -> Linear[K]:
        if isinstance(other, int):
            return Linear(self.constant + other, self.terms)
        return Linear.of(self.constant + other.constant, self.terms + other.terms)

    __radd__ = __add__

    def __neg__(self) -> Linear[K]:
        return self * -1

    def __sub__(self, other: Linear[K] | int) -> Linear[K]:
        return self + (-other)

    def __mul__(self, factor: int) -> Linear[K]:
        if not factor:
            return Linear()
        return Linear(self.constant * factor, tuple((i, c * factor) for i, c in self.terms))

    __rmul__ = __mul__

    def without(self, value: K) -> Linear[K]:
        """The expression with the term of `value` dropped (its value at `value = 0`)."""
        return Linear(self.constant, tuple((i, c) for i, c in self.terms if i is not value and i != value))

    def substitute(self, value: K, replacement: Linear[K] | int) -> Linear[K]:
        """The expression with `value` replaced by another expression."""
        coefficient = self.coefficient(value)
        return self.without(value) + replacement * coefficient if coefficient else self

    def map_values(self, mapping: Mapping[K, K]) -> Linear[K]:
        """The expression with every value replaced through `mapping` (absent = itself)."""
        return Linear.of(self.constant, [(mapping.get(i, i), c) for i, c in self.terms])

    def evaluate(self, values: Mapping[K, int]) -> int:
        """The number it denotes when every value is known."""
        return self.constant + sum(values[i] * c for i, c in self.terms)

    def range(self, bounds: Bounds[K]) -> tuple[int, int]:
        """Smallest and largest value, each index lying in its inclusive bounds.

        Raises KeyError or IndexError for an index without bounds.
        """
        low = high = self.constant
        for index, coefficient in self.terms:
            first, last = bounds[index]
            if coefficient > 0:
                low, high = low + first * coefficient, high + last * coefficient
            else:
                low, high = low + last * coefficient, high + first * coefficient
        return low, high
