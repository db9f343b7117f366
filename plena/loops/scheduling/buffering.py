"""Double buffering: the tiles of the next iteration are loaded beside the products of this one, into other tiles."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Block, Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.plena_isa.spec import Memory
from plena.loops.cloning import Scope, Substitution, clone, for_op, replace
from plena.loops.dependence import conflicting
from plena.loops.effects import Effects, EffectTable
from plena.loops.scheduling.growth import Allowance, size
from plena.loops.scheduling.hosts import iteration_cycles, spread_in_nest
from plena.loops.scheduling.streams import Stream, cycles_of, load_in, shift_tiles, streams_in
from plena.loops.scheduling.tiles import Room, filled, interval
from plena.machine.target import Target
from plena.timing.profile import Profile

MANY = 8
"""From so many iterations on one may wait for its loads if that saves code: of an even number the last one does."""


def double_buffer(block: Block, target: Target, profile: Profile, spare: Room, allowance: Allowance) -> None:
    """Has the loops of a block that load tiles and multiply with them fill two runs of tiles in turn.

    The second run are tiles that nothing else uses. The last iteration uses the first run, so that it holds in the
    end what it did. Loops that wait longest for their loads come first.
    """
    found = [b for op in block.ops if isinstance(op, ForOp) and (b := _Buffering.of(op, target, spare))]
    for buffering in sorted(found, key=lambda b: -b.waits):
        buffering.run(profile, allowance)


class _Buffering:
    """A loop whose loads may run beside its products, one iteration ahead."""

    def __init__(
        self, loop: ForOp, loading: Sequence[Operation], host: ForOp, rooms: tuple[Room, int], target: Target
    ) -> None:
        self.loop, self.loading, self.host, self.target = loop, loading, host, target
        self.room, self.distance = rooms
        loads = streams_in(loading)
        self.waits = loop.trips * sum(s.trips * cycles_of(s, target) for s in loads)

    @staticmethod
    def of(loop: ForOp, target: Target, spare: Room) -> _Buffering | None:
        """None if the loop loads nothing, there are not enough tiles, or results could change."""
        body = [op for op in loop.operations if not isinstance(op, AffineOp)]
        loading = [op for op in body if load_in(op) is not None]
        hosts = [op for op in body if isinstance(op, ForOp) and op not in loading]
        if loop.trips < 3 or not loading or not hosts:
            return None
        if any(op.results for op in body if isinstance(op, Instruction)):
            return None
        table = EffectTable(target)
        streams = streams_in(loading)
        room = filled(loop, streams, table)
        if room is None:
            return None
        place = _place(room, spare, target)
        if place is None or not _may_run_ahead(loop, body, loading, place, table):
            return None
        host = max(hosts, key=lambda op: op.trips * size(op.operations))
        return _Buffering(loop, loading, host, (room, place.start - room.start), target)

    def run(self, profile: Profile, allowance: Allowance) -> None:
        """Rewrites the loop if so many instructions may be added."""
        loop, body = self.loop, size((self.loop,))
        even = loop.trips % 2 == 0
        if iteration_cycles(self.host, self.target, profile) * self.host.trips * loop.trips < self.waits // 4:
            return
        alone = even and loop.trips >= MANY
        if not allowance.take(body * (3 if even and not alone else 2)):
            return
        other = self._in_either()
        scope = Scope()
        streams = [s.flat() for s in streams_in(self.loading)]
        first = int(even and not alone)
        self._load(scope, streams, 0, int(even), other)
        if first:
            self._iteration(scope, streams, Linear(0), Linear(1), other, profile)
        pairs = scope.loop((loop.trips - 1) // 2, loop.attributes)
        both = pairs.loop(2, loop.attributes)
        pairs.index.name_hint = loop.index.name_hint
        position = Linear.of(first, [(pairs.index, 2), (both.index, 1)])
        own = Linear.index(both.index)
        self._iteration(both, streams, position, -own + 1 if alone else own, other, profile)
        both.close()
        pairs.close()
        if alone:
            self._load(scope, streams, loop.trips - 1, 0, other)
            both = scope.loop(2, loop.attributes)
            last = Linear.index(both.index)
            self._rest(both, last + (loop.trips - 2), -last + 1, other)
            both.close()
        else:
            self._rest(scope, Linear(loop.trips - 1), Linear(0), other)
        replace(loop, scope.operations)

    def _load(self, scope: Scope, streams: Sequence[Stream], number: int, own: int, other: SSAValue) -> None:
        """Appends the loads of one iteration."""
        for stream in streams:
            stream.at({self.loop.index: Linear(number), other: Linear(own)}).emit_all(scope)

    def _rest(self, scope: Scope, position: Linear, own: Linear, other: SSAValue) -> None:
        """Appends what one iteration does beside loading."""
        rest = [op for op in self.loop.operations if op not in self.loading]
        clone(rest, scope, Substitution({self.loop.index: position, other: own}))

    def _in_either(self) -> SSAValue:
        """Makes all accesses of the tiles hang on a number, which it returns: whether they are the other ones."""
        index = for_op(2, Block(arg_types=[self.loop.index.type])).index
        reach = (self.room.start, self.room.stop)
        for op in self.loop.operations:
            shift_tiles(op, self.target, reach, Linear.of(0, [(index, self.distance)]))
        return index

    def _iteration(
        self,
        scope: Scope,
        streams: Sequence[Stream],
        position: Linear,
        own: Linear,
        other: SSAValue,
        profile: Profile,
    ) -> None:
        """Appends one iteration with the loads of the next one in its host; `own`: which tiles it reads itself."""
        ahead = [s.at({self.loop.index: position + 1, other: -own + 1}) for s in streams]
        around = Substitution({self.loop.index: position, other: own})
        for op in self.loop.operations:
            if op is self.host:
                spread_in_nest(ahead, self.host, scope, around, self.target, profile)
            elif op not in self.loading:
                clone((op,), scope, around)


def _place(room: Room, spare: Room, target: Target) -> Room | None:
    """As many spare tiles; a tile apart where there is one more: reads of a tile from its middle on may reach behind it
    by some profile, and would wait for the loads there."""
    start = spare.start
    if start == room.stop and start + target.tile + room.size <= spare.stop:
        start += target.tile
    return Room(start, start + room.size) if start + room.size <= spare.stop else None


def _may_run_ahead(
    loop: ForOp, body: Sequence[Operation], loading: Sequence[Operation], place: Room, table: EffectTable
) -> bool:
    """Whether loads may come an iteration earlier, matrix SRAM apart, and nothing else uses `place`."""
    for op in body:
        for effect in table.of(op).get(Memory.MATRIX, ()):
            low, high = interval(effect)
            if low < place.stop and high > place.start:
                return False
    for at, op in enumerate(body):
        if op not in loading:
            continue
        own = _without_tiles(table.of(op))
        if any(conflicting(table.of(o), own, {loop.index: (1, 1)}) for o in body if o not in loading):
            return False
        if any(conflicting(table.of(o), own) for o in body[:at] if o not in loading):
            return False
    return True


def _without_tiles(effects: Effects) -> Effects:
    return {memory: group for memory, group in effects.items() if memory is not Memory.MATRIX}
