"""The symbolic run: flat code once through, loop bodies on symbols for what they do not know.

Integer instructions leave no record, except those that touch INT SRAM.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from dataclasses import dataclass, field

from plena.dialects.derived import derived
from plena.dialects.plena_isa import OPCODES, Field, Integer
from plena.lifting.flat_program import FlatProgram
from plena.lifting.int_memory import Frame, IntMemory
from plena.lifting.records import FORWARDED, Record, RecordLayout, layout, transfers_with_scales
from plena.lifting.recurrence import Progression, Recurrence, Unsolved
from plena.lifting.structure import (
    A_HIGH,
    A_LOW,
    RESET,
    SCALE,
    STATE_SLOTS,
    STRIDE,
    V_MASK,
    FlatLoop,
    register_name,
    sets_state,
)
from plena.lifting.symbols import SymbolKind, Symbols
from plena.lifting.values import MASK, Value, add, linear, scale, substitute, subtract, symbol, symbols_of
from plena.machine.target import Target


@dataclass(eq=False)
class LoopRun:
    """One loop of the program after its symbolic run.

    Attributes:
        body: records and inner loops in order.
        index: the symbol of the index.
        depth: symbols of at least this depth are local to the loop.
        solutions: what every entry symbol is.
        used: the symbols that the body's records need, those of outer loops included.
    """

    code: FlatLoop
    index: int
    depth: int
    body: list[Record | LoopRun] = field(default_factory=list["Record | LoopRun"])
    solutions: dict[int, Progression | Unsolved] = field(
        default_factory=dict["int", "Progression | Unsolved"]
    )
    used: set[int] = field(default_factory=set[int])

    @property
    def peeled(self) -> int:
        """Iterations to run apart before the formulas of all needed state hold."""
        settle = 0
        for number in self.used:
            solved = self.solutions.get(number)
            if isinstance(solved, Progression):
                settle = max(settle, solved.settle)
        return min(settle, self.code.trips)


_MEMORY = 0
ADDI, ADD, SUB, MUL, LUI, LOAD, STORE, ADDRESS, SET_STATE = range(1, 10)
_KIND_OF = {
    Integer.ADD_IMMEDIATE: ADDI,
    Integer.ADD: ADD,
    Integer.SUBTRACT: SUB,
    Integer.MULTIPLY: MUL,
    Integer.LOAD_UPPER: LUI,
    Integer.LOAD: LOAD,
    Integer.STORE: STORE,
    Integer.SET_BASE: ADDRESS,
    Integer.SET_STICKY: SET_STATE,
}


@derived
def _kinds() -> list[int]:
    """What the run does for an opcode: `_MEMORY` leaves a record."""
    kinds = [_MEMORY] * 64
    for op, spec in OPCODES.items():
        if spec.integer in _KIND_OF:
            kinds[op] = _KIND_OF[spec.integer]
    return kinds


@derived
def _free() -> frozenset[int]:
    """The opcodes that do nothing with a destination of f0."""
    return frozenset(op for op, spec in OPCODES.items() if spec.free_if_f0)


_MOST_RUNS = 6


@dataclass(frozen=True)
class IntSlot:
    """A word of INT SRAM as a piece of loop-carried state."""

    address: Value

    def __str__(self) -> str:
        return f"INT SRAM word {self.address}"


class SymbolicRun:
    """Runs a program symbolically; `root` is the whole program as a loop of one iteration.

    Args:
        skipped: positions of instructions to leave out: those that abort whatever their operands.
    """

    def __init__(
        self, code: FlatProgram, tree: FlatLoop, target: Target, skipped: Set[int] = frozenset[int]()
    ) -> None:
        self.code = code
        self.skipped = skipped
        self.target = target
        self.symbols = Symbols()
        self.state: list[Value] = list(RESET)
        self.memory = IntMemory(self.symbols)
        self.scaled = transfers_with_scales(target)
        self.nonlinear: list[tuple[int, ...]] = []
        """The symbols that kept something from being linear: worth another run once they are known."""
        self._last: dict[tuple[int, int], int] = {}
        self.root = LoopRun(tree, self.symbols.new(SymbolKind.INDEX, 1), 0)
        self._body(self.root)

    def _body(self, run: LoopRun) -> None:
        pc = run.code.start + 1
        for loop in run.code.loops:
            self._straight(pc, loop.start, run.body)
            run.body.append(self._loop(loop))
            pc = loop.end + 1
        self._straight(pc, run.code.end, run.body)

    def _straight(self, start: int, end: int, body: list[Record | LoopRun]) -> None:
        code, state, kinds, free, skipped = self.code, self.state, _kinds(), _free(), self.skipped
        ops, rds, rs1s, rs2s, imms = code.op, code.rd, code.rs1, code.rs2, code.imm
        for pc in range(start, end):
            op = ops[pc]
            kind = kinds[op]
            if kind == _MEMORY:
                if (op in free and not rds[pc]) or pc in skipped:
                    continue
                body.append(self._record(pc, op))
            elif kind == ADDI:
                value = state[rs1s[pc]]
                state[rds[pc]] = (value + imms[pc]) & MASK if type(value) is int else add(value, imms[pc])
            elif kind == ADD:
                state[rds[pc]] = add(state[rs1s[pc]], state[rs2s[pc]])
            elif kind == SUB:
                state[rds[pc]] = subtract(state[rs1s[pc]], state[rs2s[pc]])
            elif kind == LUI:
                state[rds[pc]] = imms[pc] << 12 & MASK
            elif kind == MUL:
                state[rds[pc]] = self._product(pc, state[rs1s[pc]], state[rs2s[pc]])
            elif kind == LOAD:
                body.append(self._load(pc))
            elif kind == STORE:
                source, address = state[rds[pc]], self._int_address(pc)
                self.memory.store(address, source)
                body.append((pc, source, address))
            elif kind == ADDRESS:
                state[A_HIGH + rds[pc]], state[A_LOW + rds[pc]] = state[rs1s[pc]], state[rs2s[pc]]
            else:
                for slot in sets_state()[op]:
                    state[slot] = state[rds[pc]]

    def _record(self, pc: int, op: int) -> Record:
        code, state = self.code, self.state
        shape = layout(op)
        values: list[Value] = [state[code.field(f)[pc]] for f in shape.fields]
        if shape.offset >= 0 and code.imm[pc]:
            values[shape.offset] = add(values[shape.offset], code.imm[pc])
        if not shape.is_plain:
            self._change(pc, shape, values)
        if shape.transfer:
            base = code.rs2[pc]
            has_scales = self.scaled[op, code.number(pc, Field.FUNCT1) != 0]
            values += (state[A_HIGH + base], state[A_LOW + base])
            values.append(state[SCALE] if has_scales else 0)
            values.append(state[STRIDE] if shape.uses_stride(code.flags[pc]) else 0)
        elif shape.mask is not None and code.field(shape.mask.field)[pc]:
            values.append(state[V_MASK])
        return (pc, *values)

    def _change(self, pc: int, shape: RecordLayout, values: list[Value]) -> None:
        """What the special operands of an instruction stand for, and what it does to the integer state."""
        if shape.pitch is not None:
            place, rows = shape.pitch
            means = shape.spec.by_name[shape.addresses[place]].gp0_means
            if rows(self.target) == 1:
                values[place] = 1
            elif means is not None and not self.code.field(shape.fields[place])[pc]:
                values[place] = means
        if shape.sum is not None:
            added, address = shape.sum
            values[address], values[added] = add(values[address], values[added]), 0
        if shape.int_write is not None:
            address = values[shape.int_write[0]]
            self._track(address)
            self.memory.clobber(address, shape.int_words(self.target, self.code.flags[pc]))
        if shape.unknown:
            self.memory.clobber(self._unfollowed(pc, shape), 1)
        for name in shape.state:
            self.state[STATE_SLOTS[name]] = self._unfollowed(pc, shape)
        if shape.result:
            self.state[self.code.rd[pc]] = self._unfollowed(pc, shape)

    def _unfollowed(self, pc: int, shape: RecordLayout) -> Value:
        reason = f"{shape.spec.mnemonic} makes a number that is not linear"
        return symbol(self.symbols.opaque(pc, reason))

    def _product(self, pc: int, x: Value, y: Value) -> Value:
        if isinstance(y, int):
            return scale(x, y)
        if isinstance(x, int):
            return scale(y, x)
        self._track(x)
        self._track(y)
        return symbol(self.symbols.opaque(pc, "S_MUL_INT multiplies two numbers that both vary"))

    def _track(self, value: Value) -> None:
        if self.symbols.has_entry(value):
            self.nonlinear.append(symbols_of(value))

    def _int_address(self, pc: int) -> Value:
        address = add(self.state[self.code.rs1[pc]], self.code.imm[pc])
        self._track(address)
        return address

    def _load(self, pc: int) -> Record:
        address = self._int_address(pc)
        value = self.memory.load(address)
        if value is not None:
            self.state[self.code.rd[pc]] = value
            return (pc, address, FORWARDED)
        number = self.symbols.new(SymbolKind.LOAD)
        self.state[self.code.rd[pc]] = symbol(number)
        return (pc, address, number)

    def _loop(self, loop: FlatLoop) -> LoopRun:
        """Runs a body on symbols for the state it changes, again while that makes more of it known.

        Where an address of the body hangs on a register that has no formula, the register is taken for unchanged, as
        one is that a program computes anew from itself in every iteration; the run has to show it.
        """
        before = list(self.state)
        known: dict[Hashable, Progression] = {}
        dynamic: set[Value] = set()
        assumed: set[int] = set()
        changed: set[int] = set()
        attempt = 0
        while True:
            is_last = attempt >= _MOST_RUNS - 1
            attempt += 1
            self.state[:] = before
            mark = len(self.nonlinear)
            unchanged = {slot: Progression(before[slot]) for slot in assumed}
            run, frame, pieces = self._attempt(loop, known | unchanged, dynamic)
            self.memory.frames.pop()
            self.symbols.depth -= 1
            refuted = {slot for slot in assumed if self.state[slot] != before[slot]}
            if refuted:
                changed |= assumed if is_last else refuted
                assumed -= changed
                del self.nonlinear[mark:]
                continue
            causes = {s for symbols in self.nonlinear[mark:] for s in symbols}
            found: dict[Hashable, Progression] = {}
            guesses: set[int] = set()
            for number in causes & pieces.keys():
                solved, piece = run.solutions[number], pieces[number]
                if isinstance(solved, Progression) and not solved.settle:
                    found[piece] = solved
                elif isinstance(solved, Unsolved) and isinstance(piece, int):
                    guesses.add(piece)
            guesses -= changed
            unknown = {a for a, n in frame.entries.items() if isinstance(run.solutions[n], Unsolved)}
            if is_last or not (found or unknown or guesses):
                self._leave(run, frame)
                self.nonlinear[mark:] = [
                    tuple(self._outer_symbols(run, set(c))) for c in self.nonlinear[mark:]
                ]
                return run
            del self.nonlinear[mark:]
            known |= found
            if found:
                continue
            assumed |= guesses
            if not guesses:
                dynamic |= unknown

    def _attempt(
        self, loop: FlatLoop, known: Mapping[Hashable, Progression], dynamic: set[Value]
    ) -> tuple[LoopRun, Frame, dict[int, Hashable]]:
        """One run of a body: the run, what it did to INT SRAM, and the piece of state of every entry symbol.

        Args:
            known: pieces that follow a formula in every iteration.
            dynamic: addresses of INT SRAM that do not.
        """
        state, symbols = self.state, self.symbols
        symbols.depth += 1
        run = LoopRun(loop, symbols.new(SymbolKind.INDEX, loop.trips), symbols.depth)
        frame = Frame(symbols.depth, dynamic)
        self.memory.frames.append(frame)
        formulas = {p: add(s.start, linear(0, [(run.index, s.step)])) for p, s in known.items()}
        entries: dict[Hashable, tuple[int, Value]] = {}
        for slot in sorted(loop.written):
            if slot not in known:
                entries[slot] = (symbols.new(SymbolKind.ENTRY), state[slot])
            state[slot] = formulas[slot] if slot in known else symbol(entries[slot][0])
        for piece, formula in formulas.items():
            if isinstance(piece, IntSlot):
                frame.formulas[piece.address] = formula
        state[loop.counter] = linear(loop.trips, [(run.index, MASK)])
        self._body(run)
        exits: dict[Hashable, Value | None] = {slot: state[slot] for slot in entries if isinstance(slot, int)}
        for address, number in frame.entries.items():
            entries[IntSlot(address)] = (number, frame.entry_values[number])
            exits[IntSlot(address)] = self.memory.at_end(address)
        run.solutions = Recurrence(
            symbols, run.index, run.depth, loop.trips, entries, exits, _describe
        ).solve()
        for solved in run.solutions.values():
            if isinstance(solved, Unsolved) and solved.symbols:
                self.nonlinear.append(solved.symbols)
        run.used = self._used_symbols(run)
        return run, frame, {number: piece for piece, (number, _) in entries.items()}

    def _leave(self, run: LoopRun, frame: Frame) -> None:
        """The state after the loop, from the body's last iteration."""
        state, memory = self.state, self.memory
        for slot in run.code.written:
            state[slot] = self._final(run, state[slot])
        state[run.code.counter] = 0
        for address, words in [*frame.ranges, *((w, 1) for w in frame.words)]:
            memory.clobber(self._anywhere(run, address), words)
        for address, value in frame.known.items():
            place, last = self._anywhere(run, address), self._final(run, value)
            if not any(self._is_local(run, s) for s in (*symbols_of(place), *symbols_of(last))):
                memory.store(place, last)
        if run.code.trips == 1:
            self.symbols.leave_single(run.index)

    def _is_local(self, run: LoopRun, number: int) -> bool:
        return self.symbols.depths[number] >= run.depth

    def _anywhere(self, run: LoopRun, address: Value) -> Value:
        """An address of the body, its entry state replaced by formulas; local symbols stand for any iteration."""

        def meaning(number: int) -> Value | None:
            solved = run.solutions.get(number)
            if isinstance(solved, Progression) and not solved.settle:
                return add(solved.start, linear(0, [(run.index, solved.step)]))
            return None

        return substitute(address, meaning)

    def _final(self, run: LoopRun, value: Value) -> Value:
        """A value at the end of the last iteration."""
        last = run.code.trips - 1

        def meaning(number: int) -> Value | None:
            if not self._is_local(run, number):
                return None
            if number == run.index:
                return last
            solved = run.solutions.get(number)
            if isinstance(solved, Progression):
                return solved.at(last)
            if last == 0:
                return None
            return symbol(self._last_of(run, number, solved))

        return substitute(value, meaning)

    def _last_of(self, run: LoopRun, number: int, solved: Unsolved | None) -> int:
        """The symbol, outside a loop, for the last value of one that is local to it."""
        key = (run.index, number)
        if key not in self._last:
            pc, reason = run.code.start, "a number that its loop computes is not linear in loop indices"
            if self.symbols.kinds[number] is SymbolKind.LOAD:
                reason = "a number loaded from INT SRAM in the loop is used behind it"
            elif solved is not None:
                reason = solved.reason
            elif number in self.symbols.reasons:
                pc, reason = self.symbols.reasons[number]
            self._last[key] = self.symbols.opaque(pc, reason)
        return self._last[key]

    def _used_symbols(self, run: LoopRun) -> set[int]:
        """The symbols that records of a body, inner loops included, hang on."""
        used: set[int] = set()
        for item in run.body:
            if isinstance(item, LoopRun):
                used |= self._outer_symbols(item, item.used)
                continue
            for value in item:
                if type(value) is not int:
                    used.update(symbols_of(value))
        return used

    def _outer_symbols(self, run: LoopRun, used: set[int]) -> set[int]:
        """The symbols of outer loops that some symbols of a body hang on."""
        outer: set[int] = set()
        for number in used:
            solved = run.solutions.get(number)
            if isinstance(solved, Progression):
                for value in (solved.start, *solved.early):
                    outer.update(symbols_of(value))
            elif isinstance(solved, Unsolved):
                outer.update(solved.symbols)
            elif number != run.index and not self._is_local(run, number):
                outer.add(number)
        return outer


def _describe(piece: Hashable) -> str:
    return register_name(piece) if isinstance(piece, int) else str(piece)
