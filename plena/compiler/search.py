"""The search over schedules: every candidate is lowered to registers and counted, the best is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TypeAlias

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.buffers.segments import BeyondReach
from plena.compiler.loop_origins import source_loops
from plena.compiler.lowered import choices_of
from plena.compiler.tile_lengths import least_run_and_text
from plena.dialects.loop.nests import longest_iteration
from plena.dialects.plena import AttentionOp, RepeatOp
from plena.dialects.plena_isa import INSTRUCTIONS, Instruction
from plena.dialects.tile import ChoicesAttr
from plena.driver import run_pipeline
from plena.errors import CompileError
from plena.integers import ceil_div
from plena.kernels.product_mix import cheapest_mix, choosable_products, grouped_products
from plena.kernels.schedule import Schedule
from plena.loops.selection.changes import changes_of
from plena.loops.selection.choices import Choice, Option
from plena.loops.selection.goal import GROWTH_OF_UPDATES, Goal
from plena.loops.selection.search import Point
from plena.loops.selection.tree import has_any_length
from plena.machine.target import Target
from plena.passes.apply_loop_choices import ApplyLoopChoices
from plena.passes.convert_plena_to_tile import ConvertPlenaToTile
from plena.passes.emission import EMISSION, Counted, counted
from plena.passes.interleave_iterations import InterleaveIterations
from plena.passes.materialize_addresses import MaterializeAddresses
from plena.passes.pipelines import AFFINE_PIPELINE, BUFFER_PIPELINE, REGISTER_PIPELINE, SCHEDULED_PIPELINE
from plena.passes.schedule_transfers import GROWTH_OF_TRANSFERS, ScheduleTransfers
from plena.passes.select_loops import candidates, predicted
from plena.passes.split_layers import SplitLayers
from plena.program.rationale import Attempt, Rationale, SizePoint, best_by_size
from plena.registers.addressing.extract import has_bases_to_share
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

PROMISING = 2
"""How many schedules have their loops expanded: the best ones without; one if it is tried with loads ahead as well."""

INSTRUCTIONS_PER_USEFUL = 2.2
"""What runs in a layer for each instruction that computes something, loops expanded: addresses and ends of loops take
as much again. Measured: 2.01 in a layer of CLM-60M and of SmolVLM2, 1.73 in one of MiniLM."""

SHARE_OF_ROOM = 0.8
"""How much of what the watchdog leaves in an iteration more products by M_BTMV may take: their size is estimated with
loops expanded, and loops that stay take a tenth more."""

SHARES_FOR_LOADS = (1.0, 0.4, 0.25)
"""How much of what a program may grow loads beside products may take: addresses come on top, up to as much again."""

TRIES_OF_ROOM = 3
"""How often it is tried with less until it fits."""

SHARE_OF_WANTED = 0.8
"""How much less is tried where a program did not need all of its room."""

SHARES_FOR_TURNS = (0.9, 0.8, 0.72, 0.6, 0.45)
"""How much of what is left then rows side by side may take, the first that fits: addresses come on top of what is
added, about one for every two instructions."""

SURELY_TOO_LONG = 1.15
"""A share is not tried from which so many times the room is expected, by what a larger one took; a program not from
which so many times the instructions are."""

CERTAIN = 0.9
"""A prediction at most this part of another one, or of a bound, is not wrong about which is less."""

TRIES = 6
"""How many points of a prediction are lowered to find one that fits a budget."""

LEAST_GAIN = 0.01
"""How much faster a program must be for its addresses to take some lines more without a budget."""

LARGEST_BLOCK = 256
"""Query rows at a time beyond which attention gains nothing."""


def search(kernels: ModuleOp, schedule: Schedule, max_instructions: int | None) -> Candidate:
    """The best lowering of a module of plena kernels, equal layers as a loop if that runs.

    The layer loop only stays when one layer fits the watchdog: an iteration may run so many instructions.

    Raises:
        CompileError: no candidate fits the memories, the watchdog and the budget.
    """
    target = Target.from_module(kernels)
    goal = Goal(schedule.objective, max_instructions)
    found: list[Candidate] = []
    problems: list[CompileError] = []
    for variant in _variants(kernels, problems):
        found.extend(_candidates(variant, schedule, max_instructions, problems))
        found.extend(_sectioned(variant, found, max_instructions))
        found.extend(_paired(variant, found, max_instructions))
        found.extend(_without_row_groups(variant, found, max_instructions))
        found.extend(_of_both_units(variant, found, max_instructions))
        if any(c.program.runs(target) for c in found):
            break
    else:
        found.extend(_parted(kernels, found, problems))
    running = [c for c in found if c.program.runs(target)]
    fitting = [c for c in running if goal.fits(c.static)]
    if not fitting and max_instructions is not None and schedule.objective == "cycles":
        small = _smallest(kernels, schedule, bool(running))
        running.extend(small)
        fitting = [c for c in small if goal.fits(c.static)]
    if fitting:
        best = goal.best(fitting)
        if max_instructions is None:
            grown = _grown(best, target)
            running.extend(grown)
            best = Goal(schedule.objective, growth=GROWTH_OF_UPDATES).best([best, *grown])
        if profile_named(schedule.timing).overlaps:
            scheduled = _scheduled(best, target, _most_of_schedule(best, max_instructions), goal)
            running.extend(scheduled)
            best = goal.best([best, *scheduled])
        shared = _with_shared_bases(best, target)
        running.extend(shared)
        enough = best.cycles if max_instructions else (1 - LEAST_GAIN) * best.cycles
        best = goal.best([best, *(c for c in shared if goal.fits(c.static) and c.cycles <= enough)])
        stuck = [c for c in found if not c.program.runs(target)]
        return replace(best, rationale=_rationale(best, [*running, *stuck]))
    if running:
        smallest = min(c.static for c in running)
        raise CompileError(
            f"no program of at most {max_instructions} instructions was found",
            "options",
            f"The smallest has {smallest}.",
        )
    if problems:
        raise problems[0]
    longest = min(c.program.longest_iteration for c in found)
    raise CompileError(
        f"an iteration of a loop runs {longest:,} instructions, the watchdog allows {target.max_loop_instructions:,}",
        "target",
        "Compile fewer rows at a time.",
    )


def _smallest(kernels: ModuleOp, schedule: Schedule, one_runs: bool) -> list[Candidate]:
    """The program with fewest instructions; where none in a budget runs there may be none at all.

    Raises:
        CompileError: none runs though `one_runs`.
    """
    try:
        return [search(kernels, replace(schedule, objective="size"), None)]
    except CompileError:
        if one_runs:
            raise
        return []


def _variants(kernels: ModuleOp, problems: Sequence[CompileError]) -> Iterator[ModuleOp]:
    """The module with equal layers as a loop, if there are any, and as it is.

    Between them more and shorter loops, as long as `problems` says that the weights of one lie beyond what a base
    address reaches, and that more of them help.
    """
    rolled = kernels.clone()
    run_pipeline(rolled, ("roll-layers",), verified=True)
    layers = max((op.iterations for op in rolled.walk() if isinstance(op, RepeatOp)), default=0)
    parts, pieces = 1, 0
    while layers:
        seen = len(problems)
        yield rolled
        needed = max((p.pieces for p in problems[seen:] if isinstance(p, BeyondReach)), default=0)
        if not needed or parts == layers or 0 < pieces <= needed:
            break
        parts, pieces = min(parts * needed, layers), needed
        rolled = kernels.clone()
        run_pipeline(rolled, ("roll-layers", SplitLayers(parts)), verified=True)
    yield kernels


def _rationale(best: Candidate, tried: Sequence[Candidate]) -> Rationale:
    """What a report says about the choice of the best candidate."""
    assert best.lowering is not None
    target = Target.from_module(best.tiles)
    attempts = (
        Attempt(
            _described(c.schedule) + (", loops expanded" if c.point is not None else ""),
            c.static,
            c.cycles,
            c.program.runs(target),
            c is best,
        )
        for c in tried
    )
    points = next((c.points for c in tried if c.lowering is best.lowering and c.points), ())
    return Rationale(
        attempts=tuple(attempts),
        curve=best_by_size([SizePoint(p.static, p.cycles) for p in points]),
        loops=source_loops(best.lowering.affine, None if best.point is None else best.point.choices),
    )


def _described(schedule: Schedule) -> str:
    """What the search chose in a schedule."""
    plain = Schedule()
    chosen = [
        f.name for f in fields(Schedule) if f.name not in ("objective", "timing", "matmul", "attention")
    ]
    words = [
        f"{name.replace('_', ' ')} {getattr(schedule, name)}"
        for name in chosen
        if getattr(schedule, name) != getattr(plain, name)
    ]
    return ", ".join(words) or "first schedule"


def _candidates(
    kernels: ModuleOp, schedule: Schedule, max_instructions: int | None, problems: list[CompileError]
) -> list[Candidate]:
    """Every schedule with loops as they are, and the most promising ones with loops as select-loops chooses."""
    target = Target.from_module(kernels)
    goal = Goal(schedule.objective, max_instructions)
    lowerings: list[Lowering] = []
    seen: list[ModuleOp] = []
    for option in schedules(kernels, schedule):
        if lowerings and not _worth_trying(option, lowerings, target):
            continue
        try:
            lowering = Lowering.of(kernels, option, seen, shorten=True, give_up=max_instructions is None)
        except _TooLongIteration:
            break
        except CompileError as error:
            problems.append(error)
            continue
        if lowering is not None:
            lowerings.append(lowering)

    def promise(lowering: Lowering) -> tuple[bool, float, int]:
        plain = lowering.plain
        return not plain.program.runs(target), *goal.cost(plain.static, plain.cycles)

    if len(lowerings) > 1:
        lowerings.sort(key=promise)
    found: list[Candidate] = []
    promising = 1 if profile_named(schedule.timing).overlaps else PROMISING
    for lowering in lowerings[:promising]:
        tried = _with_choices(lowering, max_instructions)
        found.extend(tried)
        running = [c for c in tried if c.point is not None and c.program.runs(target)]
        longer = _less_shortened(lowering, running, kernels) if running else None
        if longer is not None:
            shortest = min(running, key=lambda c: c.static)
            room = max_instructions or shortest.static
            found.extend(c for c in _expanded(longer, room, _surplus_of(shortest)) if c.static <= room)
    found.extend(lowering.plain for lowering in lowerings[promising:])
    return found


def _with_choices(lowering: Lowering, max_instructions: int | None) -> list[Candidate]:
    """A lowering with loops as they are, and as select-loops chooses.

    Loops as they are need not be tried where they are out of the question by prediction: a search for cycles without a
    budget expands most loops, and its best point is far ahead.
    """
    schedule = lowering.schedule
    target = Target.from_module(lowering.affine)
    cost = None
    is_open = schedule.objective == "cycles" and max_instructions is None and "plain" not in lowering.__dict__
    if is_open and _length(lowering.affine) <= EXPANDABLE:
        cost = predicted(lowering.affine, schedule.timing, any_length=True)
    if cost is None or cost[0] > CERTAIN * EXPANDABLE:
        plain = [lowering.plain]
        if max_instructions or lowering.plain.static <= EXPANDABLE or not lowering.plain.program.runs(target):
            plain.extend(_expanded(lowering, max_instructions))
        return plain
    expanded = list(_expanded(lowering, None))
    goal = Goal(schedule.objective)
    ahead = (
        c.point is not None
        and c.program.runs(target)
        and goal.cost(c.point.static, c.point.cycles)[0] <= CERTAIN * goal.cost(*cost)[0]
        for c in expanded
    )
    return expanded if any(ahead) else [lowering.plain, *expanded]


def _less_shortened(lowering: Lowering, running: Sequence[Candidate], kernels: ModuleOp) -> Lowering | None:
    """The lowering with more products by M_BTMV, where an iteration of what runs is shorter than was expected."""
    schedule, target = lowering.schedule, Target.from_module(kernels)
    if not schedule.shortening:
        return None
    longest = min(c.program.longest_iteration for c in running)
    room = int(SHARE_OF_ROOM * (target.max_loop_instructions - longest))
    repeats = [op for op in kernels.walk() if isinstance(op, RepeatOp)]
    products = [choosable_products(op, target, schedule) for op in repeats]
    before = [cheapest_mix(choosable, schedule.shortening) for choosable in products]
    shortening = max([0, *(mix.saved - room for mix in before)])
    if before == [cheapest_mix(choosable, shortening) for choosable in products]:
        return None
    longer = Lowering.of(kernels, replace(schedule, shortening=shortening))
    # Most loops are those of the other one: what may become of them is known.
    return None if longer is None else replace(longer, known=lowering.known)


def _sectioned(kernels: ModuleOp, found: list[Candidate], max_instructions: int | None) -> list[Candidate]:
    """Under a budget: attention with as many pieces of code for query blocks that see other keys as pay and fit."""
    target = Target.from_module(kernels)
    running = [c for c in found if c.program.runs(target)]
    if max_instructions is None or not any(c.choices.sections.data > 1 for c in running):
        return []
    goal = Goal(running[0].schedule.objective, max_instructions)
    fitting = [c for c in running if goal.fits(c.static)]
    best = goal.best(fitting) if fitting else Goal("size").best(running)
    options = dict.fromkeys((running[0].schedule, best.schedule))
    added: list[Candidate] = []
    number = best.schedule.sections
    most = max(c.choices.sections.data for c in running)
    while number < most if fitting else number > 1:
        number = number * 2 if fitting else number // 2
        tried = [c for o in options for c in lower(kernels, replace(o, sections=number), max_instructions)]
        added.extend(tried)
        if any(goal.fits(c.static) for c in tried) != bool(fitting):
            break
    return added


def _parted(kernels: ModuleOp, found: list[Candidate], problems: list[CompileError]) -> list[Candidate]:
    """Attention whose loops over heads are expanded into so many parts that an iteration is short enough."""
    target = Target.from_module(kernels)
    heads = [
        op.batch.value.data * op.heads.value.data for op in kernels.walk() if isinstance(op, AttentionOp)
    ]
    tunable = found if heads else []
    parts, parted = 1, list[Candidate]()
    while tunable and not any(c.program.runs(target) for c in tunable):
        shortest = min(tunable, key=lambda c: c.program.longest_iteration)
        excess = ceil_div(shortest.program.longest_iteration, target.max_loop_instructions)
        if shortest.schedule.parts < parts or parts >= max(heads):
            break
        parts = max(parts + 1, shortest.schedule.parts * excess)
        try:
            tunable = [lower_plainly(kernels, replace(shortest.schedule, parts=parts))]
        except CompileError as error:
            problems.append(error)
            break
        parted.extend(tunable)
    return parted


def schedules(kernels: ModuleOp, schedule: Schedule) -> Iterator[Schedule]:
    """The schedules that can be lowered: loop orders of attention and sizes of its query block."""
    yield schedule
    lengths = [op.query_length for op in kernels.walk() if isinstance(op, AttentionOp)]
    blen = Target.from_module(kernels).blen
    block = blen
    while lengths and block < 2 * max(lengths) and block <= LARGEST_BLOCK:
        yield replace(schedule, order="queries", query_block=block)
        block *= 4


def _paired(kernels: ModuleOp, found: list[Candidate], max_instructions: int | None) -> list[Candidate]:
    """The best schedule so far with column blocks in pairs, where its fewer address updates count."""
    choosable = [c for c in found if c.choices.is_free("pairing")]
    if (
        not choosable
        or choosable[0].schedule.objective != "cycles"
        or not updates_count(choosable[0].schedule.timing, Target.from_module(kernels))
    ):
        return []
    best = Goal("cycles", max_instructions).best(choosable)
    try:
        return lower(kernels, replace(best.schedule, pairing=True), max_instructions)
    except CompileError:
        # Not everything that must lie at one address in two memories fits; the plain schedule did.
        return []


def _without_row_groups(
    kernels: ModuleOp, found: list[Candidate], max_instructions: int | None
) -> list[Candidate]:
    """Where a budget leaves no room for expanding loops: the products by M_BTMM that M_BTMV makes group by group.

    It pays only with its loops expanded, and takes more text.
    """
    grouped = [c for c in found if c.choices.is_free("row_groups")]
    if not grouped or max_instructions is None or max_instructions >= 2 * min(c.static for c in grouped):
        return []
    try:
        return lower(kernels, replace(grouped[0].schedule, row_groups=False, shortening=0), max_instructions)
    except CompileError:
        # Packing tiles take room in matrix SRAM; what was found does without.
        return []


def _of_both_units(
    kernels: ModuleOp, found: list[Candidate], max_instructions: int | None
) -> list[Candidate]:
    """Where a budget leaves no room for expanding the loops of all products by M_BTMV: some of them by M_BTMM.

    First those that it makes for the fewest cycles more, twice as many each time until the rest has room.
    """
    grouped = [c for c in found if c.choices.is_free("row_groups")]
    if not grouped or max_instructions is None or max_instructions >= 2 * min(c.static for c in grouped):
        return []
    target, schedule = Target.from_module(kernels), replace(grouped[0].schedule, shortening=0)
    count, tried = 1, list[Candidate]()
    while count < len(grouped_products(kernels, target, schedule)):
        try:
            mixed = lower(kernels, replace(schedule, by_matrices=count), max_instructions)
        except CompileError:
            # Packing tiles take room in matrix SRAM; what was found does without.
            break
        tried.extend(mixed)
        if any(c.static <= max_instructions and c.point is not None for c in mixed):
            break
        count *= 2
    return tried


def _grown(best: Candidate, target: Target) -> list[Candidate]:
    """The best schedule of a search for cycles with more of its loops expanded, where address updates count."""
    schedule = best.schedule
    if schedule.objective != "cycles" or not updates_count(schedule.timing, target):
        return []
    if best.lowering is None or best.static > EXPANDABLE:
        return []
    tried = _expanded(best.lowering, EXPANDABLE)
    return [c for c in tried if c.static <= EXPANDABLE and c.program.runs(target)]


def _with_shared_bases(best: Candidate, target: Target) -> list[Candidate]:
    """The best program with one address for two neighbouring tiles where an instruction adds an offset to it."""
    lowering = best.lowering
    if lowering is None or profile_named(best.schedule.timing).overlaps or best.schedule.machine == "rtl":
        return []
    choices = () if best.point is None else best.point.choices
    affine = lowering.affine
    instructions = {type(op) for op in affine.walk() if isinstance(op, Instruction)}
    if not any(slot.adds_to for kind in instructions for slot in kind.SPEC.slots):
        return []
    if choices:
        affine = affine.clone()
        changes = tuple(str(change) for change in changes_of(choices))
        run_pipeline(affine, (ApplyLoopChoices(changes),), verified=True)
    if not has_bases_to_share(affine):
        return []
    sharing = replace(lowering, share_bases=True).candidate(choices)
    found = replace(sharing, lowering=lowering, points=best.points, point=best.point)
    return [found] if found.program.runs(target) else []


def _most_of_schedule(best: Candidate, max_instructions: int | None) -> int:
    """How many instructions a program may have whose order a schedule changes."""
    most = int(best.static * GROWTH_OF_TRANSFERS)
    return most if max_instructions is None else min(most, max_instructions)


def _scheduled(best: Candidate, target: Target, most: int, goal: Goal) -> list[Candidate]:
    """The best schedule with transfers beside other work and iterations of vector work side by side, in at most so many
    instructions.

    Every one of them takes a simulation of the program, so with less of the first only as long as that has paid.
    """
    found: list[Candidate] = []
    for ahead in _loading_ahead(best, target, most):
        found.extend(_side_by_side(ahead, target, most) or [ahead])
        costs = [goal.cost(c.static, c.cycles) for c in found[-2:]]
        if costs[-1] > costs[0]:
            break
    if all(c.cycles > CERTAIN * best.cycles for c in found):
        found.extend(_side_by_side(best, target, most))
    return found


def _side_by_side(best: Candidate, target: Target, most: int) -> list[Candidate]:
    """A candidate with iterations of vector work side by side, if that fits and the profile knows latencies."""
    lowering, room = best.lowering, most - best.static
    if lowering is None or profile_named(best.schedule.timing).work is None or room <= 0:
        return []
    if best.schedule.objective != "cycles":
        return []
    likely = 1.0
    for share in SHARES_FOR_TURNS:
        if share > likely:
            continue
        interleave = InterleaveIterations(best.schedule.timing, room=int(room * share))
        choices = () if best.point is None else best.point.choices
        found = replace(lowering.candidate(choices, (interleave,)), points=best.points, point=best.point)
        if found.static <= most and found.program.runs(target):
            return [found]
        likely = share * SURELY_TOO_LONG * room / max(1, found.static - best.static)
    return []


def _loading_ahead(best: Candidate, target: Target, most: int) -> Iterator[Candidate]:
    """The best schedule with transfers beside other work, in at most so many instructions.

    Where products hide loads as well there may be much of that: then with less of it too, so that there is room for
    rows side by side.
    """
    if best.lowering is None or best.schedule.objective != "cycles":
        return
    hides_much = profile_named(best.schedule.timing).beside_products
    known = [best.lowering]
    for share in SHARES_FOR_LOADS if hides_much else (1.0,):
        ahead = _ahead_within(best, share, target, most, known)
        if ahead is not None:
            yield ahead


def _ahead_within(
    best: Candidate, share: float, target: Target, most: int, known: list[Lowering]
) -> Candidate | None:
    """With as many loads ahead as fill a share of what the best schedule may grow; None if nothing new fits.

    Addresses come on top of what loads ahead are counted by: if they take too much, there are fewer of those.

    Args:
        known: what was tried before, to which this adds.
    """
    assert best.lowering is not None
    left = max(0, most - best.static)
    room, surplus, before = int(share * left), _surplus_share(best), len(known)
    for _ in range(TRIES_OF_ROOM):
        lowering = best.lowering.loading_ahead(room)
        while _is_one_of(lowering, known[before:]) and room > 0:
            # All of this room was not needed.
            room = min(room - 1, int(SHARE_OF_WANTED * room))
            lowering = best.lowering.loading_ahead(room)
        if _is_one_of(lowering, known):
            return None
        known.append(lowering)
        points = candidates(
            lowering.affine, timing=best.schedule.timing, max_instructions=most, known=lowering.known
        )
        expected = int(points[0].static * surplus) if points else best.static + 2 * left
        if points and expected <= SURELY_TOO_LONG * most:
            found = _within(lowering, points, most)
            if found.static <= most and found.program.runs(target):
                return found
            expected = found.static
        room = min(room - 1, room * left // max(1, expected - best.static))
    return None


def _is_one_of(lowering: Lowering, others: Sequence[Lowering]) -> bool:
    """Whether the affine form is that of another lowering."""
    return any(lowering.affine.body.is_structurally_equivalent(other.affine.body) for other in others)


def _surplus_share(candidate: Candidate) -> float:
    """How many times the predicted instructions a program has."""
    assert candidate.lowering is not None
    if candidate.point is not None:
        return candidate.static / candidate.point.static
    cost = predicted(candidate.lowering.affine, candidate.schedule.timing)
    return 1.0 if cost is None else candidate.static / cost[0]


def _within(lowering: Lowering, points: Sequence[Point], most: int) -> Candidate:
    """The lowering with loops as is best in at most so many instructions; if that is too few, in as few as can be.

    By how much the shortest exceeds what was predicted says what the others will take.

    Args:
        points: at least one, the shortest first.
    """

    def lowered(point: Point) -> Candidate:
        return replace(lowering.candidate(point.choices), points=tuple(points), point=point)

    shortest = lowered(points[0])
    surplus = _surplus_of(shortest)
    best = Goal().best([p for p in points if p.static + surplus <= most] or points[:1])
    if best is points[0]:
        return shortest
    longer = lowered(best)
    return Goal().best([shortest, longer]) if longer.static <= most else shortest


def updates_count(timing: str, target: Target) -> bool:
    """Whether products overlap, so that a block takes fewer cycles than the MLEN terms of its sums."""
    product = profile_named(timing).cycles(INSTRUCTIONS["M_MM"], target)
    return product < max(target.mlen, target.blen + 1)


def _worth_trying(option: Schedule, lowerings: Sequence[Lowering], target: Target) -> bool:
    """Whether another schedule can matter: kernels heed it, and the search is for cycles or nothing runs yet."""
    if not choices_of(lowerings[-1].tiles).is_free("order"):
        return False
    return option.objective == "cycles" or not any(each.plain.program.runs(target) for each in lowerings)


def lower(kernels: ModuleOp, schedule: Schedule, max_instructions: int | None) -> list[Candidate]:
    """Copies of the module lowered to allocated registers: loops as they are, and as select-loops chooses."""
    lowering = Lowering.of(kernels, schedule)
    assert lowering is not None
    return _with_choices(lowering, max_instructions)


def lower_plainly(kernels: ModuleOp, schedule: Schedule) -> Candidate:
    """A copy of the module lowered to allocated registers, loops as they are."""
    lowering = Lowering.of(kernels, schedule)
    assert lowering is not None
    return lowering.plain


class _TooLongIteration(Exception):
    """What an iteration over layers computes takes more instructions than the watchdog allows, whatever is chosen."""


def _is_too_long(iteration: int, text: int, target: Target) -> bool:
    """Whether a loop over layers is too long for the watchdog, and too much text to be expanded."""
    return CERTAIN * iteration > target.max_loop_instructions and CERTAIN * text > EXPANDABLE


def _length(affine: ModuleOp) -> int:
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
            _TooLongIteration: that would not suffice, and it would `give_up` since the loop over layers is too long to
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
                raise _TooLongIteration
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
            if give_up and _is_too_long(useful - left, _length(affine), target):
                raise _TooLongIteration
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

    def candidate(self, choices: tuple[Choice, ...] = (), then: tuple[Pass, ...] = ()) -> Candidate:
        """A candidate with these changes of the loops of the affine module, and these passes behind them."""
        changes = tuple(str(change) for change in changes_of(choices))
        applied = (ApplyLoopChoices(changes),) if changes else ()
        passes: tuple[Pass, ...] = (*applied, *then, *self.emission)
        return Candidate(
            self.schedule,
            self.tiles,
            counted(self.affine.clone(), self.schedule.timing, passes, verified=True),
            (*self.passes, *passes),
            (*choices_of(self.tiles).lines, *(f"loop of {c.loop.true_trips}: {c}" for c in choices)),
            lowering=self,
        )


def _surplus_of(candidate: Candidate) -> int:
    """How much longer a program with choices has become than was predicted."""
    assert candidate.point is not None
    return max(0, candidate.static - candidate.point.static)


def _expanded(lowering: Lowering, max_instructions: int | None, surplus: int = 0) -> Iterator[Candidate]:
    """Loops as the objective wants them. Predicted sizes are near the real ones: tighter budgets make up for that.

    `surplus`: by how much they are expected to exceed the prediction: what would not fit then is not lowered.
    """
    affine, schedule = lowering.affine, lowering.schedule
    budget = None if schedule.objective == "size" else max_instructions
    room = None if budget is None else budget - surplus
    points = candidates(
        affine, timing=schedule.timing, max_instructions=room, known=lowering.known, any_length=True
    )
    exact = () if has_any_length(affine) else tuple(points)

    def apply(point: Point) -> Candidate:
        return replace(lowering.candidate(point.choices), points=exact, point=point)

    goal = Goal(schedule.objective, budget)
    for _ in range(TRIES if budget is not None else 1):
        fitting = [p for p in points if room is None or p.static <= room]
        if not fitting:
            return
        point = goal.best(fitting)
        result = apply(point)
        yield result
        if room is None or budget is None or goal.fits(result.static):
            return
        room = min(room - (result.static - budget), point.static - 1)
