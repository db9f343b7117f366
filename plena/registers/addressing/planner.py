"""Chooses what every loop keeps in registers across its iterations, and how many registers inner loops get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plena.errors import CompileError
from plena.registers.addressing.head_search import HeadSearch, candidates_of, worth
from plena.registers.addressing.plan import BlockPlan, LoopPlan
from plena.registers.addressing.program import Block, Loop, Program
from plena.registers.addressing.remembered import Place
from plena.registers.addressing.simulation import Head, RowsOfNodes, Simulation, next_value
from plena.registers.addressing.values import ClassTable, Value

_EVICTION_COST = 2
"""Instructions that it costs at most to store a value before a loop and to load it behind."""

QUICK, THOROUGH = 1_000, 10_000
"""Nodes to simulate in the search for what a loop keeps: for estimates, for the program that is emitted."""

_FEWEST, _MOST = 3, 60
"""Bounds of the attempts for one loop."""

_NARROWINGS = 20
"""Attempts to narrow inner loops that may each simulate `work` nodes."""

_PATIENCE = 3
"""Consecutive attempts without gain after which a search stops."""


def plan_program(program: Program, registers: int) -> BlockPlan:
    """Plans a whole program in registers gp1 .. gp<registers>.

    Raises:
        CompileError: more loops are open at once than the registers can count, or an instruction's operands do not
            fit beside the loop counters.
    """
    place = Place(program, registers)
    plan = place.plan()
    if plan is not None:
        return plan
    plan = Planner(program.classes, THOROUGH).block(program.block, registers, None)
    if plan is None:
        raise CompileError(
            f"{registers} integer registers are too few for the nesting of the loops ({_depth(program.block)} deep)",
            "materialize-addresses",
            "every open loop counts in a register of its own: expand or merge loops, or give more registers",
        )
    place.keep(plan)
    return plan


def _depth(block: Block) -> int:
    return max((1 + _depth(loop.body) for loop in block.loops()), default=0)


class Planner:
    """Plans blocks and loops for given numbers of registers, remembering what it has planned.

    `work` bounds the search in a loop: nodes simulated, over all attempts.
    """

    def __init__(self, classes: ClassTable, work: int = QUICK) -> None:
        self.classes = classes
        self.work = work
        self._loops: dict[tuple[Loop, int], LoopPlan | None] = {}
        self._rows = RowsOfNodes(classes)

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
        best = self.with_children(block, children, registers, loop)
        if best is not None and not best.has_pressure:
            return best
        attempts = _NARROWINGS * self.work // max(1, block.length)
        return _Narrowing(self, block, children, registers, loop, best, attempts).run()

    def with_children(
        self, block: Block, children: Sequence[LoopPlan], registers: int, loop: Loop | None
    ) -> BlockPlan | None:
        """The best plan of a block whose loops are planned; None when it does not fit."""
        simulation = Simulation(block, children, self._rows)

        def simulate(head: Sequence[Value], memory: Sequence[Value] = ()) -> BlockPlan | None:
            state = Head()
            if loop is not None:
                following = [[next_value(v, loop, self.classes) for v in values] for values in (head, memory)]
                state = Head(tuple(head), tuple(memory), tuple(following[0]), tuple(following[1]))
            return simulation.run(registers, state)

        if loop is None:
            return simulate(())
        candidates = candidates_of(loop, children, self.classes)
        attempts = max(_FEWEST, min(_MOST, self.work // max(1, block.length)))
        return HeadSearch(simulate, loop, registers, attempts).run(candidates)


@dataclass
class _Narrowing:
    """Gives the inner loops of a block fewer registers as long as that pays for the block around them."""

    planner: Planner
    block: Block
    children: list[LoopPlan]
    registers: int
    loop: Loop | None
    best: BlockPlan | None
    attempts: int

    def run(self) -> BlockPlan | None:
        """The best plan found."""
        for position, inner in enumerate(self.block.loops()):
            if self.attempts <= 0 or (self.best is not None and not self.best.has_pressure):
                break
            self._narrow(position, inner)
        return self.best

    def _narrow(self, position: int, inner: Loop) -> None:
        failures = 0
        width = self.children[position].width - 1
        while width > 1 and failures < _PATIENCE and self.attempts > 0:
            gain = 1 << 30 if self.best is None else _EVICTION_COST * self.best.evicted(position)
            narrower = self.planner.loop(inner, width) if gain else None
            if narrower is None or narrower.cost - self.children[position].cost >= gain:
                break
            trial = [*self.children]
            trial[position] = narrower
            self.attempts -= 1
            plan = self.planner.with_children(self.block, trial, self.registers, self.loop)
            if plan is not None and (
                self.best is None or worth(plan, self.loop) < worth(self.best, self.loop)
            ):
                self.best, failures = plan, 0
                self.children = trial
            else:
                failures += 1
            width = min(width, narrower.width) - 1
