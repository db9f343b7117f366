"""Software pipelining: the tiles of the next iteration are loaded during the vector work of this one."""

from __future__ import annotations

from xdsl.ir import Block, Operation

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa.instruction import Instruction
from plena.loops.cloning import LoopScope, Scope, Substitution, clone, replace
from plena.loops.dependence import Legality, conflicting
from plena.loops.effects import EffectTable
from plena.loops.expansion import section, strip_mine
from plena.loops.reorder import fuse
from plena.loops.scheduling.growth import Allowance, added_by_spreading, size
from plena.loops.scheduling.hosts import may_host, spread
from plena.loops.scheduling.streams import load_in, shift_tiles, streams_in
from plena.loops.scheduling.tiles import Room, filled
from plena.machine.target import Target
from plena.timing.profile import Profile

MOST_SECTIONS = 3
"""Into how many parts a loop of products is cut whose parts make what one iteration of vector work takes: gates take
two, or three with a bias."""


def fuse_with_work(block: Block, target: Target, spare: Room, allowance: Allowance) -> None:
    """Joins loops of products in a block with the loops of vector work behind them that use what they make."""
    op = block.first_op
    while op is not None:
        following = op.next_op
        if isinstance(op, ForOp) and _has_streams(op):
            work = _work_behind(op, target)
            if work is not None:
                joined = _joined(op, work, target, spare, allowance)
                following = joined.next_op if joined is not None else following
        op = following


def _has_streams(loop: ForOp) -> bool:
    return load_in(loop) is None and any(load_in(op) is not None for op in loop.operations)


def _work_behind(loop: ForOp, target: Target) -> ForOp | None:
    """The host behind a loop, with what stands between them moved in front of the loop; None if that may not be."""
    between: list[Operation] = []
    op = loop.next_op
    while op is not None and not isinstance(op, ForOp):
        between.append(op)
        op = op.next_op
    if op is None or not may_host(op):
        return None
    legality = Legality(EffectTable(target))
    for other in between:
        if not isinstance(other, Instruction | AffineOp):
            return None
        if isinstance(other, Instruction) and not legality.can_reorder(loop, other):
            return None
    block = loop.parent_block()
    assert block is not None
    for other in between:
        block.detach_op(other)
        block.insert_op_before(other, loop)
    return op


def _joined(products: ForOp, work: ForOp, target: Target, spare: Room, allowance: Allowance) -> ForOp | None:
    """One loop of both if some way to cut them is legal, else None and they are as they were."""
    for sections in range(1, MOST_SECTIONS + 1):
        trips, rest = divmod(products.trips, sections)
        if rest or trips < 2 or work.trips % trips:
            continue
        copied = size((products,)) * (2 * sections - 1) + size((work,))
        streams = sections * sum(load_in(op) is not None for op in products.operations)
        if not allowance.would_take(copied + added_by_spreading(streams, work)):
            return None
        joined = _Trial(products, work, sections, trips, target).run(spare)
        if joined is not None:
            allowance.take(size((products,)) * (sections - 1))
            replace(products, ())
            replace(work, ())
            return joined
    return None


class _Trial:
    """Copies of two loops behind the second one, cut so that they can be one."""

    def __init__(self, products: ForOp, work: ForOp, sections: int, trips: int, target: Target) -> None:
        scope = Scope()
        cut = [section(products, scope, k * trips, trips) for k in range(sections)]
        share = section(work, scope, 0, work.trips)
        block = work.parent_block()
        assert block is not None and share is not None
        block.insert_ops_after(scope.operations, work)
        self.target = target
        self.parts = [part for part in cut if part is not None]
        self.share = share if work.trips == trips else _outer(strip_mine(share, work.trips // trips))

    def run(self, spare: Room) -> ForOp | None:
        """The one loop; None, and nothing is left of the copies, if that would change results."""
        if self._move_tiles(spare):
            both, *others = self.parts
            for part in (*others, self.share):
                if not Legality(EffectTable(self.target)).can_fuse(both, part):
                    break
                self.parts = [p for p in self.parts if p is not both and p is not part]
                both = fuse(both, part)
                self.parts.insert(0, both)
            else:
                return both
        for part in dict.fromkeys((*self.parts, self.share)):
            replace(part, ())
        return None

    def _move_tiles(self, spare: Room) -> bool:
        """Gives all parts but the last tiles of their own; False if there is no room."""
        at = spare.start
        for loop in self.parts[:-1]:
            room = filled(loop, streams_in(loop.operations), EffectTable(self.target))
            if room is None or at + room.size > spare.stop:
                return False
            shift_tiles(loop, self.target, (room.start, room.stop), Linear(at - room.start))
            at += room.size
        return True


def _outer(mined: tuple[ForOp | None, ForOp | None]) -> ForOp:
    outer, inner = mined
    found = outer or inner
    assert found is not None
    return found


def pipeline(loop: ForOp, target: Target, profile: Profile, allowance: Allowance) -> None:
    """Has a loop that ends in vector work load the tiles of its next iteration beside that, if it may.

    The loads of the first iteration then stand before the loop, the last iteration behind it.
    """
    body = [op for op in loop.operations if not isinstance(op, AffineOp)]
    loading = [op for op in body if load_in(op) is not None]
    if loop.trips < 2 or not loading:
        return
    host = body[-1]
    if not may_host(host):
        return
    if any(op.results for op in body if isinstance(op, Instruction)) or not _may_run_ahead(
        loop, body, loading, host, target
    ):
        return
    if not allowance.take(size(body) + added_by_spreading(len(loading), host)):
        return
    streams = [s.flat() for s in streams_in(loading)]
    for op in loading:
        replace(op, ())
    scope = Scope()
    for stream in streams:
        stream.at({loop.index: Linear(0)}).emit_all(scope)
    steady: Scope = scope
    now = Linear(0)
    if loop.trips > 2:
        steady = scope.loop(loop.trips - 1, loop.attributes)
        steady.index.name_hint = loop.index.name_hint
        now = Linear.index(steady.index)
    around = Substitution({loop.index: now})
    clone([op for op in loop.operations if op is not host], steady, around)
    ahead = [s.at({loop.index: now + 1}) for s in streams]
    spread(ahead, host, steady, around, target, profile)
    if isinstance(steady, LoopScope):
        steady.close()
    clone(loop.operations, scope, Substitution({loop.index: Linear(loop.trips - 1)}))
    replace(loop, scope.operations)


def _may_run_ahead(
    loop: ForOp, body: list[Operation], loading: list[Operation], host: ForOp, target: Target
) -> bool:
    """Whether the loads of an iteration may run beside the host of the one before it, in another order if need be."""
    table = EffectTable(target)
    for at, op in enumerate(body):
        if op not in loading:
            continue
        own = table.of(op)
        if conflicting(table.of(host), own, {loop.index: (1, 1)}):
            return False
        if any(conflicting(table.of(o), own) for o in body[:at]):
            return False
    return True
