"""Which track to overwrite by Belady's rule, and what must be saved before that."""

from __future__ import annotations

from plena.jit import Int, compiled
from plena.registers.addressing.belady.contents import emit, put
from plena.registers.addressing.belady.future import future, next_of_class
from plena.registers.addressing.belady.tables import NEVER, STORE, ZERO, OutOfRegistersError, Registers, Times
from plena.registers.addressing.values import CONSTANT


@compiled
def choose(f: Registers, t: Times, cls: Int, constant: Int, time: Int, locked: Int) -> Int:
    """The track to overwrite for a new value: its home, a dead one, or the one needed last.

    Raises:
        OutOfRegistersError: every track is locked.
    """
    for home in range(t.heads):
        if t.closing[home].cls == cls and t.closing[home].constant == constant:
            if not locked >> home & 1 and future(f, t, home, time, cls, constant)[0] >= NEVER:
                return home
            break
    best, best_score, unused = -1, -1.0, -1
    for track in range(f.cls.shape[0]):
        if locked >> track & 1 or time < f.next_exact[track] <= time + best_score:
            continue
        use, cost = future(f, t, track, time, cls, constant)
        if use < NEVER:
            score = (use - time) / cost
            if score > best_score:
                best, best_score = track, score
        elif f.touched[track]:
            return track
        elif unused < 0:
            unused = track
    if unused >= 0:
        return unused
    if best < 0:
        raise OutOfRegistersError
    return best


@compiled
def evict(f: Registers, t: Times, track: Int, time: Int, incoming: Int) -> None:
    """Gives up what a track holds; the only copy of a class that is still needed goes to INT SRAM."""
    cls = f.cls[track]
    if cls < 0:
        return
    if incoming != cls:
        if cls != CONSTANT and f.slot[cls] < 0:
            copies = 0
            for other in range(f.cls.shape[0]):
                copies += f.cls[other] == cls
            if copies == 1 and next_of_class(t, cls, time) < NEVER:
                save(f, track)
        if future(f, t, track, time, -1, 0)[0] < NEVER:
            f.counts[0].pressure = 1
    put(f, track, -1, 0)


@compiled
def save(f: Registers, track: Int) -> None:
    """Stores a track in the slot of its class."""
    cls = f.cls[track]
    slot = f.slot[cls]
    if slot < 0:
        slot = f.counts[0].slots
    f.counts[0].slots = max(f.counts[0].slots, slot + 1)
    emit(f, STORE, track, ZERO, ZERO, slot)
    f.slot[cls], f.saved[cls] = slot, f.constant[track]
