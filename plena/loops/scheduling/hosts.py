"""Work beside which matrix loads run: loops of vector and scalar instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.plena_isa.instruction import Instruction
from plena.dialects.plena_isa.spec import Unit
from plena.integers import ceil_div
from plena.loops.cloning import Scope, Substitution, clone
from plena.loops.scheduling.streams import Stream, cycles_of, substituted
from plena.machine.target import Target
from plena.timing.profile import Profile


def may_host(op: Operation) -> TypeGuard[ForOp]:
    """Whether it is a loop of vector and scalar instructions alone."""
    return isinstance(op, ForOp) and all(_is_beside(o) for o in op.operations)


def _is_beside(op: Operation) -> bool:
    if isinstance(op, ForOp):
        return may_host(op)
    if isinstance(op, Instruction):
        return op.SPEC.unit in (Unit.VECTOR, Unit.SCALAR) and op.SPEC.touches is not None
    return isinstance(op, AffineOp)


def iteration_cycles(loop: ForOp, target: Target, profile: Profile) -> int:
    """What an iteration takes, about: instructions alone, without addresses and waits."""
    total = 0
    for op in loop.operations:
        if isinstance(op, ForOp):
            total += op.trips * iteration_cycles(op, target, profile)
        elif isinstance(op, Instruction):
            total += profile.cycles(op.SPEC, target)
    return total + profile.cycles(INSTRUCTIONS["C_LOOP_END"], target)


def spread(
    streams: Sequence[Stream],
    host: ForOp,
    scope: Scope,
    around: Substitution,
    target: Target,
    profile: Profile,
    *,
    behind_load: bool = False,
) -> None:
    """Appends a host loop with the loads of streams in it, one every few iterations, the first ones first.

    Loads that find no iteration follow the loop.

    Args:
        around: what values around the host become; addresses of the streams are in terms of the new ones.
        behind_load: whether one is under way before the loop; iterations without loads then come first.
    """
    cycles = max(1, iteration_cycles(host, target, profile))
    total = sum(s.trips for s in streams)
    done = 0
    if behind_load:
        most = max(cycles_of(s, target) for s in streams)
        done = host.trips - total * max(1, min(ceil_div(most, cycles), host.trips // total))
        _iterations(host, scope, around, Linear(0), done)
    room = host.trips - done
    late: list[Stream] = []
    for stream in streams:
        if stream is streams[-1] and stream.trips == 1 and done < host.trips:
            stream.emit_all(scope)
            continue
        step = max(1, min(ceil_div(cycles_of(stream, target), cycles), room // total))
        now, left = _fitting(stream, (host.trips - done) // step)
        if now is not None:
            _among_iterations(now, host, scope, around, step, done)
            done += now.trips * step
        if left is not None:
            late.append(left)
    _iterations(host, scope, around, Linear(done), host.trips - done)
    for stream in late:
        stream.emit_all(scope)


def spread_in_nest(
    streams: Sequence[Stream],
    host: ForOp,
    scope: Scope,
    around: Substitution,
    target: Target,
    profile: Profile,
    *,
    behind_load: bool = False,
) -> None:
    """As `spread`, for any host; loads that outnumber its iterations are spread over the longest loop in each."""
    inner = max((op for op in host.operations if isinstance(op, ForOp)), key=lambda o: o.trips, default=None)
    (stream, *others) = streams
    if others or inner is None or len(stream.indices) != 1 or stream.trips <= host.trips:
        spread(streams, host, scope, around, target, profile, behind_load=behind_load)
        return
    ((index, _),) = stream.indices
    each, more = divmod(stream.trips, host.trips)
    if more == 1 and 2 * each < inner.trips:
        # One load more than equal shares stands before all of them.
        stream.emit(scope, {index: Linear(0)})
        left = stream.first(1)[1]
        assert left is not None
        spread_in_nest([left], host, scope, around, target, profile, behind_load=True)
        return
    each = ceil_div(stream.trips, host.trips)
    each = next((n for n in range(each, inner.trips + 1) if stream.trips % n == 0), each)
    whole, rest = divmod(stream.trips, each)

    def iteration(inside: Scope, position: Linear, loads: int) -> None:
        known = Substitution({**around.indices, host.index: position})
        own = stream.at({index: Linear.of(0, [(index, 1)]) + position * each})
        own = replace(own, indices=((index, loads),))
        for op in host.operations:
            if op is inner:
                spread_in_nest([own], inner, inside, known, target, profile, behind_load=behind_load)
            else:
                clone((op,), inside, known)

    if whole == 1:
        iteration(scope, Linear(0), each)
    else:
        loop = scope.loop(whole, host.attributes)
        loop.index.name_hint = host.index.name_hint
        iteration(loop, Linear.index(loop.index), each)
        loop.close()
    if rest:
        iteration(scope, Linear(whole), rest)
    done = whole + (rest > 0)
    _iterations(host, scope, around, Linear(done), host.trips - done)


def _fitting(stream: Stream, loads: int) -> tuple[Stream | None, Stream | None]:
    """As many loads of a stream, whole iterations of its outermost loop, and the rest."""
    if stream.trips <= loads:
        return stream, None
    if not stream.indices:
        return None, stream
    outer = loads * stream.indices[0][1] // stream.trips
    return stream.first(outer) if outer else (None, stream)


def _iterations(host: ForOp, scope: Scope, around: Substitution, start: Linear, trips: int) -> None:
    """Appends so many iterations of a host, from one on."""
    if trips == 1:
        clone(host.operations, scope, Substitution({**around.indices, host.index: start}))
    elif trips:
        loop = scope.loop(trips, host.attributes)
        loop.index.name_hint = host.index.name_hint
        position = start + Linear.index(loop.index)
        clone(host.operations, loop, Substitution({**around.indices, host.index: position}))
        loop.close()


def _among_iterations(
    stream: Stream, host: ForOp, scope: Scope, around: Substitution, step: int, done: int
) -> None:
    """Appends the loops of a stream, and behind each load `step` iterations of a host, from `done` on."""
    pace, terms = step, list[tuple[SSAValue, int]]()
    for index, trips in reversed(stream.indices):
        terms.insert(0, (index, pace))
        pace *= trips
    position = Linear.of(done, terms)

    def load_and_work(inner: Scope, known: Mapping[SSAValue, Linear]) -> None:
        stream.emit(inner, known)
        _iterations(host, inner, around, substituted(position, known), step)

    stream.emit_nest(scope, load_and_work, host.attributes)
