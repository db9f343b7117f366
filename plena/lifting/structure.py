"""The loops of flat code as a tree (plena_isa.md section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from plena.dialects.plena_isa import INSTRUCTIONS, Field, Kind, Mode
from plena.errors import PlenaError
from plena.lifting.code import Code, opcode

A_HIGH, A_LOW, SCALE, STRIDE, V_MASK, SLOTS = 16, 32, 48, 49, 50, 51
"""Integer state: gp0..gp15 at 0, the halves of a0..a15, then the sticky registers."""

RESET: list[int] = [0] * SLOTS
RESET[STRIDE] = 1

START, END = opcode("C_LOOP_START"), opcode("C_LOOP_END")
_STATE = {
    opcode("C_SET_SCALE_REG"): SCALE,
    opcode("C_SET_STRIDE_REG"): STRIDE,
    opcode("C_SET_V_MASK_REG"): V_MASK,
}
_SET_ADDRESS = opcode("C_SET_ADDR_REG")


def _writes_gp() -> list[bool]:
    table = [False] * 64
    for spec in INSTRUCTIONS.values():
        table[spec.opcode] = any(
            s.kind is Kind.GP and Mode.WRITE in s.mode and s.field is Field.RD for s in spec.slots
        )
    return table


WRITES_GP = _writes_gp()


@dataclass(eq=False)
class LoopCode:
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
    loops: list[LoopCode] = field(default_factory=list["LoopCode"])
    written: set[int] = field(default_factory=set[int])

    def walk(self) -> Iterator[LoopCode]:
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


def loop_tree(code: Code) -> LoopCode:
    """The whole program as a loop that runs once.

    Raises:
        PlenaError: naming the line of a loop that is not closed, an end without a start, ends that cross, a
            counter used by two nested loops or written inside its loop, a trip count of 0, or a C_BREAK.
    """
    root = LoopCode(-1, len(code), -1, 1)
    open_loops = [root]
    break_opcode = opcode("C_BREAK")
    for pc, op in enumerate(code.op):
        if op == START:
            open_loops.append(_open(code, pc, open_loops))
        elif op == END:
            _close(code, pc, open_loops)
        elif op == break_opcode:
            raise code.error(
                pc,
                "C_BREAK cannot be lifted",
                "It pops a loop and goes on with the next instruction; remove it.",
            )
        elif WRITES_GP[op]:
            register = code.rd[pc]
            for loop in open_loops:
                if loop.counter == register:
                    raise _counter_write(code, pc, loop)
            open_loops[-1].written.add(register)
        elif op in _STATE:
            open_loops[-1].written.add(_STATE[op])
        elif op == _SET_ADDRESS:
            open_loops[-1].written.update((A_HIGH + code.rd[pc], A_LOW + code.rd[pc]))
    if len(open_loops) > 1:
        raise code.error(open_loops[-1].start, "the loop is never closed", "Add its C_LOOP_END.")
    return root


def _open(code: Code, pc: int, open_loops: list[LoopCode]) -> LoopCode:
    register, trips = code.rd[pc], code.imm[pc]
    if not trips:
        raise code.error(pc, "a loop of 0 iterations aborts", "A counted loop runs at least once.")
    for loop in open_loops:
        if loop.counter == register:
            raise _counter_write(code, pc, loop)
    return LoopCode(pc, -1, register, trips)


def _close(code: Code, pc: int, open_loops: list[LoopCode]) -> None:
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


def _counter_write(code: Code, pc: int, loop: LoopCode) -> PlenaError:
    return code.error(
        pc,
        f"it writes gp{loop.counter}, the counter of the loop of {code.where(loop.start)}",
        "Only a loop with a fixed trip count can be lifted; use another register.",
    )
