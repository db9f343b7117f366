"""From the symbolic run to the lifted program: formulas put in, iterations peeled, ranges proven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import gcd

from plena.dialects.loop import Linear
from plena.dialects.plena_isa import Integer
from plena.errors import PlenaError
from plena.lifting.coverage import Coverage
from plena.lifting.execute import LoopRun, SymbolicRun
from plena.lifting.preloaded import Preloaded
from plena.lifting.ranges import exact
from plena.lifting.records import FORWARDED, Record, layout, opcode_doing, other_int_users
from plena.lifting.recurrence import Progression, Unsolved
from plena.lifting.symbols import SymbolKind
from plena.lifting.tree import LiftedInstruction, LiftedItem, LiftedLoop, LiftedProgram, Number, range_of
from plena.lifting.values import Sum, Value, add, linear, substitute, symbol
from plena.machine.constants import INT_LIMIT

LOAD, STORE = opcode_doing(Integer.LOAD), opcode_doing(Integer.STORE)
UNKNOWN = (0, INT_LIMIT - 1)
_MOST_ROUNDS = 8

MOST_PEELED = 16
"""Iterations that are taken out of a loop: code grows with them."""


@dataclass
class _Scope:
    """The current iteration of one loop of the symbolic run.

    Attributes:
        index: the loop index in terms of the lifted program's indices.
        iteration: its number when the iteration runs apart, None for all that follow the formulas.
        meaning: values of the run's symbols in terms of lifted indices.
    """

    run: LoopRun
    index: Value
    iteration: int | None
    meaning: dict[int, Value] = field(default_factory=dict[int, Value])
    exact: dict[Value, Number] = field(default_factory=dict[Value, Number])


@dataclass(frozen=True)
class _Writer:
    """A range of INT SRAM words that an instruction writes, and bounds of what it writes."""

    first: int
    stop: int
    low: int
    high: int
    step: int = 1


class Resolver:
    """Builds the lifted program of a symbolic run.

    Args:
        strict: reject reads of INT SRAM that nothing wrote; else they are listed in `unwritten_reads`.
        keep_forwarded: keep S_LD_INT whose number is known (as FORWARDED), for the checks of their addresses.
    """

    def __init__(
        self, run: SymbolicRun, preloaded: Preloaded, *, strict: bool = True, keep_forwarded: bool = False
    ) -> None:
        self.run, self.code = run, run.code
        self.preloaded = preloaded
        self.strict, self.keep_forwarded = strict, keep_forwarded
        self.bounds: list[tuple[int, int]] = []
        self.unwritten_reads: list[int] = []
        self.steps: dict[int, int] = {}
        self.has_loads = False
        self._scopes: list[_Scope] = []
        self._writers: list[_Writer] = []
        self._found: list[_Writer] | None = None
        self._coverage = Coverage(self.bounds)

    def program(self) -> LiftedProgram:
        """The lifted program.

        Raises:
            PlenaError: naming the line, for an operand that is not linear or leaves [0, 2^32), a read of INT SRAM
                that nothing wrote.
        """
        if SymbolKind.LOAD in self.run.symbols.kinds:
            self._bound_loads()
        body = self._walk()
        if self.has_loads and not self.keep_forwarded:
            body = _without_dead_loads(body, lambda pc: self.code.op[pc] == LOAD)
        return LiftedProgram(self.code, self.run.target, body, self.bounds, self.steps)

    def _bound_loads(self) -> None:
        """Finds who writes what to INT SRAM: bounds of loaded numbers that hold if they hold for what is stored."""
        for _ in range(_MOST_ROUNDS):
            self._found = []
            self._walk()
            if self._found == self._writers:
                break
            self._writers = self._found
        else:
            self._writers = [_Writer(0, INT_LIMIT, *UNKNOWN)]
        self._found = None

    def _walk(self) -> list[LiftedItem]:
        self.bounds.clear()
        self.steps.clear()
        self._coverage.clear()
        for span in self.preloaded.of_memory("int"):
            self._coverage.write_span(span.start, span.stop)
        root = self.run.root
        self._scopes = [_Scope(root, 0, 0)]
        out: list[LiftedItem] = []
        self._body(root, out)
        return out

    def _body(self, run: LoopRun, out: list[LiftedItem]) -> None:
        op = self.code.op
        special = {LOAD, STORE, *other_int_users()}
        for item in run.body:
            if isinstance(item, LoopRun):
                self._loop(item, out)
            elif op[item[0]] in special:
                if self._found is not None:
                    self._collect(item, self._found)
                else:
                    self._int_access(item, out)
            elif self._found is None:
                for value in item:
                    if type(value) is not int:
                        out.append(self._instruction(item))
                        break
                else:
                    out.append(item)  # pyright: ignore[reportArgumentType]

    def _instruction(self, record: Record) -> LiftedInstruction:
        pc = record[0]
        return (pc, *[v if isinstance(v, int) else self._number(pc, v) for v in record[1:]])

    def _loop(self, run: LoopRun, out: list[LiftedItem]) -> None:
        trips, peeled = run.code.trips, run.peeled
        if peeled > MOST_PEELED:
            raise self.code.error(
                run.code.start,
                f"its registers hand values on through {peeled} iterations before they follow a formula",
                f"At most {MOST_PEELED} iterations are taken apart.",
            )
        if trips - peeled == 1:
            peeled = trips
        for iteration in range(peeled):
            scope = _Scope(run, iteration, iteration)
            self._scopes.append(scope)
            self._body(run, out)
            self._scopes.pop()
            if trips == 1:
                self._scopes[-1].meaning.update(scope.meaning)
        if trips == peeled:
            return
        loop = LiftedLoop(trips - peeled, self._new_index((0, trips - peeled - 1)), run.code.start)
        self._scopes.append(_Scope(run, linear(peeled, [(loop.index, 1)]), None))
        self._body(run, loop.body)
        self._scopes.pop()
        self._coverage.end_loop(loop.index)
        if loop.body:
            out.append(loop)

    def _new_index(self, bounds: tuple[int, int]) -> int:
        self.bounds.append(bounds)
        return len(self.bounds) - 1

    def _number(self, pc: int, value: Value) -> Number:
        """The exact number that a value of the run is here."""
        if isinstance(value, int):
            return value
        known = self._scopes[-1].exact
        number = known.get(value)
        if number is None:
            resolved = self._resolved(pc, value, len(self._scopes) - 1)
            number = exact(resolved, self.bounds)
            if number is None:
                raise self._unproven(pc, resolved)
            known[value] = number
        return number

    def _unproven(self, pc: int, resolved: Value) -> PlenaError:
        assert isinstance(resolved, Sum)
        if any(self.bounds[i] == UNKNOWN for i, _ in resolved.terms):
            return self.code.error(
                pc,
                "an operand computed from a number loaded at run time may wrap around 2^32",
                "Declare the range of the number: preloaded int:start-stop=low..high.",
            )
        return self.code.error(pc, "an operand wraps around 2^32 while its loops run, so it is not linear")

    def _resolved(self, pc: int, value: Value, depth: int) -> Value:
        return substitute(value, lambda number: self._meaning(pc, number, depth))

    def _meaning(self, pc: int, number: int, depth: int) -> Value:
        for level in range(depth, -1, -1):
            scope = self._scopes[level]
            value = scope.meaning.get(number)
            if value is not None:
                return value
            if number == scope.run.index:
                return scope.index
            solved = scope.run.solutions.get(number)
            if isinstance(solved, Unsolved):
                raise self.code.error(pc, f"an operand is not linear in the loop indices: {solved.reason}")
            if solved is not None:
                value = scope.meaning[number] = self._state(pc, scope, solved, level)
                return value
        origin, reason = self.run.symbols.reasons.get(number, (pc, "unknown"))
        where = "" if origin == pc else f" ({self.code.where(origin)})"
        raise self.code.error(pc, f"an operand is not linear in the loop indices: {reason}{where}")

    def _state(self, pc: int, scope: _Scope, solved: Progression, level: int) -> Value:
        if scope.iteration is not None:
            return self._resolved(pc, solved.at(scope.iteration), level - 1)
        start = self._resolved(pc, solved.start, level - 1)
        moved = substitute(linear(0, [(0, solved.step)]), lambda _: scope.index)
        return add(start, moved)

    def _int_access(self, record: Record, out: list[LiftedItem]) -> None:
        pc, op = record[0], self.code.op[record[0]]
        if op == LOAD:
            self._load(record, out)
            return
        instruction = self._instruction(record)
        if op == STORE:
            self._coverage.write(instruction[2], 1)
        elif (written := layout(op).int_write) is not None:
            words = layout(op).int_words(self.run.target, self.code.flags[pc])
            self._coverage.write(instruction[1 + written[0]], words)
        out.append(instruction)

    def _collect(self, record: Record, found: list[_Writer]) -> None:
        """What a walk does that only looks for the writers of INT SRAM."""
        pc, op = record[0], self.code.op[record[0]]
        if op == LOAD:
            number = record[2]
            if number != FORWARDED:
                assert isinstance(number, int)
                self._scopes[-1].meaning[number] = symbol(
                    self._new_index(self._bounds_of_load(pc, record[1]))
                )
            return
        if op == STORE:
            address, words, contents = record[2], 1, self._bounds_or_all(pc, record[1])
        else:
            shape, target, flags = layout(op), self.run.target, self.code.flags[pc]
            if shape.unknown:
                found.append(_Writer(0, INT_LIMIT, *UNKNOWN))
            if shape.int_write is None:
                return
            address = record[1 + shape.int_write[0]]
            words, contents = shape.int_words(target, flags), shape.int_numbers(target, flags)
        first, last = self._bounds_or_all(pc, address)
        found.append(_Writer(first, last + words, *contents))
        if (first, last) != UNKNOWN:
            self._coverage.write(self._number(pc, address), words)

    def _bounds_of_load(self, pc: int, address: Value) -> tuple[int, int]:
        try:
            number = self._number(pc, address)
        except PlenaError:
            return UNKNOWN
        low, high, _ = self._contents(number)
        return (low if self._coverage.holds(number) else 0, high)

    def _bounds_or_all(self, pc: int, value: Value) -> tuple[int, int]:
        try:
            return range_of(self._number(pc, value), self.bounds)
        except PlenaError:
            return UNKNOWN

    def _load(self, record: Record, out: list[LiftedItem]) -> None:
        pc, address_value, number = record
        address = self._number(pc, address_value)
        if number == FORWARDED:
            if self.keep_forwarded:
                out.append((pc, address, FORWARDED))
            return
        assert isinstance(number, int)
        is_written = self._coverage.holds(address)
        if not is_written:
            if self.strict:
                raise self._unwritten(pc, address)
            self.unwritten_reads.append(pc)
        self.has_loads = True
        low, high, step = self._contents(address)
        index = self._new_index((low if is_written else 0, high))
        step = step if is_written else gcd(step, low)
        if step > 1:
            self.steps[index] = step
        self._scopes[-1].meaning[number] = symbol(index)
        out.append((pc, address, index))

    def _unwritten(self, pc: int, address: Number) -> PlenaError:
        word = f"word {address}" if isinstance(address, int) else "words"
        return self.code.error(
            pc,
            f"it reads INT SRAM {word} that nothing wrote before",
            "Declare what the host loads: preloaded int:start-stop.",
        )

    def _contents(self, address: Number) -> tuple[int, int, int]:
        """Bounds of the numbers that words at an address may hold, and a divisor of all their differences."""
        low, high = INT_LIMIT - 1, 0
        holders: list[_Writer] = []
        first, last = range_of(address, self.bounds)
        spans = [_Writer(s.start, s.stop, s.low, s.high, s.step) for s in self.preloaded.of_memory("int")]
        for writer in (*self._writers, *spans):
            if writer.first <= last and first < writer.stop:
                low, high = min(low, writer.low), max(high, writer.high)
                holders.append(writer)
        if low > high:
            return 0, 0, 1
        return low, high, gcd(*(w.step for w in holders), *(w.low - low for w in holders))


def _without_dead_loads(body: list[LiftedItem], is_load: Callable[[int], bool]) -> list[LiftedItem]:
    """The program without loads of INT SRAM whose number nothing uses, and without loops left empty."""
    used: set[int] = set()
    pending = list(body)
    loads: list[LiftedInstruction] = []
    while pending:
        item = pending.pop()
        if isinstance(item, LiftedLoop):
            pending.extend(item.body)
        elif is_load(item[0]):
            loads.append(item)
        else:
            used.update(_indices(item))
    loads.sort(key=lambda load: -_loaded(load))
    for load in loads:
        if _loaded(load) in used:
            used.update(_indices(load))

    def kept(items: list[LiftedItem]) -> list[LiftedItem]:
        result: list[LiftedItem] = []
        for item in items:
            if isinstance(item, LiftedLoop):
                item.body = kept(item.body)
                if item.body:
                    result.append(item)
            elif not is_load(item[0]) or _loaded(item) in used:
                result.append(item)
        return result

    return kept(body)


def _indices(item: LiftedInstruction) -> list[int]:
    return [index for number in item if isinstance(number, Linear) for index, _ in number.terms]


def _loaded(load: LiftedInstruction) -> int:
    index = load[2]
    assert isinstance(index, int)
    return index
