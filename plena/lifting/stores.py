"""Stores to INT SRAM that nobody sees: spilled pointers, once their loads have been forwarded.

Only what INT SRAM holds at the end of the program and what remaining loads read counts. A word that every iteration
of a loop writes before it reads it is written once, behind the loop. Indices must be numbered outside in, as the
resolver does: larger ones belong to inner loops.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from plena.dialects.loop import Linear
from plena.dialects.plena_isa import InstructionSpec, Integer, Memory, Mode
from plena.lifting.records import layout, opcode_doing, other_int_users
from plena.lifting.tree import (
    LiftedInstruction,
    LiftedItem,
    LiftedLoop,
    LiftedProgram,
    Number,
    number_of,
)

LOAD, STORE = opcode_doing(Integer.LOAD), opcode_doing(Integer.STORE)


def without_dead_stores(program: LiftedProgram) -> LiftedProgram:
    """The same program with stores sunk out of loops and overwritten ones left out."""
    if STORE not in program.code.op:
        return program
    pass_ = _DeadStores(program)
    body, _ = pass_.block(program.body, set(range(program.target.int_sram_size)))
    return replace(program, body=body)


@dataclass
class _DeadStores:
    program: LiftedProgram

    def block(self, items: list[LiftedItem], live: set[int]) -> tuple[list[LiftedItem], set[int]]:
        """The items that are needed when the words `live` are read later, and the words that they read themselves."""
        kept: list[LiftedItem] = []
        live = set(live)
        for item in reversed(items):
            if isinstance(item, LiftedLoop):
                behind, loop, live = self._loop(item, live)
                kept.extend(reversed(behind))
                if loop.body:
                    kept.append(loop)
            elif self._is_needed(item, live):
                kept.append(item)
        kept.reverse()
        return kept, live

    def _is_needed(self, item: LiftedInstruction, live: set[int]) -> bool:
        """Whether an instruction is needed; `live` becomes what is read at it or later."""
        code = self.program.code
        op = code.op[item[0]]
        if op == LOAD:
            low, high = self.program.range(item[1])
            live.update(range(low, min(high, self.program.target.int_sram_size - 1) + 1))
        elif op == STORE and isinstance(item[2], int) and item[2] < self.program.target.int_sram_size:
            if item[2] not in live:
                return False
            live.discard(item[2])
        elif op in other_int_users():
            self._pass_other(item, live)
        return True

    def _pass_other(self, item: LiftedInstruction, live: set[int]) -> None:
        """What an instruction that nobody follows overwrites is not read later, but everything that it may read is."""
        shape, target = layout(self.program.code.op[item[0]]), self.program.target
        if shape.int_write is not None:
            address = item[1 + shape.int_write[0]]
            if isinstance(address, int):
                words = shape.int_words(target, self.program.code.flags[item[0]])
                live.difference_update(range(address, address + words))
        if reads_int(shape.spec):
            live.update(range(target.int_sram_size))

    def _loop(self, loop: LiftedLoop, live: set[int]) -> tuple[list[LiftedItem], LiftedLoop, set[int]]:
        """The stores that move behind a loop, the loop, and what is read before it or in it."""
        if not self._has_int(loop):
            return [], loop, live
        _, carried = self.block(loop.body, live)
        while True:
            body, read = self.block(loop.body, live | carried)
            if read <= carried:
                break
            carried = carried | read
        behind: list[LiftedItem] = []
        for position in range(len(body) - 1, -1, -1):
            item = body[position]
            if isinstance(item, LiftedLoop) or self.program.code.op[item[0]] != STORE:
                continue
            last = self._last_store(loop, item, carried, body[position + 1 :])
            if last is not None:
                behind.append(last)
                del body[position]
        behind.reverse()
        return behind, LiftedLoop(loop.trips, loop.index, loop.pc, body), read

    def _has_int(self, loop: LiftedLoop) -> bool:
        op = self.program.code.op
        return any(
            self._has_int(item)
            if isinstance(item, LiftedLoop)
            else op[item[0]] in {LOAD, STORE, *other_int_users()}
            for item in loop.body
        )

    def _last_store(
        self, loop: LiftedLoop, item: LiftedInstruction, read_next: set[int], rest: list[LiftedItem]
    ) -> LiftedInstruction | None:
        """The last execution of a store, if only that one is seen and can be had behind the loop."""
        pc, value, address = item
        if not isinstance(address, int) or address in read_next or self._touches_int(rest):
            return None
        if isinstance(value, Linear) and any(i > loop.index for i, _ in value.terms):
            return None
        return (pc, _at_last(value, loop), address)

    def _touches_int(self, items: list[LiftedItem]) -> bool:
        """Whether items load from INT SRAM, or write it where it is not known."""
        code = self.program.code
        for item in items:
            if isinstance(item, LiftedLoop):
                if self._touches_int(item.body):
                    return True
            elif code.op[item[0]] in {LOAD, *other_int_users()} or (
                code.op[item[0]] == STORE and not isinstance(item[2], int)
            ):
                return True
        return False


def reads_int(spec: InstructionSpec) -> bool:
    """Whether an instruction may read words of INT SRAM."""
    return spec.touches is None or any(t.memory is Memory.INT and Mode.READ in t.mode for t in spec.touches)


def _at_last(number: Number, loop: LiftedLoop) -> Number:
    """A number in the last iteration of a loop."""
    if isinstance(number, int):
        return number
    return number_of(number.substitute(loop.index, loop.trips - 1))
