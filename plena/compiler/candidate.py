"""A module of plena kernels under a schedule: its lowering, and the programs that come of it, with their costs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.compiler.lowered import choices_of
from plena.compiler.tile_lengths import least_run_and_text
from plena.dialects.loop.nests import longest_iteration
from plena.dialects.plena import RepeatOp
from plena.dialects.plena_isa import Instruction
from plena.dialects.tile import ChoicesAttr
from plena.driver import run_pipeline
from plena.kernels.product_mix import choosable_products
from plena.kernels.schedule import Schedule
from plena.loops.selection.changes import changes_of
from plena.loops.selection.choices import Choice, Option
from plena.loops.selection.search import Point
from plena.machine.target import Target
from plena.passes.apply_loop_choices import ApplyLoopChoices
from plena.passes.convert_plena_to_tile import ConvertPlenaToTile
from plena.passes.emission import EMISSION, Counted, counted
from plena.passes.materialize_addresses import MaterializeAddresses
from plena.passes.pipelines import AFFINE_PIPELINE, BUFFER_PIPELINE, REGISTER_PIPELINE, SCHEDULED_PIPELINE
from plena.passes.schedule_transfers import ScheduleTransfers
from plena.passes.split_layers import SplitLayers
from plena.program.rationale import Rationale
from plena.timing.registry import profile_named

Pass: TypeAlias = str | ModulePass
"""A pass, by its name alone if its options have their default."""


@dataclass(frozen=True)
class Candidate:
    """One lowering: its schedule, the module at the tile level, and the program with what it costs.

    `point` of `points` says what became of the loops of `lowering`, None that they are as they were. `rationale` is
    that of the best one of a search. `passes` make the program of the module of plena kernels.
    """

    schedule: Schedule
    tiles: ModuleOp
    program: Counted
    passes: tuple[Pass, ...] = ()
    decisions: tuple[str, ...] = ()
    lowering: Lowering | None = field(default=None, repr=False)
    points: tuple[Point, ...] = field(default=(), repr=False)
    point: Point | None = None
    rationale: Rationale = field(default_factory=Rationale, repr=False)

    @property
    def choices(self) -> ChoicesAttr:
        """What the conversion to tiles could have chosen otherwise."""
        return choices_of(self.tiles)

    @property
    def static(self) -> int:
        """Instructions in the text."""
        return self.program.static

    @property
    def cycles(self) -> int:
        """Cycles by the profile of the schedule."""
        return self.program.cycles


EXPANDABLE = 1000
"""Static instructions above which loops are only expanded if a budget asks for it."""

INSTRUCTIONS_PER_USEFUL = 2.2
"""What runs in a layer for each instruction that computes something, loops expanded: addresses and ends of loops take
as much again. Measured: 2.01 in a layer of CLM-60M and of SmolVLM2, 1.73 in one of MiniLM."""

CERTAIN = 0.9
"""A prediction at most this part of another one, or of a bound, is not wrong about which is less."""


class TooLongIteration(Exception):
    """What an iteration over layers computes takes more instructions than the watchdog allows, whatever is chosen."""


def _is_too_long(iteration: int, text: int, target: Target) -> bool:
    """Whether a loop over layers is too long for the watchdog, and too much text to be expanded."""
    return CERTAIN * iteration > target.max_loop_instructions and CERTAIN * text > EXPANDABLE


def length(affine: ModuleOp) -> int:
    """Instructions in the text, without those for addresses."""
    return sum(isinstance(op, Instruction) for op in affine.walk())


def _most_saved(op: RepeatOp, target: Target, schedule: Schedule) -> int:
    """The most instructions of an iteration that M_BTMM saves where M_BTMV would be chosen."""
    return sum(mix.saved for mix in choosable_products(op, target, schedule))


@dataclass(frozen=True)
class Lowering:
    """A module at the tile level and in affine form; `passes` make the affine form of the module of plena kernels."""

    schedule: Schedule
    tiles: ModuleOp
    affine: ModuleOp
    passes: tuple[Pass, ...]
    known: dict[object, list[Option]] = field(default_factory=dict[object, list[Option]], repr=False)
    share_bases: bool = False

    @property
    def emission(self) -> tuple[Pass, ...]:
        """The passes from the affine form to allocated registers."""
        passes: tuple[Pass, ...] = (
            EMISSION if profile_named(self.schedule.timing).overlaps else REGISTER_PIPELINE
        )
        rtl = self.schedule.machine == "rtl"
        if rtl or self.share_bases:
            planned = MaterializeAddresses(machine=self.schedule.machine, share_bases=self.share_bases)
            passes = tuple(planned if named == planned.name else named for named in passes)
        return (*passes, "guard-hazards") if rtl else passes

    @cached_property
    def plain(self) -> Candidate:
        """The candidate with loops as they are."""
        return self.candidate()

    @staticmethod
    def of(
        kernels: ModuleOp,
        schedule: Schedule,
        seen: list[ModuleOp] | None = None,
        *,
        shorten: bool = False,
        give_up: bool = False,
    ) -> Lowering | None:
        """The module under a schedule; None if its tiles are those of a module `seen` before.

        To `shorten`: with fewer products by M_BTMV if an iteration over layers would be too long for the watchdog.

        Raises:
            TooLongIteration: that would not suffice, and it would `give_up` since the loop over layers is too long to
                be expanded either.
        """
        conversion = ConvertPlenaToTile.of(schedule)
        tiles = kernels.clone()
        run_pipeline(tiles, (conversion,), verified=True)
        repeats = [op for op in kernels.walk() if isinstance(op, RepeatOp)]
        target = Target.from_module(kernels)
        left = 0
        if repeats:
            left = max(0, max(_most_saved(op, target, schedule) for op in repeats) - schedule.shortening)
            least, text = least_run_and_text(tiles)
            # Before anything is placed and lowered: that takes a third of the time of a module that is too long.
            if give_up and _is_too_long(least - left, text, target):
                raise TooLongIteration
        if seen is not None:
            if any(tiles.body.is_structurally_equivalent(other.body) for other in seen):
                return None
            if choices_of(tiles).is_free("order"):
                seen.append(tiles.clone())
        run_pipeline(tiles, BUFFER_PIPELINE, verified=True)
        affine = tiles.clone()
        passes = SCHEDULED_PIPELINE if profile_named(schedule.timing).overlaps else AFFINE_PIPELINE
        run_pipeline(affine, passes[:1], verified=True)
        if repeats:
            useful = longest_iteration(affine)
            if give_up and _is_too_long(useful - left, length(affine), target):
                raise TooLongIteration
            excess = int(INSTRUCTIONS_PER_USEFUL * useful) - target.max_loop_instructions
            if shorten and excess > 0 and choices_of(tiles).is_free("shortening"):
                return Lowering.of(kernels, replace(schedule, shortening=excess), give_up=give_up)
        run_pipeline(affine, passes[1:], verified=True)
        loops = len(repeats)
        before: tuple[Pass, ...] = ("roll-layers",) if loops else ()
        if loops > 1:
            before = (*before, SplitLayers(loops))
        return Lowering(schedule, tiles, affine, (*before, conversion, *BUFFER_PIPELINE, *passes))

    def loading_ahead(self, room: int) -> Lowering:
        """The same with loads ahead of what needs them, for about so many instructions more."""
        schedule_transfers = ScheduleTransfers(self.schedule.timing, room=room)
        affine = self.affine.clone()
        run_pipeline(affine, (schedule_transfers,), verified=True)
        return replace(self, affine=affine, passes=(*self.passes, schedule_transfers))

    def with_choices(self, choices: tuple[Choice, ...]) -> ModuleOp:
        """A copy of the affine module with these changes of its loops."""
        affine = self.affine.clone()
        run_pipeline(affine, _applied(choices), verified=True)
        return affine

    def candidate(
        self,
        choices: tuple[Choice, ...] = (),
        then: tuple[Pass, ...] = (),
        changed: ModuleOp | None = None,
    ) -> Candidate:
        """A candidate with these changes of the loops of the affine module, and these passes behind them.

        `changed`: the affine module as all of them leave it, if they ran already; it is lowered in place.
        """
        before = (*_applied(choices), *then)
        module, left = (self.affine.clone(), before) if changed is None else (changed, ())
        return Candidate(
            self.schedule,
            self.tiles,
            counted(module, self.schedule.timing, (*left, *self.emission), verified=True),
            (*self.passes, *before, *self.emission),
            (*choices_of(self.tiles).lines, *(f"loop of {c.loop.true_trips}: {c}" for c in choices)),
            lowering=self,
        )


def _applied(choices: tuple[Choice, ...]) -> tuple[Pass, ...]:
    """The pass that changes loops, if any are changed."""
    changes = tuple(str(change) for change in changes_of(choices))
    return (ApplyLoopChoices(changes),) if changes else ()


def lower_plainly(kernels: ModuleOp, schedule: Schedule) -> Candidate:
    """A copy of the module lowered to allocated registers, loops as they are."""
    lowering = Lowering.of(kernels, schedule)
    assert lowering is not None
    return lowering.plain
