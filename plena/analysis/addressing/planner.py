"""Chooses what every loop keeps in registers across its iterations, and how many registers inner loops get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plena.analysis.addressing.plan import BlockPlan, LoopCode, LoopPlan
from plena.analysis.addressing.program import Block, Loop, Program, Use
from plena.analysis.addressing.registers import OutOfRegistersError
from plena.analysis.addressing.simulation import Head, Simulation, next_value, timeline_of
from plena.analysis.addressing.timeline import Timeline
from plena.analysis.addressing.values import CONSTANT, REACH, ClassTable, Value
from plena.errors import CompileError

_LONG = 4000
"""Nodes from which on a block is simulated only a few times."""

_EVICTION_COST = 2
"""Instructions that it costs at most to store a value before a loop and to load it behind."""

_PATIENCE = 3
"""Consecutive attempts without gain after which a search stops."""


def plan_program(program: Program, registers: int) -> BlockPlan:
    """Plans a whole program in registers gp1 .. gp<registers>.

    Raises:
        CompileError: more loops are open at once than the registers can count, or an instruction's operands do not
            fit beside the loop counters.
    """
    plan = Planner(program.classes).block(program.block, registers, None)
    if plan is None:
        raise CompileError(
            f"{registers} integer registers are too few for the nesting of the loops ({_depth(program.block)} deep)",
            "materialize-addresses",
            "every open loop counts in a register of its own: expand or merge loops, or give more registers",
        )
    return plan


def _depth(block: Block) -> int:
    return max((1 + _depth(loop.body) for loop in block.loops()), default=0)


Simulate = Callable[[Sequence[Value], Sequence[Value]], BlockPlan | None]
"""Plans a block with these values kept in registers and in memory; None when it does not fit."""


@dataclass(frozen=True)
class _Candidates:
    """Values that may live in registers across iterations: needed ones first, then by decreasing worth."""

    needed: list[Value]
    optional: list[Value]
    reads: dict[int, int]
    """Reads per class and iteration."""


class Planner:
    """Plans blocks and loops for given numbers of registers, remembering what it has planned."""

    def __init__(self, classes: ClassTable) -> None:
        self.classes = classes
        self._loops: dict[tuple[Loop, int], LoopPlan | None] = {}

    def loop(self, loop: Loop, registers: int) -> LoopPlan | None:
        """The best plan of a loop in at most `registers` registers, its counter included; None if it cannot be."""
        key = (loop, registers)
        if key not in self._loops:
            body = self.block(loop.body, registers - 1, loop) if registers > 1 else None
            plan = None if body is None else LoopPlan(loop, body, len(body.tracks) + 1)
            self._loops[key] = plan
            if plan is not None:
                for enough in range(plan.width, registers):
                    self._loops.setdefault((loop, enough), plan)
        return self._loops[key]

    def block(self, block: Block, registers: int, loop: Loop | None) -> BlockPlan | None:
        """The best plan of a block in at most `registers` registers, as the body of `loop` if one is given."""
        children: list[LoopPlan] = []
        for inner in block.loops():
            plan = self.loop(inner, registers)
            if plan is None:
                return None
            children.append(plan)
        best = self._with_children(block, children, registers, loop)
        for position, inner in enumerate(block.loops()):
            if best is not None and not best.has_pressure:
                break
            best = self._narrowed(block, children, position, inner, registers, loop, best)
        return best

    def _narrowed(
        self,
        block: Block,
        children: list[LoopPlan],
        position: int,
        inner: Loop,
        registers: int,
        loop: Loop | None,
        best: BlockPlan | None,
    ) -> BlockPlan | None:
        """Gives an inner loop fewer registers as long as that pays for the block around it."""
        failures = 0
        width = children[position].width - 1
        while width > 1 and failures < _PATIENCE:
            gain = 1 << 30 if best is None else _EVICTION_COST * _evicted(best, position)
            narrower = self.loop(inner, width)
            if narrower is None or narrower.cost - children[position].cost >= gain:
                break
            trial = [*children]
            trial[position] = narrower
            plan = self._with_children(block, trial, registers, loop)
            if plan is not None and (best is None or _worth(plan, loop) < _worth(best, loop)):
                best, failures = plan, 0
                children[position] = narrower
            else:
                failures += 1
            width = min(width, narrower.width) - 1
        return best

    def _with_children(
        self, block: Block, children: Sequence[LoopPlan], registers: int, loop: Loop | None
    ) -> BlockPlan | None:
        timeline = timeline_of(block, children, self.classes)

        def simulate(head: Sequence[Value], memory: Sequence[Value] = ()) -> BlockPlan | None:
            state = Head()
            if loop is not None:
                following = [[next_value(v, loop, self.classes) for v in values] for values in (head, memory)]
                state = Head(tuple(head), tuple(memory), tuple(following[0]), tuple(following[1]))
            try:
                return Simulation(block, children, self.classes, timeline, registers, state).run()
            except OutOfRegistersError:
                return None

        if loop is None:
            return simulate(())
        search = _HeadSearch(simulate, loop, registers, len(block.nodes) > _LONG)
        return search.run(self._candidates(block, children, loop, timeline))

    def _candidates(
        self, block: Block, children: Sequence[LoopPlan], loop: Loop, timeline: Timeline
    ) -> _Candidates:
        constants: dict[int, set[int]] = {}
        count: dict[int, int] = {}
        first: dict[Value, int] = {}
        last: dict[Value, int] = {}
        plans = iter(children)
        for time, node in enumerate(block.nodes):
            if isinstance(node, Use):
                reads = [(r.value, not r.has_immediate) for r in node.reads]
            else:
                plan = next(plans)
                reads = [(e.value, not e.is_consumed) for e in plan.entries(self.classes)]
                reads += [(v, False) for _, v in plan.memory_entries(self.classes)]
            for value, pays in reads:
                constants.setdefault(value[0], set()).add(value[1])
                count[value[0]] = count.get(value[0], 0) + 1
                if pays:
                    first.setdefault(value, time)
                    last[value] = time
        needed: list[Value] = []
        clusters: list[Value] = []
        for cls in block.exposed:
            anchors = _anchors(sorted(constants.get(cls, ())))
            needed.extend((cls, c) for c in anchors[:1])
            clusters.extend((cls, c) for c in anchors[1:])
        chosen = {*needed, *clusters, (CONSTANT, 0)}
        pinned = [
            v
            for v in first
            if v not in chosen
            and (v[0] == CONSTANT or v[0] in block.exposed)
            and not self.classes.coefficient(v[0], loop.index)
        ]
        pinned.sort(key=lambda v: first[v] + timeline.end - last[v])
        return _Candidates(needed, clusters + pinned, count)


def _evicted(plan: BlockPlan, position: int) -> int:
    """Values that a loop of a block, the `position`-th, drives out of their registers."""
    loops = [code for code in plan.code if isinstance(code, LoopCode)]
    return loops[position].evicted


def _anchors(constants: Sequence[int]) -> list[int]:
    """The lowest constants from which one ADDI reaches the others."""
    anchors: list[int] = []
    for constant in constants:
        if not anchors or constant - anchors[-1] >= REACH:
            anchors.append(constant)
    return anchors


def _worth(plan: BlockPlan, loop: Loop | None) -> float:
    """Address instructions of one iteration, with the share of what it takes to enter the loop."""
    entry = len(plan.head) + 2 * len(plan.memory_head)
    return plan.cost + (entry / loop.trips if loop is not None else 0)


class _HeadSearch:
    """Finds the best set of values to keep across iterations by simulating candidates."""

    def __init__(self, simulate: Simulate, loop: Loop, registers: int, is_long: bool) -> None:
        self.simulate = simulate
        self.loop = loop
        self.registers = registers
        self.is_long = is_long
        self.best: BlockPlan | None = None
        self.kept: tuple[list[Value], list[Value], list[Value]] = ([], [], [])

    def run(self, candidates: _Candidates) -> BlockPlan | None:
        """The best plan found, None when nothing fits."""
        in_memory = max(0, len(candidates.needed) - self.registers + 2)
        order = sorted(candidates.needed, key=lambda v: -candidates.reads.get(v[0], 0))
        while self.best is None and in_memory <= len(order):
            split = len(order) - in_memory
            self._sweep(order[:split], candidates.optional, order[split:])
            in_memory += 1
        if self.best is not None and self.best.has_pressure and not self.is_long:
            self._free_registers(candidates)
        self._pin_numbers()
        return self.best

    def _sweep(self, needed: list[Value], optional: list[Value], memory: list[Value]) -> bool:
        """Keeps as many optional values as fit, then fewer, until that stops helping."""
        failures, gained = 0, False
        most = min(len(optional), self.registers - len(needed))
        for kept in range(min(most, 4) if self.is_long else most, -1, -4 if self.is_long else -1):
            if self._try(needed, optional[:kept], memory):
                failures, gained = 0, True
            elif self.best is not None:
                failures += 1
            if failures >= (1 if self.is_long else _PATIENCE):
                break
        return gained

    def _free_registers(self, candidates: _Candidates) -> None:
        """Moves rarely read classes to memory while that helps."""
        moved = [*self.kept[2]]
        rest = [v for v in candidates.needed if v not in moved]
        rest.sort(key=lambda v: candidates.reads.get(v[0], 0))
        for value in rest:
            if self.best is None or not self.best.has_pressure:
                break
            moved.append(value)
            if not self._sweep([v for v in candidates.needed if v not in moved], candidates.optional, [*moved]):
                break

    def _pin_numbers(self) -> None:
        """Keeps numbers that pointers step down by in registers."""
        gained = True
        while gained and self.best is not None and self.best.wanted:
            wanted = self.best.wanted
            pinned = (CONSTANT, max(wanted, key=lambda c: wanted[c]))
            needed, optional, memory = self.kept
            if pinned in optional:
                break
            gained = self._try(needed, [*optional, pinned], memory)
            if not gained and optional:
                gained = self._try(needed, [*optional[:-1], pinned], memory)

    def _try(self, needed: list[Value], optional: list[Value], memory: list[Value]) -> bool:
        if len(needed) + len(optional) > self.registers:
            return False
        plan = self.simulate([*needed, *optional], memory)
        if plan is None or (self.best is not None and _worth(plan, self.loop) >= _worth(self.best, self.loop)):
            return False
        self.best, self.kept = plan, (needed, optional, memory)
        return True
