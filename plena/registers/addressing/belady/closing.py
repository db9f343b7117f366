"""The end of an iteration: memory and registers hold what the next one begins with."""

from __future__ import annotations

from plena.jit import Int, compiled
from plena.machine.constants import IMMEDIATE_LIMIT
from plena.registers.addressing.belady.contents import emit, find
from plena.registers.addressing.belady.creation import create
from plena.registers.addressing.belady.tables import NONE, STORE, ZERO, Registers, Times
from plena.registers.addressing.belady.victims import save
from plena.registers.addressing.values import CONSTANT


@compiled
def close(f: Registers, t: Times) -> None:
    """Makes memory and registers hold what the next iteration begins with."""
    time, heads = t.end, t.heads
    for i in range(heads, t.closing.shape[0]):
        cls, constant, slot = t.closing[i].cls, t.closing[i].constant, i - heads
        if f.slot[cls] != slot or f.saved[cls] != constant:
            track = find(f, cls, constant, 0, 0)
            if track == NONE:
                track = create(f, t, cls, constant, time - 1, 0, NONE)
            emit(f, STORE, track, ZERO, ZERO, slot)
            f.slot[cls], f.saved[cls] = slot, constant
    pending = 0
    for track in range(heads):
        if f.cls[track] != t.closing[track].cls or f.constant[track] != t.closing[track].constant:
            pending |= 1 << track
    while pending:
        track = _closable(f, t, pending)
        settled = (1 << heads) - 1 & ~pending
        create(f, t, t.closing[track].cls, t.closing[track].constant, time - 1, settled, track)
        pending &= ~(1 << track)


@compiled
def _closable(f: Registers, t: Times, pending: Int) -> Int:
    """A pending track whose present content no other pending one is made from; moves one away if needed."""
    best, best_cost = -1, 1 << 30
    for track in range(t.heads):
        if not pending >> track & 1:
            continue
        cls = f.cls[track]
        if cls < 0:
            return track
        cost = 0
        for other in range(t.heads):
            if other == track or not pending >> other & 1 or t.closing[other].cls != cls:
                continue
            has_source, reachable = False, False
            for source in range(f.cls.shape[0]):
                constant = f.constant[source]
                if source == track:
                    if t.closing[track].cls != cls:
                        continue
                    constant = t.closing[track].constant
                elif f.cls[source] != cls:
                    continue
                has_source = True
                if 0 <= t.closing[other].constant - constant < IMMEDIATE_LIMIT:
                    reachable = True
            if not has_source:
                cost += 1000 if f.slot[cls] < 0 and cls != CONSTANT else 1
            elif not reachable:
                cost += 1
        if cost < best_cost:
            best, best_cost = track, cost
    if best_cost >= 1000:
        save(f, best)
    return best
