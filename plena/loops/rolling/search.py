"""Rolling straight-line code into loops: longest saving first, outer loops before the loops in their bodies."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from plena.loops.rolling.collapse import collapse
from plena.loops.rolling.repeats import Segment, all_runs, linear_hash, mix
from plena.loops.rolling.stream import Ints, Node, Repeat, Span, Stream, is_exact
from plena.machine.constants import LARGEST_TRIP_COUNT

PATIENCE = 3
"""How often a stretch between loops is searched anew: the periods of small loops drown in a large stream."""

ROUNDS = 4
"""How often rolled code is rolled again: loops side by side become the body of a loop."""

LOOP_COST = 2.0
"""Static instructions of a loop: C_LOOP_START and C_LOOP_END."""

POINTERS = 8
"""Pointers with different steps that a loop body keeps in registers; further ones live in memory."""

SPILLED_UPDATE = 3.0
"""Static instructions to advance a pointer that has no register: load, add, store."""


def roll_stream(stream: Stream) -> list[Node]:
    """Folds repeated blocks whose constants advance evenly into loops, hierarchically.

    The result executes exactly the same tokens (`is_exact`). Near-linear in the number of tokens for code made of
    loop nests.
    """
    nodes = _spans(0, len(stream))
    for _ in range(ROUNDS):
        folded = collapse(stream, nodes)
        again = _roll_once(folded.stream)
        if not any(isinstance(node, Repeat) for node in again):
            break
        nodes = folded.restore(again)
    if not is_exact(stream, nodes):
        raise AssertionError("two different instructions share a 64-bit hash")
    return nodes


def _roll_once(stream: Stream) -> list[Node]:
    if len(stream) < 2:
        return _spans(0, len(stream))
    kind = mix(stream.signature.astype(np.uint64), np.ones(len(stream), np.uint64))
    return _Roller(stream).roll(Segment(0, kind, linear_hash(stream.constants), stream.symbols))


def _spans(start: int, stop: int) -> list[Node]:
    return [Span(start, stop)] if stop > start else []


@dataclass(frozen=True)
class _Loop:
    start: int
    period: int
    count: int

    @property
    def stop(self) -> int:
        return self.start + self.period * self.count


_Candidate: TypeAlias = tuple[float, int, int, int, bool]
"""Minus the saving, start and stop of the run, period, whether the saving is final."""


@dataclass
class _Taken:
    """Disjoint intervals in order."""

    starts: list[int] = field(default_factory=list[int])
    stops: list[int] = field(default_factory=list[int])

    def free_part(self, start: int, stop: int) -> tuple[int, int]:
        """The longest part of an interval that no taken interval touches."""
        at = bisect_right(self.stops, start)
        best = (start, start)
        position = start
        while position < stop:
            limit = min(stop, self.starts[at]) if at < len(self.starts) else stop
            if limit - position > best[1] - best[0]:
                best = (position, limit)
            if at >= len(self.starts):
                break
            position = self.stops[at]
            at += 1
        return best

    def take(self, start: int, stop: int) -> None:
        at = bisect_right(self.starts, start)
        self.starts.insert(at, start)
        self.stops.insert(at, stop)


class _Roller:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.weight = np.concatenate([[0.0], np.cumsum(stream.weight)])
        self.last_use = _last_uses(stream)
        self.has_symbols = stream.symbols.shape[1] > 0 and bool((stream.symbols >= 0).any())

    def roll(self, segment: Segment, patience: int = PATIENCE) -> list[Node]:
        """The nodes of a segment; positions in nodes are stream positions.

        What lies between the loops found is searched again, `patience` times in a row at most.
        """
        start, stop = segment.offset, segment.offset + len(segment)
        loops = self.choose(segment) if len(segment) > 1 else []
        if not loops:
            return _spans(start, stop)
        nodes: list[Node] = []
        position = start
        for loop in loops:
            nodes += self._gap(segment, position, loop.start, patience)
            nodes.append(Repeat(loop.start, loop.period, loop.count, tuple(self._body(segment, loop))))
            position = loop.stop
        nodes += self._gap(segment, position, stop, patience)
        return _joined(nodes)

    def _gap(self, segment: Segment, start: int, stop: int, patience: int) -> list[Node]:
        if stop - start < 4 or not patience:
            return _spans(start, stop)
        return self.roll(segment.part(start - segment.offset, stop - segment.offset), patience - 1)

    def _body(self, segment: Segment, loop: _Loop) -> list[Node]:
        """The first iteration; tokens in it are alike only if they also advance alike in the loop around."""
        first = slice(loop.start, loop.start + loop.period)
        second = slice(loop.start + loop.period, loop.start + 2 * loop.period)
        steps = linear_hash(self.stream.constants[second] - self.stream.constants[first])
        begin = loop.start - segment.offset
        kind = mix(segment.kind[begin : begin + loop.period], steps)
        return self.roll(segment.part(begin, begin + loop.period, kind))

    def choose(self, segment: Segment) -> list[_Loop]:
        """Disjoint loops of a segment in order, chosen by saving."""
        heap, pressure = self._candidates(segment)
        taken = _Taken()
        loops: list[_Loop] = []
        while heap:
            _, start, stop, period, settled = heapq.heappop(heap)
            free = taken.free_part(start, stop)
            if free != (start, stop):
                self._push(heap, *free, period)
                continue
            loop = self._place(segment, start, stop, period, pressure)
            if loop is None:
                continue
            if not settled:
                saving, certain = self._saving(loop)
                if certain > 0:
                    heapq.heappush(heap, (-saving, start, stop, period, True))
                continue
            taken.take(loop.start, loop.stop)
            loops.append(loop)
            for left in ((start, loop.start), (loop.stop, stop)):
                if left[1] - left[0] >= 2 * period:
                    self._push(heap, *left, period)
        return sorted(loops, key=lambda each: each.start)

    def _push(self, heap: list[_Candidate], start: int, stop: int, period: int) -> None:
        count = (stop - start) // period
        if count >= 2:
            rough = (count - 1) * (self.weight[start + period] - self.weight[start]) - LOOP_COST
            if rough > 0:
                heapq.heappush(heap, (-float(rough), start, stop, period, False))

    def _candidates(self, segment: Segment) -> tuple[list[_Candidate], NDArray[np.float64]]:
        """Runs of every candidate period by rough saving, and what it costs to cut the segment at each position."""
        heap: list[_Candidate] = []
        cuts = np.zeros(len(segment) + 1)
        for runs in all_runs(segment):
            for found in (runs.even, runs.double):
                self._add(heap, cuts, segment, runs.period, *found)
        heapq.heapify(heap)
        totals: NDArray[np.float64] = np.cumsum(cuts)
        return heap, totals

    def _add(
        self,
        heap: list[_Candidate],
        cuts: NDArray[np.float64],
        segment: Segment,
        period: int,
        start: Ints,
        length: Ints,
    ) -> None:
        body = self.weight[start + segment.offset + period] - self.weight[start + segment.offset]
        saving = (length // period - 1) * body - LOOP_COST
        good = saving > 0
        if not good.any():
            return
        start, length, saving, body = start[good], length[good], saving[good], body[good]
        np.add.at(cuts, start + 1, body + LOOP_COST)
        np.add.at(cuts, start + length, -(body + LOOP_COST))
        begin = start + segment.offset
        heap += [
            (-rough, first, last, period, False)
            for rough, first, last in zip(
                saving.tolist(), begin.tolist(), (begin + length).tolist(), strict=True
            )
        ]

    def _place(
        self, segment: Segment, start: int, stop: int, period: int, cuts: NDArray[np.float64]
    ) -> _Loop | None:
        """Where in a run the loop begins: at a place where cutting destroys the least of the loops inside."""
        count = (stop - start) // period
        while count >= 2:
            slack = stop - start - count * period
            options = np.arange(start, start + slack + 1)
            allowed = (self.stream.depth[options] == 0) & (self._depth_after(options, period) == 0)
            if self.has_symbols:
                allowed &= self._separable(options, period, start, stop)
            options = options[allowed]
            if len(options):
                begin = int(options[np.argmin(cuts[options - segment.offset])])
                loop = _Loop(begin, period, min(count, LARGEST_TRIP_COUNT))
                return loop if self._is_even(loop) else None
            count -= 1
        return None

    def _depth_after(self, options: Ints, period: int) -> Ints:
        after = options + period
        depth = self.stream.depth
        return np.where(after < len(depth), depth[np.minimum(after, len(depth) - 1)], 0)

    def _separable(self, options: Ints, period: int, start: int, stop: int) -> NDArray[np.bool_]:
        """At each option: whether no number is loaded before a cut there and used behind it, in the first period."""
        crossing = np.zeros(stop - start + 1, np.int64)
        for column in range(self.stream.symbols.shape[1]):
            source = self.stream.symbols[start:stop, column]
            user = np.flatnonzero(source >= start)
            np.add.at(crossing, source[user] - start + 1, 1)
            np.add.at(crossing, user + 1, -1)
        return np.cumsum(crossing)[options - start] == 0

    def _is_even(self, loop: _Loop) -> bool:
        """Whether numbers loaded at run time are used the same way in every iteration, and not behind the loop."""
        if not self.has_symbols:
            return True
        if int(self.last_use[loop.start : loop.stop].max()) >= loop.stop:
            return False
        here = self.stream.symbols[loop.start : loop.stop].reshape(loop.count, loop.period, -1)
        inside = here[0] >= loop.start
        shift = np.arange(loop.count)[:, None, None] * loop.period
        return bool(np.array_equal(np.where(inside, here[0] + shift, here[0]), here))

    def _saving(self, loop: _Loop) -> tuple[float, float]:
        """Static instructions saved, the pointer updates of the loop paid: by the weights of the tokens, and if
        addresses that stay the same need no update in straight code either."""
        first = self.stream.constants[loop.start : loop.start + loop.period]
        second = self.stream.constants[loop.start + loop.period : loop.start + 2 * loop.period]
        steps = second - first
        moving = steps[steps != 0]
        counts = np.sort(np.unique(moving, return_counts=True)[1])[::-1]
        price = LOOP_COST + float(len(counts)) + SPILLED_UPDATE * float(counts[POINTERS:].sum())
        body = float(self.weight[loop.start + loop.period] - self.weight[loop.start])
        certain = min(body, loop.period + 0.5 * len(moving))
        return (loop.count - 1) * body - price, (loop.count - 1) * certain - price


def _last_uses(stream: Stream) -> Ints:
    """At each token: the last one that uses the number it loads, -1 for none."""
    last = np.full(len(stream), -1, np.int64)
    for column in range(stream.symbols.shape[1]):
        user = np.flatnonzero(stream.symbols[:, column] >= 0)
        np.maximum.at(last, stream.symbols[user, column], user)
    return last


def _joined(nodes: list[Node]) -> list[Node]:
    """Neighbouring spans as one."""
    joined: list[Node] = []
    for node in nodes:
        last = joined[-1] if joined else None
        if isinstance(node, Span) and isinstance(last, Span) and last.stop == node.start:
            joined[-1] = Span(last.start, node.stop)
        else:
            joined.append(node)
    return joined
