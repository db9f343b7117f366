"""What the symbols of a symbolic run stand for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from plena.lifting.values import Sum, Value
from plena.machine.constants import INT_LIMIT


class SymbolKind(Enum):
    """The kinds of symbols."""

    INDEX = "the index of a loop"
    ENTRY = "a piece of state at the start of an iteration"
    LOAD = "a number loaded from INT SRAM at run time"
    OPAQUE = "a number that is not linear in loop indices"


@dataclass
class Symbols:
    """All symbols of a run; a symbol is a position in these lists.

    Attributes:
        depth: how many loops are open.
        kinds: what each symbol is.
        depths: the depth of the loop whose iterations it belongs to; a symbol of an outer loop may be made late.
        trips: for an INDEX the trip count of its loop, else 0.
        reasons: why an OPAQUE one is opaque, as (position of the instruction, text).
    """

    depth: int = 0
    kinds: list[SymbolKind] = field(default_factory=list[SymbolKind])
    depths: list[int] = field(default_factory=list[int])
    trips: list[int] = field(default_factory=list[int])
    reasons: dict[int, tuple[int, str]] = field(default_factory=dict[int, tuple[int, str]])

    def __len__(self) -> int:
        return len(self.kinds)

    def new(self, kind: SymbolKind, trips: int = 0, depth: int | None = None) -> int:
        """Allocates a symbol that belongs to the innermost open loop, or to the one at a depth."""
        self.kinds.append(kind)
        self.trips.append(trips)
        self.depths.append(self.depth if depth is None else depth)
        return len(self.kinds) - 1

    def leave_single(self, first: int) -> None:
        """Symbols from `first` on belong to a loop of one iteration: give them to the loop around it."""
        for number in range(first, len(self.kinds)):
            self.depths[number] = min(self.depths[number], self.depth)

    def opaque(self, pc: int, reason: str) -> int:
        """A symbol for a number that cannot be lifted, with the reason to give if it is needed."""
        number = self.new(SymbolKind.OPAQUE)
        self.reasons[number] = (pc, reason)
        return number

    def has_entry(self, value: Value) -> bool:
        """Whether the value hangs on state at the start of an iteration."""
        return isinstance(value, Sum) and any(self.kinds[s] is SymbolKind.ENTRY for s, _ in value.terms)

    def bounds(self, value: Value) -> tuple[int, int]:
        """Inclusive bounds of a value; everything when it may wrap or hangs on more than indices."""
        if isinstance(value, int):
            return value, value
        low = high = value.constant
        for number, coefficient in value.terms:
            if self.kinds[number] is not SymbolKind.INDEX:
                return 0, INT_LIMIT - 1
            signed = coefficient if coefficient < INT_LIMIT // 2 else coefficient - INT_LIMIT
            reach = signed * (self.trips[number] - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
        if high - low >= INT_LIMIT or low // INT_LIMIT != high // INT_LIMIT:
            return 0, INT_LIMIT - 1
        return low % INT_LIMIT, high % INT_LIMIT
