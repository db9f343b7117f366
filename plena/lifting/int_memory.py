"""INT SRAM in a symbolic run: forwards stored numbers to later loads.

The stores stay in the program, so a load that is not forwarded may always stay a load: forwarding only has to be
right, not complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gcd

from plena.lifting.symbols import SymbolKind, Symbols
from plena.lifting.values import Sum, Value, subtract, symbol, symbols_of
from plena.machine.constants import INT_LIMIT


@dataclass
class Frame:
    """What the current iteration of one loop (or the program) did to INT SRAM so far.

    Attributes:
        depth: of the loop.
        known: numbers at addresses that this iteration wrote and nothing overwrote since.
        words, ranges: everything it may have written, as constant addresses and as (address, words).
        entries: the symbols for words read before they were written.
        dynamic: addresses whose contents at the start of an iteration are not linear: always loaded.
        formulas: contents at the start of an iteration that are known already.
    """

    depth: int
    dynamic: set[Value] = field(default_factory=set[Value])
    known: dict[Value, Value] = field(default_factory=dict[Value, Value])
    words: set[int] = field(default_factory=set[int])
    ranges: list[tuple[Sum, int]] = field(default_factory=list[tuple[Sum, int]])
    formulas: dict[Value, Value] = field(default_factory=dict[Value, Value])
    entries: dict[Value, int] = field(default_factory=dict[Value, int])
    entry_values: dict[int, Value] = field(default_factory=dict[int, Value])


class IntMemory:
    """A stack of frames, innermost loop last."""

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self.frames: list[Frame] = [Frame(0)]

    def load(self, address: Value) -> Value | None:
        """The number at an address, None when it has to be loaded."""
        return self._look_up(len(self.frames) - 1, address)

    def store(self, address: Value, value: Value) -> None:
        """Records a store of one word."""
        self.clobber(address, 1)
        self.frames[-1].known[address] = value

    def clobber(self, address: Value, words: int) -> None:
        """Records that some words from an address on now hold unknown numbers."""
        frame = self.frames[-1]
        if isinstance(address, int):
            span = range(address, address + words)
            frame.words.update(span)
            for word in span:
                frame.known.pop(word, None)
            if not any(isinstance(a, Sum) for a in frame.known):
                return
        else:
            frame.ranges.append((address, words))
        for other in [a for a in frame.known if self.may_overlap(address, words, a, 1)]:
            del frame.known[other]

    def may_overlap(self, a: Value, a_words: int, b: Value, b_words: int) -> bool:
        """Whether two ranges of words may share one."""
        distance = subtract(a, b)
        if isinstance(distance, int):
            return distance < b_words or distance > INT_LIMIT - a_words
        (a_low, a_high), (b_low, b_high) = self.symbols.bounds(a), self.symbols.bounds(b)
        if a_high + a_words <= b_low or b_high + b_words <= a_low:
            return False
        divisor = gcd(INT_LIMIT, *(c for _, c in distance.terms))
        first = (distance.constant + a_words - 1) % divisor
        return first < a_words + b_words - 1

    def _look_up(self, depth: int, address: Value) -> Value | None:
        frame = self.frames[depth]
        value = frame.known.get(address)
        if value is not None:
            return value
        if depth == 0 or address in frame.dynamic or self._may_be_written(frame, address):
            return None
        if any(self.symbols.depths[s] >= frame.depth for s in symbols_of(address)):
            return None
        if address in frame.formulas:
            return frame.formulas[address]
        outside = self._look_up(depth - 1, address)
        if outside is None:
            return None
        number = frame.entries.get(address)
        if number is None:
            number = frame.entries[address] = self.symbols.new(SymbolKind.ENTRY, depth=frame.depth)
            frame.entry_values[number] = outside
        return symbol(number)

    def _may_be_written(self, frame: Frame, address: Value) -> bool:
        if isinstance(address, int):
            if address in frame.words:
                return True
        elif any(self.may_overlap(address, 1, word, 1) for word in frame.words):
            return True
        return any(self.may_overlap(address, 1, a, n) for a, n in frame.ranges)

    def at_end(self, address: Value) -> Value | None:
        """What the current iteration leaves at the address of an entry: None when it is unknown."""
        frame = self.frames[-1]
        if address in frame.known:
            return frame.known[address]
        return None if self._may_be_written(frame, address) else symbol(frame.entries[address])
