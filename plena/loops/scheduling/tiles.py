"""Matrix SRAM: which tiles a program leaves alone, which ones each iteration of a loop fills for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import ForOp, Linear
from plena.dialects.plena_isa.spec import Memory
from plena.integers import round_up
from plena.loops.effects import EVERYTHING, Effect, EffectTable
from plena.loops.scheduling.streams import Stream, load_in, span
from plena.machine.target import Target


@dataclass(frozen=True)
class Room:
    """A run of a memory, addresses from `start` to before `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


def untouched(module: Operation, table: EffectTable) -> Room:
    """The longest run of tiles that nothing in a program touches; empty if that is not known."""
    target = table.target
    return untouched_part(module, table, Memory.MATRIX, target.matrix_tiles * target.tile, target.tile)


def untouched_part(module: Operation, table: EffectTable, memory: Memory, size: int, tile: int) -> Room:
    """The longest run of whole `tile`s of a memory of some size that nothing touches; empty if that is not known."""
    taken: list[tuple[int, int]] = []
    for region in module.regions:
        effects = table.of_sequence(list(region.block.ops))
        if EVERYTHING in effects:
            return Room(0, 0)
        for effect in effects.get(memory, ()):
            if effect.base is None:
                return Room(0, 0)
            low, high = interval(effect)
            taken.append((low // tile * tile, round_up(high, tile)))
    best, free_from = Room(0, 0), 0
    for low, high in [*sorted(taken), (size, size)]:
        if low - free_from > best.size:
            best = Room(free_from, low)
        free_from = max(free_from, high)
    return best


def interval(effect: Effect) -> tuple[int, int]:
    """The first address of an effect and the one behind its last."""
    assert effect.base is not None
    low, high = span(effect.base)
    return low, high + (effect.rows - 1) * effect.pitch + effect.width


def filled(loop: ForOp, streams: list[Stream], table: EffectTable) -> Room | None:
    """The run of tiles that the loads of every iteration fill, and that only what follows them in the body reads.

    None if an iteration fills other tiles than the one before it, tiles that do not follow each other, or if
    something else in the body touches some of them but not only them.
    """
    target = table.target
    starts: list[int] = []
    for stream in streams:
        address = _destination(stream)
        if address.coefficient(loop.index) or any(v not in dict(stream.indices) for v, _ in address.terms):
            return None
        starts += _values(address, stream.indices)
    width = _width(streams[0], target)
    starts.sort()
    if any(b - a != width for a, b in pairwise(starts)):
        return None
    room = Room(starts[0], starts[-1] + width)
    loading = len(streams)
    for op in loop.operations:
        is_stream = load_in(op) is not None
        loading -= is_stream
        for effect in table.of(op).get(Memory.MATRIX, ()):
            if effect.base is None:
                return None
            low, high = interval(effect)
            apart = high <= room.start or room.stop <= low
            inside = room.start <= low and high <= room.stop
            if not apart and (not inside or (loading and not is_stream)):
                return None
    return room


def _destination(stream: Stream) -> Linear:
    """Where the first tile of a load goes."""
    return stream.operands[0] if isinstance(stream.operands[0], Linear) else Linear(0)


def _width(stream: Stream, target: Target) -> int:
    """Cells of matrix SRAM that one load fills."""
    transfer = stream.kind.SPEC.transfer
    assert transfer is not None
    return transfer.rows(target) * target.vlen


def _values(address: Linear, indices: tuple[tuple[SSAValue, int], ...]) -> Iterator[int]:
    """All values of an address."""
    for values in product(*(range(trips) for _, trips in indices)):
        yield address.evaluate(dict(zip((i for i, _ in indices), values, strict=True)))
