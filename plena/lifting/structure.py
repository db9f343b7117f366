"""The loops of flat code as a tree (plena_isa.md section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from plena.dialects.derived import derived
from plena.dialects.plena_isa import OPCODES, Integer, Mode
from plena.dialects.plena_isa.spec import STICKY
from plena.errors import PlenaError
from plena.lifting.flat_program import FlatProgram
from plena.lifting.records import layout, opcode_doing

A_HIGH, A_LOW, SCALE, STRIDE, V_MASK, SLOTS = 16, 32, 48, 49, 50, 51
"""Integer state: gp0..gp15 at 0, the halves of a0..a15, then the sticky registers."""

STATE_SLOTS = {"scale": SCALE, "stride": STRIDE, "v_mask": V_MASK}

RESET: list[int] = [0] * SLOTS
for _name, _slot in STATE_SLOTS.items():
    RESET[_slot] = STICKY[_name].reset

START, END = opcode_doing(Integer.LOOP_START), opcode_doing(Integer.LOOP_END)
_BREAK, _SET_ADDRESS = opcode_doing(Integer.BREAK), opcode_doing(Integer.SET_BASE)


@derived
def writes_gp() -> list[bool]:
    """Whether an opcode writes a gp register."""
    table = [False] * 64
    for op, spec in OPCODES.items():
        table[op] = spec.writes_gp
    return table


@derived
def sets_state() -> dict[int, tuple[int, ...]]:
    """The sticky registers that an opcode sets, with the copy of a gp register or with what nobody follows."""
    found: dict[int, tuple[int, ...]] = {}
    for op, spec in OPCODES.items():
        names = layout(op).state
        if spec.integer is Integer.SET_STICKY:
            set_here = {t.memory for t in spec.touches or () if Mode.WRITE in t.mode}
            names = tuple(name for name, register in STICKY.items() if register.memory in set_here)
        if names:
            found[op] = tuple(STATE_SLOTS[name] for name in names)
    return found


@dataclass(eq=False)
class FlatLoop:
    """A loop of flat code: instructions `start + 1 .. end - 1` run `trips` times.

    Attributes:
        start, end: positions of C_LOOP_START and C_LOOP_END; -1 and the length of the code for the whole program.
        counter: the gp register it counts in.
        loops: the loops directly inside, in order.
        written: the integer state that the body writes, counters of inner loops included.
    """

    start: int
    end: int
    counter: int
    trips: int
    loops: list[FlatLoop] = field(default_factory=list["FlatLoop"])
    written: set[int] = field(default_factory=set[int])

    def walk(self) -> Iterator[FlatLoop]:
        """It and every loop inside, outer before inner."""
        yield self
        for loop in self.loops:
            yield from loop.walk()

    def iteration_length(self) -> int:
        """Dynamic instructions of one iteration, its C_LOOP_END included (section 4.4)."""
        length = self.end - self.start
        for loop in self.loops:
            length += loop.trips * loop.iteration_length() - (loop.end - loop.start)
        return length


def register_name(slot: int) -> str:
    """The name of a piece of integer state, for messages."""
    if slot < A_HIGH:
        return f"gp{slot}"
    if slot < SCALE:
        return f"a{slot % 16}"
    return {SCALE: "the scale register", STRIDE: "the stride register", V_MASK: "the mask register"}[slot]


def loop_tree(code: FlatProgram) -> FlatLoop:
    """The whole program as a loop that runs once.

    Raises:
        PlenaError: naming the line of a loop that is not closed, an end without a start, ends that cross, a
            counter used by two nested loops or written inside its loop, a trip count of 0, or a C_BREAK.
    """
    root = FlatLoop(-1, len(code), -1, 1)
    open_loops = [root]
    table, state = writes_gp(), sets_state()
    for pc, op in enumerate(code.op):
        if op == START:
            open_loops.append(_open(code, pc, open_loops))
        elif op == END:
            _close(code, pc, open_loops)
        elif op == _BREAK:
            raise code.error(
                pc,
                "C_BREAK cannot be lifted",
                "It pops a loop and goes on with the next instruction; remove it.",
            )
        elif table[op]:
            register = code.rd[pc]
            for loop in open_loops:
                if loop.counter == register:
                    raise _counter_write(code, pc, loop)
            open_loops[-1].written.add(register)
        elif op == _SET_ADDRESS:
            open_loops[-1].written.update((A_HIGH + code.rd[pc], A_LOW + code.rd[pc]))
        if op in state:
            open_loops[-1].written.update(state[op])
    if len(open_loops) > 1:
        raise code.error(open_loops[-1].start, "the loop is never closed", "Add its C_LOOP_END.")
    return root


def _open(code: FlatProgram, pc: int, open_loops: list[FlatLoop]) -> FlatLoop:
    register, trips = code.rd[pc], code.imm[pc]
    if not trips:
        raise code.error(pc, "a loop of 0 iterations aborts", "A counted loop runs at least once.")
    for loop in open_loops:
        if loop.counter == register:
            raise _counter_write(code, pc, loop)
    return FlatLoop(pc, -1, register, trips)


def _close(code: FlatProgram, pc: int, open_loops: list[FlatLoop]) -> None:
    loop, register = open_loops[-1], code.rd[pc]
    if loop.counter != register:
        outer = next((o for o in open_loops[1:] if o.counter == register), None)
        if outer is None:
            raise code.error(pc, f"no open loop counts in gp{register}")
        raise code.error(
            pc,
            f"it ends the loop of {code.where(outer.start)} inside the loop of {code.where(loop.start)}",
            "Close the inner loop first.",
        )
    loop.end = pc
    open_loops.pop()
    parent = open_loops[-1]
    parent.loops.append(loop)
    parent.written |= loop.written
    parent.written.add(register)


def _counter_write(code: FlatProgram, pc: int, loop: FlatLoop) -> PlenaError:
    return code.error(
        pc,
        f"it writes gp{loop.counter}, the counter of the loop of {code.where(loop.start)}",
        "Only a loop with a fixed trip count can be lifted; use another register.",
    )
