"""Schedules that are tried beside those that every module has: what gets better by another unit, order or address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xdsl.dialects.builtin import ModuleOp

from plena.compiler.candidate import EXPANDABLE, Candidate, Lowering, lower_plainly
from plena.compiler.loop_choice import lower, with_loops_expanded
from plena.dialects.plena import AttentionOp, RepeatOp
from plena.dialects.plena_isa import INSTRUCTIONS, Instruction
from plena.errors import CompileError
from plena.integers import ceil_div
from plena.kernels.product_mix import cheapest_mix, choosable_products, grouped_products
from plena.loops.selection.goal import Goal
from plena.machine.target import Target
from plena.registers.addressing.extract import has_bases_to_share
from plena.timing.registry import profile_named

SHARE_OF_ROOM = 0.8
"""How much of what the watchdog leaves in an iteration more products by M_BTMV may take: their size is estimated with
loops expanded, and loops that stay take a tenth more."""


def less_shortened(lowering: Lowering, running: Sequence[Candidate], kernels: ModuleOp) -> Lowering | None:
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


def in_sections(kernels: ModuleOp, found: list[Candidate], max_instructions: int | None) -> list[Candidate]:
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


def in_parts(kernels: ModuleOp, found: list[Candidate], problems: list[CompileError]) -> list[Candidate]:
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


def in_pairs(kernels: ModuleOp, found: list[Candidate], max_instructions: int | None) -> list[Candidate]:
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


def without_row_groups(
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


def of_both_units(kernels: ModuleOp, found: list[Candidate], max_instructions: int | None) -> list[Candidate]:
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


def updates_count(timing: str, target: Target) -> bool:
    """Whether products overlap, so that a block takes fewer cycles than the MLEN terms of its sums."""
    product = profile_named(timing).cycles(INSTRUCTIONS["M_MM"], target)
    return product < max(target.mlen, target.blen + 1)


def with_more_expanded(best: Candidate, target: Target) -> list[Candidate]:
    """The best schedule of a search for cycles with more of its loops expanded, where address updates count."""
    schedule = best.schedule
    if schedule.objective != "cycles" or not updates_count(schedule.timing, target):
        return []
    if best.lowering is None or best.static > EXPANDABLE:
        return []
    tried = with_loops_expanded(best.lowering, EXPANDABLE)
    return [c for c in tried if c.static <= EXPANDABLE and c.program.runs(target)]


def with_shared_bases(best: Candidate, target: Target) -> list[Candidate]:
    """The best program with one address for two neighbouring tiles where an instruction adds an offset to it."""
    lowering = best.lowering
    if lowering is None or profile_named(best.schedule.timing).overlaps or best.schedule.machine == "rtl":
        return []
    instructions = {type(op) for op in lowering.affine.walk() if isinstance(op, Instruction)}
    if not any(slot.adds_to for kind in instructions for slot in kind.SPEC.slots):
        return []
    choices = () if best.point is None else best.point.choices
    if not has_bases_to_share(lowering.with_choices(choices)):
        return []
    sharing = replace(lowering, share_bases=True).candidate(choices)
    found = replace(sharing, lowering=lowering, points=best.points, point=best.point)
    return [found] if found.program.runs(target) else []
