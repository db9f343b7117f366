"""Loads moved up to the vector work before them, the first iterations of a loop into tiles that nothing else uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from xdsl.ir import Block, Operation

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa.spec import Memory, Mode
from plena.loops.cloning import Scope, Substitution, replace
from plena.loops.dependence import conflicting
from plena.loops.effects import Effect, Effects, EffectTable
from plena.loops.expansion import section
from plena.loops.scheduling.growth import Allowance, added_by_spreading, size
from plena.loops.scheduling.hosts import may_host, spread
from plena.loops.scheduling.streams import load_in, shift_tiles, stream_of, streams_in
from plena.loops.scheduling.tiles import Room, filled
from plena.machine.target import Target
from plena.timing.profile import Profile


def split_for_preloading(block: Block, target: Target, spare: Room, allowance: Allowance) -> None:
    """Cuts loops of products where tiles nothing else uses can take the loads of their first iterations earlier.

    Those loads then stand before the loop, for `move_up`.
    """
    for op in list(block.ops):
        if isinstance(op, ForOp) and load_in(op) is None:
            _split(op, target, spare, allowance)


def _split(loop: ForOp, target: Target, spare: Room, allowance: Allowance) -> None:
    loading = [op for op in loop.operations if load_in(op) is not None]
    streams = streams_in(loading)
    if not streams:
        return
    table = EffectTable(target)
    room = filled(loop, streams, table)
    if room is None:
        return
    moved = [_elsewhere(table.of(op), spare) for op in loading]
    loads = sum(s.trips for s in streams)
    trips = min(loop.trips - 1, spare.size // room.size, _ahead_of(loop, moved, table) // loads)
    if trips < 2:
        return
    others = [table.of(op) for op in loop.operations if op not in loading]
    if any(
        conflicting(own, theirs, {loop.index: (1 - trips, -1)}) or conflicting(own, theirs)
        for own in moved
        for theirs in others
    ):
        return
    if not allowance.take(size((loop,))):
        return
    scope = Scope()
    first = section(loop, scope, 0, trips)
    section(loop, scope, trips, loop.trips - trips)
    assert first is not None
    replace(loop, scope.operations)
    shift_tiles(
        first,
        target,
        (room.start, room.stop),
        Linear.of(spare.start - room.start, [(first.index, room.size)]),
    )
    before = Scope()
    for op in first.operations:
        stream = stream_of(op)
        if stream is not None:
            stream.around(first.index, trips).flat().emit_all(before)
            replace(op, ())
    parent = first.parent_block()
    assert parent is not None
    parent.insert_ops_before(before.operations, first)


def _elsewhere(effects: Effects, spare: Room) -> Effects:
    """The effects of a load that fills spare tiles instead of its own."""
    filled_tiles = Effect(Memory.MATRIX, Mode.WRITE, Linear(spare.start), width=spare.size)
    return {**effects, Memory.MATRIX: (filled_tiles,)}


def _ahead_of(loop: ForOp, moved: Sequence[Effects], table: EffectTable) -> int:
    """How many iterations of hosts stand before a loop, as far up as what loads with these effects may move."""
    found = 0
    op = loop.prev_op
    while op is not None:
        theirs = table.of(op)
        if any(conflicting(theirs, own) for own in moved):
            break
        if may_host(op):
            found += op.trips
        op = op.prev_op
    return found


def move_up(block: Block, target: Target, profile: Profile, allowance: Allowance) -> None:
    """Moves the loads that stand in a block into the nearest hosts before them, as far as that may be."""
    table = EffectTable(target)
    taken: dict[ForOp, list[Operation]] = defaultdict(list)
    for op in list(block.ops):
        if load_in(op) is not None:
            host = _host_before(op, table, taken)
            if host is not None and allowance.take(added_by_spreading(1, host)):
                taken[host].append(op)
    for host, loads in taken.items():
        scope = Scope()
        spread([s.flat() for s in streams_in(loads)], host, scope, Substitution(), target, profile)
        for op in loads:
            replace(op, ())
        replace(host, scope.operations)


def _host_before(op: Operation, table: EffectTable, taken: Mapping[ForOp, list[Operation]]) -> ForOp | None:
    """The nearest host with iterations left that a load may move to."""
    own = table.of(op)
    stream = stream_of(op)
    assert stream is not None
    above = op.prev_op
    while above is not None:
        if not isinstance(above, AffineOp) and conflicting(table.of(above), own):
            return None
        if may_host(above):
            used = sum(s.trips for s in streams_in(taken.get(above, ())))
            if used + stream.trips <= above.trips:
                return above
        above = above.prev_op
    return None
