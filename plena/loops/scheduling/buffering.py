"""Double buffering: the tiles of the next iteration are loaded beside the products of this one, into other tiles."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from xdsl.ir import Block, Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.plena_isa.spec import Memory
from plena.loops.cloning import Scope, Substitution, clone, for_op, replace
from plena.loops.dependence import conflicting
from plena.loops.effects import Effects, EffectTable
from plena.loops.scheduling.growth import Allowance, size
from plena.loops.scheduling.hosts import iteration_cycles, spread_in_nest
from plena.loops.scheduling.reach import Reach
from plena.loops.scheduling.streams import Stream, cycles_of, load_in, shift_tiles, streams_in
from plena.loops.scheduling.tiles import Room, filled, interval
from plena.machine.target import Target
from plena.timing.profile import Profile

MANY = 8
"""From so many iterations on one may wait for its loads, or load for nobody, if that saves code: of an even number."""


def shared_out(
    operations: Iterable[Operation],
    target: Target,
    profile: Profile,
    spare: Room,
    allowance: Allowance,
    reach: Reach,
) -> tuple[set[ForOp], Allowance]:
    """The loops of a program that are not worth their instructions, and what the others may add.

    The others hide most, together, of what fits the allowance; what they add is taken from it.
    """
    if allowance.left is None:
        return set(), allowance
    best: dict[int, tuple[int, tuple[ForOp, ...]]] = {0: (0, ())}
    found = list(_everywhere(operations, 1, target, profile, spare, reach))
    for loop, hidden, added in found:
        for taken, (before, loops) in list(best.items()):
            more = before + hidden, (*loops, loop)
            if taken + added <= allowance.left and more[0] > best.get(taken + added, (0,))[0]:
                best[taken + added] = more
    _, chosen = max(best.values(), key=lambda entry: entry[0])
    added = sum(added for loop, _, added in found if loop in chosen)
    allowance.take(added)
    return {loop for loop, _, _ in found if loop not in chosen}, Allowance(added)


def _everywhere(
    operations: Iterable[Operation], times: int, target: Target, profile: Profile, spare: Room, reach: Reach
) -> Iterator[tuple[ForOp, int, int]]:
    """The loops that may fill two runs of tiles, the cycles that they then hide at most, and the instructions that this
    adds; operations run so many `times`."""
    for op in operations:
        if isinstance(op, ForOp):
            buffering = _Buffering.of(op, target, profile, spare, reach)
            if buffering is not None:
                yield op, buffering.waits * times, buffering.added
            yield from _everywhere(op.operations, times * op.trips, target, profile, spare, reach)


def double_buffer(
    block: Block,
    target: Target,
    profile: Profile,
    spare: Room,
    allowance: Allowance,
    reach: Reach,
    *,
    halves: bool = False,
    but: Container[Operation] = (),
) -> list[ForOp]:
    """Has the loops of a block that load tiles and multiply with them fill two runs of tiles in turn.

    With `halves` only those whose iterations are halves of others', before anything else is done with them; none of
    `but`. Returns the loops whose iterations load the tiles of the next. The last one may load what lies behind its
    tensor, for nobody, as far as the program's `reach` in HBM.

    The second run are tiles that nothing else uses. The last iteration uses the first run, so that it holds in the
    end what it did. Loops that wait longest for their loads come first.
    """
    loops = [op for op in block.ops if isinstance(op, ForOp) and op not in but]
    found = [b for op in loops if (b := _Buffering.of(op, target, profile, spare, reach))]
    found = [b for b in found if b.around is not None or not halves]
    made = [buffering.run(profile, allowance) for buffering in sorted(found, key=lambda b: -b.waits)]
    return [loop for loop in made if loop is not None]


Position = dict[SSAValue, Linear]
"""Indices of loops, and where they are."""


class _Buffering:
    """A loop whose loads may run beside its products, one iteration ahead.

    Or a loop `around` one of two iterations, its loads one behind the other over all of both.
    """

    def __init__(
        self,
        loop: ForOp,
        around: ForOp | None,
        loading: Sequence[Operation],
        host: ForOp,
        rooms: tuple[Room, int],
        target: Target,
        reach: Reach,
    ) -> None:
        self.loop, self.around, self.loading, self.host, self.target = loop, around, loading, host, target
        self.room, self.distance = rooms
        self.reach = reach
        self.trips = loop.trips * (1 if around is None else around.trips)
        loads = streams_in(loading)
        self.waits = self.trips * sum(s.trips * cycles_of(s, target) for s in loads)

    @staticmethod
    def of(loop: ForOp, target: Target, profile: Profile, spare: Room, reach: Reach) -> _Buffering | None:
        """None if the loop loads nothing, there are not enough tiles, or results could change."""
        body, around = _body(loop), None
        if len(body) == 1 and isinstance(body[0], ForOp) and body[0].trips == 2 and loop.trips * 2 >= MANY:
            loop, around = body[0], loop
            body = _body(loop)
        loading = [op for op in body if load_in(op) is not None]
        hosts = [op for op in body if isinstance(op, ForOp) and op not in loading]
        if (loop.trips < 3 and around is None) or not loading or not hosts:
            return None
        if any(op.results for op in body if isinstance(op, Instruction)):
            return None
        table = EffectTable(target)
        streams = streams_in(loading)
        if around is not None and not all(_follow(s, around, loop) for s in streams):
            return None
        room = filled(loop, streams, table)
        if room is None:
            return None
        place = _place(room, spare, target)
        ahead = {loop.index: (1, 1)} if around is None else {around.index: (0, 1), loop.index: (-1, 1)}
        if place is None or not _may_run_ahead(ahead, body, loading, place, table):
            return None
        host = max(hosts, key=lambda op: op.trips * iteration_cycles(op, target, profile))
        return _Buffering(loop, around, loading, host, (room, place.start - room.start), target, reach)

    @property
    def even(self) -> bool:
        """Whether the last iteration would not use the first run of tiles."""
        return self.trips % 2 == 0

    @cached_property
    def beyond(self) -> bool:
        """Whether, to make up for that, the last iteration loads what lies behind, for nobody."""
        return self.even and self.trips >= MANY and self._may_load_behind()

    @property
    def alone(self) -> bool:
        """Whether one iteration waits for its loads instead."""
        return self.even and self.trips >= MANY and not self.beyond

    @property
    def added(self) -> int:
        """Instructions that it adds, about."""
        copies = 1 if self.beyond else 2 if self.alone or not self.even else 3
        return size((self.around or self.loop,)) * copies

    def _may_load_behind(self) -> bool:
        """Whether the loads of one more iteration lie where the program loads from anyway."""
        for op in self.loading:
            found = load_in(op)
            assert found is not None
            load, _ = found
            step = load.address("off").coefficient(self.loop.index)
            if step < 0 or not self.reach.holds(load, step):
                return False
        return True

    def run(self, profile: Profile, allowance: Allowance) -> ForOp | None:
        """Rewrites the loop if so many instructions may be added; returns the steady one, of two iterations."""
        loop, trips = self.around or self.loop, self.trips
        if iteration_cycles(self.host, self.target, profile) * self.host.trips * trips < self.waits // 4:
            return None
        if not allowance.take(self.added):
            return None
        even, alone, beyond = self.even, self.alone, self.beyond
        other = self._in_either()
        scope = Scope()
        streams = [s.flat() for s in streams_in(self.loading)]
        first = int(even and not alone and not beyond)
        self._load(scope, streams, self._at(Linear(0), Linear(0), 0), int(even), other)
        if first:
            self._iteration(scope, streams, self._at(Linear(0), Linear(0), 0), Linear(1), other, profile)
        pairs = scope.loop((trips - 1) // 2 + beyond, loop.attributes)
        both = pairs.loop(2, loop.attributes)
        pairs.index.name_hint = self.loop.index.name_hint
        own = Linear.index(both.index)
        position = self._at(Linear.index(pairs.index), own, first)
        self._iteration(both, streams, position, -own + 1 if alone or beyond else own, other, profile)
        steady = both.close()
        pairs.close()
        if beyond:
            pass
        elif alone:
            pair = Linear(trips // 2 - 1)
            self._load(scope, streams, self._at(pair, Linear(1), 0), 0, other)
            both = scope.loop(2, loop.attributes)
            own = Linear.index(both.index)
            self._rest(both, self._at(pair, own, 0), -own + 1, other)
            both.close()
        else:
            self._rest(scope, self._at(Linear((trips - 1) // 2), Linear(0), first), Linear(0), other)
        replace(loop, scope.operations)
        return steady

    def _at(self, pair: Linear, number: Linear, first: int) -> Position:
        """The indices of iteration `number` of a pair of them, behind `first` others."""
        if self.around is not None:
            return {self.around.index: pair, self.loop.index: number}
        return {self.loop.index: pair * 2 + number + first}

    def _load(
        self, scope: Scope, streams: Sequence[Stream], position: Position, own: int, other: SSAValue
    ) -> None:
        """Appends the loads of one iteration."""
        for stream in streams:
            stream.at({**position, other: Linear(own)}).emit_all(scope)

    def _rest(self, scope: Scope, position: Position, own: Linear, other: SSAValue) -> None:
        """Appends what one iteration does beside loading."""
        rest = [op for op in self.loop.operations if op not in self.loading]
        clone(rest, scope, Substitution({**position, other: own}))

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
        position: Position,
        own: Linear,
        other: SSAValue,
        profile: Profile,
    ) -> None:
        """Appends one iteration with the loads of the next one in its host; `own`: which tiles it reads itself."""
        index = self.loop.index
        ahead = [s.at({**position, index: position[index] + 1, other: -own + 1}) for s in streams]
        around = Substitution({**position, other: own})
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


def _body(loop: ForOp) -> list[Operation]:
    return [op for op in loop.operations if not isinstance(op, AffineOp)]


def _follow(stream: Stream, around: ForOp, loop: ForOp) -> bool:
    """Whether the last iteration of a loop is as far from the first of the next as two of its iterations are."""
    addresses = [v for v in stream.operands if isinstance(v, Linear)]
    return all(a.coefficient(around.index) == loop.trips * a.coefficient(loop.index) for a in addresses)


def _may_run_ahead(
    ahead: Mapping[SSAValue, tuple[int, int]],
    body: Sequence[Operation],
    loading: Sequence[Operation],
    place: Room,
    table: EffectTable,
) -> bool:
    """Whether loads may come an iteration earlier, matrix SRAM apart, and nothing else uses `place`.

    `ahead`: by how much the indices then differ.
    """
    for op in body:
        for effect in table.of(op).get(Memory.MATRIX, ()):
            low, high = interval(effect)
            if low < place.stop and high > place.start:
                return False
    for at, op in enumerate(body):
        if op not in loading:
            continue
        own = _without_tiles(table.of(op))
        if any(conflicting(table.of(o), own, ahead) for o in body if o not in loading):
            return False
        if any(conflicting(table.of(o), own) for o in body[:at] if o not in loading):
            return False
    return True


def _without_tiles(effects: Effects) -> Effects:
    return {memory: group for memory, group in effects.items() if memory is not Memory.MATRIX}
