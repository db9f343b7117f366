"""One pass over a block with a given register file: the code for every node, by Belady's rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from plena.analysis.addressing.plan import Binding, BlockPlan, Code, Entry, LoopCode, LoopPlan, UseCode
from plena.analysis.addressing.program import Block, Loop, Use
from plena.analysis.addressing.registers import ZERO, Action, OutOfRegistersError, RegisterFile
from plena.analysis.addressing.timeline import NEVER, Timeline
from plena.analysis.addressing.values import CONSTANT, REACH, ClassTable, Value

_LOOKAHEAD = 16
"""Reads of a class that are looked at to place a pointer that several immediates can share."""


def timeline_of(block: Block, children: Sequence[LoopPlan], classes: ClassTable) -> Timeline:
    """The reads of a block whose loops are planned."""
    reads: list[list[Value]] = []
    exact: list[list[Value]] = []
    plans = iter(children)
    for node in block.nodes:
        if isinstance(node, Use):
            reads.append([r.value for r in node.reads])
            exact.append([r.value for r in node.reads if not r.has_immediate])
        else:
            plan = next(plans)
            values = [e.value for e in plan.entries(classes)] + [v for _, v in plan.memory_entries(classes)]
            reads.append(values)
            exact.append(values)
    return Timeline(reads, exact)


@dataclass(frozen=True)
class Head:
    """The state at the beginning of every iteration: what the registers and memory slots hold, and what they must
    hold at the end of the iteration so that this is true of the next one."""

    registers: tuple[Value, ...] = ()
    memory: tuple[Value, ...] = ()
    next_registers: tuple[Value, ...] = ()
    next_memory: tuple[Value, ...] = ()


@dataclass
class Simulation:
    """Plans one block in `capacity` registers; `children` are the plans of its loops in order."""

    block: Block
    children: Sequence[LoopPlan]
    classes: ClassTable
    timeline: Timeline
    capacity: int
    head: Head
    copies: bool = False
    """Whether a loop may walk a copy of a pointer that is read again behind it."""
    file: RegisterFile = field(init=False)

    def run(self) -> BlockPlan:
        """The plan.

        Raises:
            OutOfRegistersError: an instruction or a loop needs more registers at once.
        """
        head = self.head
        if len(head.registers) > self.capacity:
            raise OutOfRegistersError
        self.timeline.close_with(head.next_registers + head.next_memory)
        self.file = file = RegisterFile(self.capacity, self.timeline)
        for track, value in enumerate(head.registers):
            file.put(track, value)
        for track, value in enumerate(head.next_registers):
            file.homes.setdefault(value, track)
        for slot, (cls, constant) in enumerate(head.memory):
            file.memory[cls] = (slot, constant)
        file.slots = len(head.memory)
        code: list[Code] = []
        plans = iter(self.children)
        for time, node in enumerate(self.block.nodes):
            code.append(self._use(node, time) if isinstance(node, Use) else self._loop(next(plans), time))
        self._close()
        return self._plan(code)

    def _plan(self, code: list[Code]) -> BlockPlan:
        file = self.file
        tail = tuple(file.actions)
        inner = [c.plan for c in code if isinstance(c, LoopCode)]
        own = len(tail) + sum(len(c.actions) for c in code)
        return BlockPlan(
            tuple(code),
            tail,
            self.head.registers,
            tuple(enumerate(self.head.memory)),
            frozenset(file.touched),
            file.slots,
            file.slots + max((p.body.depth for p in inner), default=0),
            own + sum(p.cost for p in inner),
            file.has_pressure,
            dict(file.wanted),
        )

    def _taken(self) -> tuple[Action, ...]:
        actions = tuple(self.file.actions)
        self.file.actions.clear()
        return actions

    # -- instructions

    def _use(self, node: Use, time: int) -> UseCode:
        file = self.file
        found: dict[str, int] = {}
        missing = [
            read
            for read in node.reads
            if not self._note(found, read.slot, file.find(read.value, read.has_immediate))
        ]
        for read in sorted(missing, key=lambda r: (r.has_immediate, r.value)):
            track = file.find(read.value, read.has_immediate)
            if track is None:
                value = self._pointer(read.value, time) if read.has_immediate else read.value
                track = file.create(value, time - 1, found.values())
            found[read.slot] = track
        bindings = tuple(
            Binding(
                r.slot,
                found[r.slot],
                (r.value[1] - file.constant_of(found[r.slot])) if r.has_immediate else 0,
            )
            for r in node.reads
        )
        result = None
        if node.defines is not None:
            result = self._define(node, node.defines, time, bindings)
        return UseCode(self._taken(), bindings, result)

    def _define(self, node: Use, value: Value, time: int, bindings: tuple[Binding, ...]) -> int:
        file = self.file
        track = file.choose(value, time, ())
        file.evict(track, time, value)
        if node.arithmetic is not None:
            a, b = bindings
            file.actions.append(Action(node.arithmetic, track, a.track, b.track))
        file.put(track, value)
        return track

    @staticmethod
    def _note(found: dict[str, int], slot: str, track: int | None) -> bool:
        if track is None:
            return False
        found[slot] = track
        return True

    def _pointer(self, value: Value, time: int) -> Value:
        """The value to put into a register for a read with an immediate: the lowest that the next reads share."""
        cls, constant = value
        lowest = constant
        for other in self.timeline.upcoming(cls, time, _LOOKAHEAD):
            if constant - REACH < other < lowest:
                lowest = other
        if cls == CONSTANT and lowest >= REACH and constant - (lowest - lowest % 4096) < REACH:
            lowest -= lowest % 4096
        if lowest == constant or self.file.recipe((cls, lowest)).cost <= self.file.recipe(value).cost:
            return (cls, lowest)
        return value

    # -- loops

    def _loop(self, plan: LoopPlan, time: int) -> LoopCode:
        file = self.file
        for slot, value in plan.memory_entries(self.classes):
            track = file.find(value, False)
            if track is None:
                track = file.create(value, time - 1, ())
            file.actions.append(Action("S_ST_INT", track, b=1, imm=slot))
        entries = plan.entries(self.classes)
        tracks = self._enter(plan, entries, time)
        group = set(tracks.values())
        evicted = self._make_room(plan.width - len(group), group, time)
        free = [t for t, v in enumerate(file.content) if v is None and t not in group]
        free.sort(key=lambda t: t not in file.touched)
        for track in sorted(plan.body.tracks - tracks.keys()):
            tracks[track] = free.pop(0)
        counter = free.pop(0)
        file.touched.update(tracks.values(), (counter,))
        for entry in entries:
            file.put(tracks[entry.track], entry.after)
        return LoopCode(self._taken(), plan, tracks, counter, evicted)

    def _enter(self, plan: LoopPlan, entries: list[Entry], time: int) -> dict[int, int]:
        """Puts the loop's first values into registers, each consumed one into a register of its own."""
        file = self.file
        tracks: dict[int, int] = {}
        missing: list[Entry] = []
        for entry in sorted(entries, key=lambda e: e.is_consumed):
            track = file.find(entry.value, False, tracks.values())
            if track is None or track == ZERO or (entry.is_consumed and self._keeps(track, plan, time)):
                missing.append(entry)
            else:
                tracks[entry.track] = track
        for entry in sorted(missing, key=lambda e: e.value):
            tracks[entry.track] = file.create(entry.value, time - 1, tracks.values())
        return tracks

    def _keeps(self, track: int, plan: LoopPlan, time: int) -> bool:
        """Whether a value that a loop would use up is better copied: it is read again, hard to get back then, and
        there is a register that it can wait in."""
        file = self.file
        value = file.content[track]
        if not self.copies or value is None or self.timeline.next_exact(value, time) >= NEVER:
            return False
        cls, constant = value
        others = [file.constant_of(t) for t in file.members[cls] if t != track]
        if cls == CONSTANT or any(0 <= constant - other < REACH for other in others):
            return False
        waiting = sum(file.future(t, time)[0] < NEVER for t in range(self.capacity))
        return waiting + plan.width <= self.capacity

    def _make_room(self, needed: int, group: set[int], time: int) -> int:
        """Empties registers outside `group` until `needed` are free; returns how many values that costs."""
        file = self.file
        others: list[tuple[float, int]] = []
        for track, value in enumerate(file.content):
            if value is None or track in group:
                continue
            use, cost = file.future(track, time)
            if use >= NEVER:
                file.put(track, None)
            else:
                others.append(((use - time) / cost, track))
        others.sort()
        allowed = len(file.content) - len(group) - needed
        if allowed < 0:
            raise OutOfRegistersError
        evicted = max(0, len(others) - allowed)
        for _ in range(evicted):
            file.evict(others.pop()[1], time)
        return evicted

    # -- the end of the iteration

    def _close(self) -> None:
        file, time = self.file, self.timeline.end
        for slot, value in enumerate(self.head.next_memory):
            if file.memory.get(value[0]) != (slot, value[1]):
                track = file.find(value, False)
                if track is None:
                    track = file.create(value, time - 1, ())
                file.actions.append(Action("S_ST_INT", track, imm=slot))
                file.memory[value[0]] = (slot, value[1])
        wanted = self.head.next_registers
        pending = [t for t, v in enumerate(wanted) if file.content[t] != v]
        while pending:
            track = self._closable(pending)
            settled = [t for t in range(len(wanted)) if t not in pending]
            file.create(wanted[track], time - 1, settled, track)
            pending.remove(track)

    def _closable(self, pending: list[int]) -> int:
        """A pending register whose present content no other pending one is made from; moves one away if needed."""
        file, wanted = self.file, self.head.next_registers
        best, best_cost = -1, 1 << 30
        for track in pending:
            held = file.content[track]
            if held is None:
                return track
            cost = 0
            for other in pending:
                if other == track or wanted[other][0] != held[0]:
                    continue
                sources = [t for t in file.members[held[0]] if t != track] + (
                    [track] if wanted[track][0] == held[0] else []
                )
                if not sources:
                    cost += 1000 if held[0] not in file.memory and held[0] != CONSTANT else 1
                    continue
                reachable = any(
                    0 <= wanted[other][1] - (wanted[track][1] if s == track else file.constant_of(s)) < REACH
                    for s in sources
                )
                cost += 0 if reachable else 1
            if cost < best_cost:
                best, best_cost = track, cost
        if best_cost >= 1000:
            file.save(best)
        return best


def next_value(value: Value, loop: Loop, classes: ClassTable) -> Value:
    """What a register must be set to at the end of an iteration to hold `value` in the next one."""
    return value[0], value[1] + classes.coefficient(value[0], loop.index)
