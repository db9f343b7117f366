"""Loops over samples and heads: which column blocks and lanes of keys, queries and result a head has."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from plena.dialects.loop import Linear
from plena.integers import ceil_div
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.builder import TileBuilder


@dataclass(frozen=True)
class HeadPlace:
    """One query head of one sample, as expressions over the open loops.

    `bundle` numbers the heads of keys, or the column blocks that several of them share; `lane` is the head's number in
    such a block, `member` that among the query heads of one head of keys where several share blocks. `offset` is where
    the head's columns begin in the result, in elements.
    """

    sample: Linear = field(default_factory=Linear)
    bundle: Linear = field(default_factory=Linear)
    head: Linear = field(default_factory=Linear)
    lane: Linear = field(default_factory=Linear)
    member: Linear = field(default_factory=Linear)
    offset: Linear = field(default_factory=Linear)


@dataclass(frozen=True)
class HeadAxis:
    """A loop over heads or samples: `trips` of them from number `first`, and by how much each moves a place."""

    trips: int
    sample: int = 0
    bundle: int = 0
    head: int = 0
    lane: int = 0
    member: int = 0
    offset: int = 0
    first: int = 0

    def moved(self, place: HeadPlace, index: Linear) -> HeadPlace:
        """The place at one index of this loop."""
        at = index + self.first
        return HeadPlace(
            place.sample + at * self.sample,
            place.bundle + at * self.bundle,
            place.head + at * self.head,
            place.lane + at * self.lane,
            place.member + at * self.member,
            place.offset + at * self.offset,
        )

    def part(self, first: int, trips: int) -> HeadAxis:
        """A stretch of this loop."""
        return HeadAxis(
            trips, self.sample, self.bundle, self.head, self.lane, self.member, self.offset, first
        )


@dataclass(frozen=True)
class HeadLoops:
    """Loops over all heads of all samples: `outer` choose keys and values, `inner` the query heads that read them."""

    outer: tuple[HeadAxis, ...]
    inner: tuple[HeadAxis, ...]

    def pieces(self, parts: int) -> Iterator[HeadLoops]:
        """The loops cut into at least `parts` pieces if there are as many heads; inner loops are cut last."""
        axes = (*self.outer, *self.inner)
        cuts: list[list[HeadAxis]] = []
        for axis in axes:
            pieces = min(parts, axis.trips)
            parts = ceil_div(parts, pieces)
            bounds = [axis.trips * i // pieces for i in range(pieces + 1)]
            cuts.append([axis.part(a, b - a) for a, b in pairwise(bounds)])
        yield from self._products(cuts, ())

    def _products(self, cuts: Sequence[list[HeadAxis]], chosen: tuple[HeadAxis, ...]) -> Iterator[HeadLoops]:
        if not cuts:
            yield HeadLoops(chosen[: len(self.outer)], chosen[len(self.outer) :])
            return
        for axis in cuts[0]:
            yield from self._products(cuts[1:], (*chosen, axis))


@contextmanager
def head_loop(builder: TileBuilder, axes: Sequence[HeadAxis], place: HeadPlace) -> Generator[HeadPlace]:
    """Opens the loops, the first outermost, and yields the place inside."""
    if not axes:
        yield place
        return
    with (
        builder.loop(axes[0].trips) as index,
        head_loop(builder, axes[1:], axes[0].moved(place, index)) as inner,
    ):
        yield inner


def head_loops(shape: AttentionShape, *, shared: int, pitch: int, block: int, vlen: int) -> HeadLoops:
    """The loops for heads that share column blocks of the operands `shared` at a time.

    `pitch` is the lanes from head to head in the result, `block` the elements from column block to column block there.
    """
    samples = HeadAxis(shape.batch, sample=1)
    group, kv_heads = shape.group, shape.kv_heads
    together = max(1, vlen // pitch)
    blocks = max(1, pitch // vlen) * block
    if shared > 1:
        apart = blocks if together == 1 else pitch
        step = shared * group * blocks if together == 1 else group * block
        bundles = HeadAxis(kv_heads // shared, bundle=1, head=shared * group, offset=step)
        if group == 1:
            return HeadLoops((samples, bundles), (HeadAxis(shared, head=1, lane=1, offset=apart),))
        return HeadLoops((samples, bundles), _interleaved(shared, group, together, apart, block))
    if together == 1:
        bundles = HeadAxis(kv_heads, bundle=1, head=group, offset=group * blocks)
        return HeadLoops((samples, bundles), (HeadAxis(group, head=1, offset=blocks),))
    if group % together == 0:
        bundles = HeadAxis(kv_heads, bundle=1, head=group, offset=group // together * block)
        members = HeadAxis(group // together, head=together, offset=block)
        return HeadLoops((samples, bundles), (members, HeadAxis(together, head=1, offset=pitch)))
    per_block = together // group
    outer = HeadAxis(kv_heads // per_block, bundle=per_block, head=per_block * group, offset=block)
    inner = HeadAxis(per_block, bundle=1, head=group, offset=group * pitch)
    return HeadLoops((samples, outer, inner), (HeadAxis(group, head=1, offset=pitch),))


def _interleaved(lanes: int, group: int, together: int, apart: int, block: int) -> tuple[HeadAxis, ...]:
    """The heads of keys that share a column block and the query heads of each, in the order of the result, where
    `together` heads share a block or every head is `apart`."""
    if together == 1:
        return HeadAxis(lanes, head=group, lane=1, offset=group * apart), HeadAxis(
            group, head=1, member=1, offset=apart
        )
    if group % together == 0:
        return (
            HeadAxis(lanes, head=group, lane=1, offset=group // together * block),
            HeadAxis(group // together, head=together, member=together, offset=block),
            HeadAxis(together, head=1, member=1, offset=apart),
        )
    per_block = together // group
    return (
        HeadAxis(lanes // per_block, head=together, lane=per_block, offset=block),
        HeadAxis(per_block, head=group, lane=1, offset=group * apart),
        HeadAxis(group, head=1, member=1, offset=apart),
    )


def packed_result_pitch(shape: AttentionShape, vlen: int, blen: int) -> int:
    """Lanes from one head of the result to the next: packed where loops over heads can address it."""
    size = shape.value_dim
    if size % vlen == 0:
        return size
    per_block = vlen // size
    if vlen % size == 0 and size % blen == 0:
        if shape.group % per_block == 0:
            return size
        if per_block % shape.group == 0 and shape.kv_heads % (per_block // shape.group) == 0:
            return size
    return ceil_div(size, vlen) * vlen
