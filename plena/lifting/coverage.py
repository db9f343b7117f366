"""Which words of INT SRAM have been written so far, in terms of the running loop indices."""

from __future__ import annotations

from collections.abc import Sequence

from plena.dialects.loop import Linear
from plena.lifting.tree import Number

_INT_WORDS = 1024
"""Words of INT SRAM (plena_isa.md section 1.4): larger footprints abort on the machine anyway."""

Terms = tuple[tuple[int, int], ...]


class Coverage:
    """Sets of written words `constant + terms` by their terms.

    Args:
        bounds: inclusive bounds of every index, shared with the walk that allocates them.
    """

    def __init__(self, bounds: Sequence[tuple[int, int]]) -> None:
        self.bounds = bounds
        self._written: dict[Terms, set[int]] = {}

    def clear(self) -> None:
        """Forgets everything."""
        self._written.clear()

    def write_span(self, start: int, stop: int) -> None:
        """Words at constant addresses are written."""
        self._written.setdefault((), set()).update(range(start, min(stop, start + _INT_WORDS)))

    def write(self, address: Number, words: int) -> None:
        """Words from an address on are written in the current iteration."""
        constant, terms = (address, ()) if isinstance(address, int) else (address.constant, address.terms)
        self._written.setdefault(terms, set()).update(range(constant, constant + words))

    def end_loop(self, index: int) -> None:
        """All iterations of the loop with this index are over; larger indices belonged to it."""
        for terms in [t for t in self._written if any(i >= index for i, _ in t)]:
            constants = self._written.pop(terms)
            if any(i > index for i, _ in terms):
                continue
            step = next(c for i, c in terms if i == index)
            trips = self.bounds[index][1] + 1
            if trips * len(constants) > _INT_WORDS * _INT_WORDS:
                continue
            outer = tuple(t for t in terms if t[0] != index)
            self._written.setdefault(outer, set()).update(
                c + step * i for i in range(trips) for c in constants
            )

    def holds(self, address: Number) -> bool:
        """Whether every word that the address may name has been written."""
        if isinstance(address, int):
            return address in self._written.get((), ())
        return any(self._holds_all(address, terms, written) for terms, written in self._written.items())

    def _holds_all(self, address: Linear[int], terms: Terms, written: set[int]) -> bool:
        """Whether the words written with some of the address's terms cover all values of its other terms."""
        if not set(terms) <= set(address.terms):
            return False
        values = {address.constant}
        for index, coefficient in address.terms:
            if (index, coefficient) in terms:
                continue
            low, high = self.bounds[index]
            if high - low >= _INT_WORDS:
                return False
            values = {v + coefficient * i for v in values for i in range(low, high + 1)}
            if len(values) > _INT_WORDS:
                return False
        return values <= written
