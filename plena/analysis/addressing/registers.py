"""A register file during planning: what each register holds, and the cheapest way to make it hold something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from plena.analysis.addressing.timeline import NEVER, Timeline, is_reachable_from_zero
from plena.analysis.addressing.values import CONSTANT, REACH, WORD, Value, build_cost

ZERO = -1
"""The track that stands for gp0."""


class Action(NamedTuple):
    """One scalar instruction on tracks (registers of a plan). `imm` of a load or store is a slot of INT SRAM:
    in the plan's own frame, or in the frame of the loop that follows when `b` is 1."""

    mnemonic: str
    dst: int
    a: int = ZERO
    b: int = ZERO
    imm: int = 0


class OutOfRegistersError(Exception):
    """A plan does not fit the registers it was given."""


class Recipe(NamedTuple):
    """How a value can be made: from a register, a number, a memory slot. `cost` in instructions."""

    cost: int
    kind: str
    source: int = ZERO
    number: int = 0


class RegisterFile:
    """`capacity` registers, Belady's rule for evictions, and the instructions emitted so far.

    A value whose class is in no other register is the class's carrier: evicting it means storing it, because other
    values of the class are made from it. Of several registers of a class the lowest is needed when the next read
    lies below the others, since S_ADDI_INT only counts up.
    """

    def __init__(self, capacity: int, timeline: Timeline) -> None:
        self.timeline = timeline
        self.content: list[Value | None] = [None] * capacity
        self.members: dict[int, list[int]] = {}
        self.memory: dict[int, tuple[int, int]] = {}
        self.homes: dict[Value, int] = {}
        self.slots = 0
        self.touched: set[int] = set()
        self.actions: list[Action] = []
        self.wanted: Counter[int] = Counter()
        self.has_pressure = False
        self._where: dict[Value, int] = {}
        self._next_exact = [-1] * capacity

    # -- contents

    def put(self, track: int, value: Value | None) -> None:
        """Records that a register now holds a value."""
        old = self.content[track]
        if old is not None:
            self.members[old[0]].remove(track)
            if self._where.get(old) == track:
                del self._where[old]
                for other in self.members[old[0]]:
                    if self.content[other] == old:
                        self._where[old] = other
        self.content[track] = value
        self._next_exact[track] = -1
        if value is not None:
            self.touched.add(track)
            self.members.setdefault(value[0], []).append(track)
            self._where.setdefault(value, track)

    def find(self, value: Value, has_immediate: bool, excluded: Iterable[int] = ()) -> int | None:
        """A register that serves a read, the zero register included."""
        if value == (CONSTANT, 0):
            return ZERO
        track = self._where.get(value)
        if track is not None and track not in excluded:
            return track
        if has_immediate and is_reachable_from_zero(value):
            return ZERO
        cls, constant = value
        for track in self.members.get(cls, ()):
            held = self.content[track]
            assert held is not None
            gap = constant - held[1]
            if (gap == 0 or (has_immediate and 0 < gap < REACH)) and track not in excluded:
                return track
        return None

    def constant_of(self, track: int) -> int:
        """The constant part of what a register holds; 0 for the zero register."""
        held = self.content[track] if track != ZERO else None
        return held[1] if held is not None else 0

    # -- future

    def future(self, track: int, time: int, incoming: Value | None = None) -> tuple[int, int]:
        """(time of the next use, instructions to get the value back) of what a register holds.

        Times are asked for in ascending order. `incoming` is a value about to be created, which counts as present.
        """
        held = self.content[track]
        if held is None:
            return NEVER, 0
        cls, constant = held
        timeline = self.timeline
        exact = self._next_exact[track]
        if exact <= time:
            exact = self._next_exact[track] = timeline.next_exact(held, time)
        if cls == CONSTANT:
            if constant >= REACH:
                exact = min(exact, timeline.next_above(held, time))
            return exact, build_cost(constant)
        lowest: int | None = incoming[1] if incoming is not None and incoming[0] == cls else None
        for other in self.members[cls]:
            if other != track:
                value = self.content[other]
                assert value is not None
                if lowest is None or value[1] < lowest:
                    lowest = value[1]
        if lowest is None:
            return min(exact, timeline.next_of_class(cls, time)), (1 if cls in self.memory else 2)
        if lowest > constant:
            return min(exact, timeline.next_below(cls, time, lowest)), 1
        return exact, 1

    def is_carrier(self, track: int) -> bool:
        """Whether a register holds the only copy of its class, memory included."""
        held = self.content[track]
        return (
            held is not None
            and held[0] != CONSTANT
            and len(self.members[held[0]]) == 1
            and held[0] not in self.memory
        )

    # -- changes

    def choose(self, value: Value, time: int, locked: Iterable[int]) -> int:
        """The register to overwrite for a new value: its home, a dead one, or the one needed last."""
        taken = set(locked)
        home = self.homes.get(value, -1)
        if home >= 0 and home not in taken and self.future(home, time, value)[0] >= NEVER:
            return home
        best, best_score, unused = -1, -1.0, -1
        for track in range(len(self.content)):
            if track in taken or time < self._next_exact[track] <= time + best_score:
                continue
            use, cost = self.future(track, time, value)
            if use < NEVER:
                score = (use - time) / cost
                if score > best_score:
                    best, best_score = track, score
            elif track in self.touched:
                return track
            elif unused < 0:
                unused = track
        if unused >= 0:
            return unused
        if best < 0:
            raise OutOfRegistersError
        return best

    def evict(self, track: int, time: int, incoming: Value | None = None) -> None:
        """Gives up what a register holds; the only copy of a class that is still needed goes to INT SRAM."""
        held = self.content[track]
        if held is None:
            return
        if incoming is None or incoming[0] != held[0]:
            if self.is_carrier(track) and self.timeline.next_of_class(held[0], time) < NEVER:
                self.save(track)
            if self.future(track, time)[0] < NEVER:
                self.has_pressure = True
        self.put(track, None)

    def save(self, track: int) -> None:
        """Stores a register in the slot of its class."""
        held = self.content[track]
        assert held is not None
        known = self.memory.get(held[0])
        slot = self.slots if known is None else known[0]
        self.slots = max(self.slots, slot + 1)
        self.actions.append(Action("S_ST_INT", track, imm=slot))
        self.memory[held[0]] = (slot, held[1])

    def recipe(self, value: Value) -> Recipe:
        """The cheapest way to make a value."""
        cls, constant = value
        members = self.members.get(cls, ())
        for track in members:
            if 0 <= constant - self.constant_of(track) < REACH:
                return Recipe(1, "add", track, constant - self.constant_of(track))
        if cls == CONSTANT and build_cost(constant) == 1:
            return Recipe(1, "build", number=constant)
        known = self.memory.get(cls)
        if known is not None and known[1] == constant:
            return Recipe(1, "load", number=known[0])
        for track in members:
            gap = constant - self.constant_of(track)
            if (CONSTANT, abs(gap) % WORD) in self._where:
                return Recipe(1, "combine", track, gap)
        if cls == CONSTANT:
            return Recipe(2, "build", number=constant)
        options: list[Recipe] = []
        for track in members:
            gap = constant - self.constant_of(track)
            options.append(Recipe(1 + build_cost(abs(gap) % WORD), "shift", track, gap))
        if known is not None:
            gap = constant - known[1]
            cost = 2 if 0 <= gap < REACH else 2 + build_cost(abs(gap) % WORD)
            options.append(Recipe(cost, "reload", number=gap))
        if not options:
            raise AssertionError(f"no register holds class {cls}")
        return min(options, key=lambda r: (r.cost, abs(r.number)))

    def create(self, value: Value, time: int, locked: Iterable[int], target: int | None = None) -> int:
        """Emits the instructions that make a value, in `target` or a register chosen by Belady's rule."""
        recipe = self.recipe(value)
        if recipe.kind in ("shift", "combine", "reload"):
            return self._create_distant(value, recipe, time, set(locked), target)
        if target is None:
            target = self.choose(value, time, locked)
        self.evict(target, time, value)
        match recipe.kind:
            case "add":
                self.actions.append(Action("S_ADDI_INT", target, recipe.source, imm=recipe.number))
            case "load":
                self.actions.append(Action("S_LD_INT", target, imm=recipe.number))
            case _:
                self.build(target, recipe.number)
        self.put(target, value)
        return target

    def _create_distant(
        self, value: Value, recipe: Recipe, time: int, locked: set[int], target: int | None
    ) -> int:
        """Makes a value below what its class holds, or out of the reach of an immediate."""
        if recipe.kind == "reload":
            cls = value[0]
            slot, held = self.memory[cls]
            near = 0 <= recipe.number < REACH
            spare = target if near else None
            if spare is None:
                blocked = locked | ({target} if target is not None else set())
                spare = self.choose((cls, held), time, blocked)
            self.evict(spare, time, value)
            self.actions.append(Action("S_LD_INT", spare, imm=slot))
            self.put(spare, (cls, held))
            if near:
                self.actions.append(Action("S_ADDI_INT", spare, spare, imm=recipe.number))
                self.put(spare, value)
                return spare
            return self.create(value, time, locked, target)
        source, gap = recipe.source, recipe.number
        magnitude = abs(gap) % WORD
        mnemonic = "S_ADD_INT" if gap > 0 else "S_SUB_INT"
        if recipe.kind == "combine":
            helper = self._where[CONSTANT, magnitude]
            if target is None:
                target = self.choose(value, time, locked)
            self.evict(target, time, value)
            self.actions.append(Action(mnemonic, target, source, helper))
            self.put(target, value)
            return target
        self.wanted[magnitude] += 1
        if target is None:
            target = self.choose(value, time, locked | {source})
        if target == source:
            helper = self.choose((CONSTANT, magnitude), time, locked | {source})
            self.evict(helper, time)
        else:
            helper = target
            self.evict(target, time, value)
        self.build(helper, magnitude)
        if helper != target:
            self.put(helper, (CONSTANT, magnitude))
        self.actions.append(Action(mnemonic, target, source, helper))
        self.put(target, value)
        return target

    def build(self, track: int, constant: int) -> None:
        """Emits the one or two instructions that make a number from nothing."""
        if constant < REACH:
            self.actions.append(Action("S_ADDI_INT", track, ZERO, imm=constant))
            return
        self.actions.append(Action("S_LUI_INT", track, imm=constant % WORD >> 12))
        if constant % 4096:
            self.actions.append(Action("S_ADDI_INT", track, track, imm=constant % 4096))
