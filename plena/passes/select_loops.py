"""`select-loops`: decides for every loop how far it is expanded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.plena_isa import INSTRUCTIONS
from plena.errors import CompileError
from plena.gc_pause import without_collection
from plena.loops.dependence import Legality
from plena.loops.effects import EffectTable
from plena.loops.selection.address_costs import AddressCost, CountedUpdates, PlannedUpdates
from plena.loops.selection.apply import apply_choices
from plena.loops.selection.choices import Machine, Option
from plena.loops.selection.decisions import LoopDecision, loop_decisions
from plena.loops.selection.goal import Goal
from plena.loops.selection.measured import CHEAP, refine
from plena.loops.selection.search import Nesting, Point, Search
from plena.loops.selection.tree import Loop, Part, tree_of
from plena.machine.choices import Objective
from plena.machine.target import Target
from plena.passes.emission import counted
from plena.passes.options import check_values
from plena.timing.registry import DEFAULT_TIMING, profile_named

MARGIN = 0.97
"""Share of the budget that a program too long to be measured may fill by prediction."""


@dataclass(frozen=True)
class SelectLoops(ModulePass):
    """Keeps, unrolls, expands or jams every loop so that the objective is best under a budget of static instructions.

    `objective`: `cycles` or `size`; `max_instructions`: the budget, without one a program only grows while that pays
    (`GROWTH`); `timing`: the profile whose cycles count. Dynamic programming over the loop tree, with the cost of
    address updates after strength reduction; if `measure` is set, a few candidates are lowered to registers before
    one is taken. No iteration of a loop runs more instructions than the watchdog allows.

    Before::

        builtin.module {
          loop.for %i = 0 to 2 {
            loop.for %row = 0 to 64 {
              %x = loop.affine 0 + 4096 * %i + 64 * %row
              plena_isa.v_exp_v dst(%x) a(%x)
            }
          }
        }

    After::

        builtin.module {
          loop.for %row = 0 to 32 {
            %0 = loop.affine 0 + 128 * %row
            plena_isa.v_exp_v dst(%0) a(%0)
            %1 = loop.affine 4096 + 128 * %row
            plena_isa.v_exp_v dst(%1) a(%1)
            %2 = loop.affine 64 + 128 * %row
            plena_isa.v_exp_v dst(%2) a(%2)
            %3 = loop.affine 4160 + 128 * %row
            plena_isa.v_exp_v dst(%3) a(%3)
          }
        }
    """

    name = "select-loops"
    objective: str = "cycles"
    max_instructions: int | None = None
    timing: str = DEFAULT_TIMING
    measure: bool = True

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        selection = select(
            op,
            objective=self.objective,
            max_instructions=self.max_instructions,
            timing=self.timing,
            measure=self.measure,
        )
        with without_collection():
            apply_choices(op, selection.point.choices)


@dataclass(frozen=True)
class Selection:
    """The chosen point among the best programs of every size (smallest first), with predicted costs.

    `static` and `cycles` are the measured ones if the program was lowered, else those of the point.
    """

    point: Point
    frontier: tuple[Point, ...] = field(repr=False)
    static: int
    cycles: int

    @property
    def decisions(self) -> tuple[LoopDecision, ...]:
        """One entry per loop, in program order."""
        return loop_decisions(self.point.choices)


def select(
    module: ModuleOp,
    *,
    objective: str = "cycles",
    max_instructions: int | None = None,
    timing: str = DEFAULT_TIMING,
    addresses: AddressCost | None = None,
    measure: bool = False,
) -> Selection:
    """The best way to treat the loops of a module in the affine form; `apply_choices` carries it out.

    Args:
        addresses: the model of what addresses cost, by default the address planner on every nest.
        measure: lower a few candidates to registers, as long as they are short, and take the best by real costs.

    Raises:
        CompileError: options out of range, or a budget that cannot be met: it names the smallest size.
    """
    values = {"objective": objective, "timing": timing, "max_instructions": max_instructions}
    check_values(values, SelectLoops.name, hyphenated=True)
    goal = Goal(cast(Objective, objective), max_instructions)
    points = candidates(module, timing=timing, max_instructions=max_instructions, addresses=addresses)
    point = goal.best(points) if points else None
    if point is not None and measure and point.static <= CHEAP:
        found = refine(module, points, goal, lambda m: _costs(m, timing))
        if found is not None:
            return Selection(found.point, tuple(points), found.static, found.cycles)
    elif point is not None:
        if measure and max_instructions is not None:
            roomy = [p for p in points if p.static <= MARGIN * max_instructions]
            point = goal.best(roomy or points)
        return Selection(point, tuple(points), point.static, point.cycles)
    raise _unreachable(module, max_instructions, timing, addresses)


def _unreachable(
    module: ModuleOp, max_instructions: int | None, timing: str, addresses: AddressCost | None
) -> CompileError:
    """The error that names the smallest size."""
    everything = candidates(module, timing=timing, addresses=addresses)
    if not everything:
        return CompileError(
            "no choice of loops keeps every iteration under the watchdog limit",
            "select-loops",
            "Split the program into more loops.",
        )
    smallest = refine(module, everything, Goal("size"), lambda m: _costs(m, timing))
    size = everything[0].static if smallest is None else smallest.static
    return CompileError(
        f"no program of at most {max_instructions} instructions is reachable",
        "select-loops",
        f"The smallest has {size}.",
    )


def _costs(module: ModuleOp, timing: str) -> tuple[int, int]:
    lowered = counted(module, timing)
    return lowered.static, lowered.cycles


def candidates(
    module: ModuleOp,
    *,
    timing: str = DEFAULT_TIMING,
    max_instructions: int | None = None,
    addresses: AddressCost | None = None,
    known: dict[object, list[Option]] | None = None,
    any_length: bool = False,
) -> list[Point]:
    """The best programs of every size under the budget, smallest first, costs as predicted.

    Args:
        known: what may become of loops with straight bodies, for calls with the same machine, profile and addresses to
            share: it is filled and looked up.
        any_length: count loops over very long operands as if these were of one length (`plena.loops.selection.tree`), so
            that the choices do not hang on it; nor do the costs then say anything of it.
    """
    search, parts = _search(module, timing, max_instructions, addresses, known, any_length=any_length)
    return search.frontier(parts)


def predicted(
    module: ModuleOp, timing: str = DEFAULT_TIMING, *, any_length: bool = False
) -> tuple[int, int] | None:
    """Static instructions and cycles of a module in the affine form with its loops as they are, by the same model.

    None: its addresses do not fit the registers. `any_length`: as of `candidates`.
    """
    search, parts = _search(module, timing, any_length=any_length)
    cost = search.kept(parts)
    return None if cost is None else cost[:2]


def _search(
    module: ModuleOp,
    timing: str,
    max_instructions: int | None = None,
    addresses: AddressCost | None = None,
    known: dict[object, list[Option]] | None = None,
    *,
    any_length: bool = False,
) -> tuple[Search, tuple[Part, ...]]:
    """The search, and the loop tree that it is for."""
    target, profile = Target.from_module(module), profile_named(timing, "select-loops")
    machine = Machine(
        addresses or PlannedUpdates(),
        CountedUpdates(),
        target.max_loop_instructions,
        *(profile.cycles(INSTRUCTIONS[m], target) for m in ("S_ADDI_INT", "C_LOOP_START", "C_LOOP_END")),
    )
    legality = Legality(EffectTable(target))
    search = Search(
        machine, lambda loop: nesting_of(loop, legality), max_instructions, {} if known is None else known
    )
    return search, tree_of(module, target, profile, any_length=any_length)


def nesting_of(loop: Loop, legality: Legality) -> Nesting:
    """Which reorderings of a perfect nest keep the meaning."""
    assert loop.op is not None
    if legality.can_interchange(loop.op):
        return Nesting(True, ())
    return Nesting(False, tuple(f for f in loop.factors if legality.can_jam(loop.op, f)))


__all__ = [
    "SelectLoops",
    "Selection",
    "candidates",
    "nesting_of",
    "predicted",
    "select",
]
