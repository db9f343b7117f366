"""Loop-carried integers: from what one iteration does to them to a formula in the loop index."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

from plena.lifting.symbols import SymbolKind, Symbols
from plena.lifting.values import MASK, Sum, Value, add, linear, scale, substitute, subtract


@dataclass(frozen=True)
class Progression:
    """A piece of state at the start of iteration i: `early[i]`, from iteration `len(early)` on `start + step * i`."""

    start: Value
    step: int = 0
    early: tuple[Value, ...] = ()

    @property
    def settle(self) -> int:
        """The first iteration from which the formula holds."""
        return len(self.early)

    def at(self, iteration: int) -> Value:
        """The value at the start of one iteration."""
        if iteration < len(self.early):
            return self.early[iteration]
        return add(self.start, self.step * iteration & MASK)

    def trimmed(self) -> Progression:
        """The same without early values that follow the formula as well."""
        early = self.early
        formula = Progression(self.start, self.step)
        while early and early[-1] == formula.at(len(early) - 1):
            early = early[:-1]
        return Progression(self.start, self.step, early)


@dataclass(frozen=True)
class Unsolved:
    """Why a piece of state has no formula; `symbols` are those that would have to be constants."""

    reason: str
    symbols: tuple[int, ...] = ()


@dataclass
class Recurrence:
    """The state of one loop: the symbol and the first value of every piece, and its value after one iteration.

    Attributes:
        index: the symbol of the loop index.
        depth: of the loop; symbols of at least this depth are local to it.
        entries: for every piece the symbol of its value at the start of an iteration, and the value at the first.
        exits: its value at the end of an iteration; None for one that nobody knows.
        describe: the name of a piece, for reasons.
    """

    symbols: Symbols
    index: int
    depth: int
    trips: int
    entries: Mapping[Hashable, tuple[int, Value]]
    exits: Mapping[Hashable, Value | None]
    describe: Callable[[Hashable], str]

    def solve(self) -> dict[int, Progression | Unsolved]:
        """The formula of every entry symbol, or the reason why there is none."""
        self._piece_of = {number: piece for piece, (number, _) in self.entries.items()}
        self._solved: dict[int, Progression | Unsolved | None] = {}
        return {number: self._solution(number) for number in self._piece_of}

    def _solution(self, number: int) -> Progression | Unsolved:
        if number in self._solved:
            solved = self._solved[number]
            if solved is None:
                name = self.describe(self._piece_of[number])
                return Unsolved(f"{name} takes turns with other registers from iteration to iteration")
            return solved
        self._solved[number] = None
        solved = self._solved[number] = self._derive(number)
        return solved

    def _derive(self, number: int) -> Progression | Unsolved:
        piece = self._piece_of[number]
        first = self.entries[piece][1]
        after = self.exits[piece]
        if self.trips == 1:
            return Progression(first)
        if after is None:
            return Unsolved(f"{self.describe(piece)} holds a number only known at run time")
        if isinstance(after, int):
            return Progression(after, 0, (first,)).trimmed()
        own, own_index = 0, 0
        outer: list[tuple[int, int]] = []
        others: list[tuple[int, int]] = []
        for term in after.terms:
            if self.symbols.depths[term[0]] < self.depth:
                outer.append(term)
            elif term[0] == number:
                own = term[1]
            elif term[0] == self.index:
                own_index = term[1]
            elif term[0] in self._piece_of:
                others.append(term)
            else:
                return Unsolved(self._varying(piece, term[0]))
        if own > 1:
            return Unsolved(f"{self.describe(piece)} is multiplied by {_signed(own)} in every iteration")
        constant, step, settle = linear(after.constant, outer), own_index, 0
        for other, coefficient in others:
            solved = self._solution(other)
            if isinstance(solved, Unsolved):
                return solved
            constant = add(constant, scale(solved.start, coefficient))
            step = step + solved.step * coefficient & MASK
            settle = max(settle, solved.settle)
        if not own:
            early = (first, *(self._after(after, i) for i in range(settle)))
            return Progression(subtract(constant, step), step, early).trimmed()
        if step:
            return Unsolved(f"{self.describe(piece)} advances by a step that itself changes every iteration")
        if isinstance(constant, Sum):
            names = f"{self.describe(piece)} advances by a step that is not a constant"
            return Unsolved(names, tuple(s for s, _ in constant.terms))
        increment = Sum(after.constant, tuple(t for t in after.terms if t[0] != number)) if others else None
        early_values = [first]
        for i in range(settle):
            grown = self._after(increment, i) if increment is not None else constant
            early_values.append(add(early_values[-1], grown))
        settled = early_values.pop()
        return Progression(
            subtract(settled, constant * settle & MASK), constant, tuple(early_values)
        ).trimmed()

    def _after(self, after: Value, iteration: int) -> Value:
        """A value of the body at one iteration."""

        def meaning(number: int) -> Value | None:
            if number == self.index:
                return iteration
            if number in self._piece_of:
                solved = self._solution(number)
                assert isinstance(solved, Progression)
                return solved.at(iteration)
            return None

        return substitute(after, meaning)

    def _varying(self, piece: Hashable, number: int) -> str:
        name = self.describe(piece)
        if self.symbols.kinds[number] is SymbolKind.LOAD:
            return f"{name} carries a number loaded from INT SRAM into the next iteration"
        reason = self.symbols.reasons.get(number)
        return (
            reason[1] if reason is not None else f"{name} carries a number that is not linear in loop indices"
        )


def _signed(coefficient: int) -> int:
    return coefficient if coefficient <= MASK // 2 else coefficient - MASK - 1
