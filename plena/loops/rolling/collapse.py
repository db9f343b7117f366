"""Rolled code as a stream of its own, so that it can be rolled again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plena.loops.rolling.repeats import Hashes, linear_hash, mix
from plena.loops.rolling.stream import Ints, Node, Repeat, Span, Stream


@dataclass
class Collapsed:
    """A stream in which loops stand once, between a begin and an end token.

    Attributes:
        stream: the tokens; those of loop bodies are alike only if they advance alike in their loops.
        origin: int64[n + 1], position in the original stream; a loop's end has the position behind its last iteration.
        loops: begin token -> (end token, the loop).
    """

    stream: Stream
    origin: Ints
    loops: dict[int, tuple[int, Repeat]]

    def restore(self, nodes: Sequence[Node]) -> list[Node]:
        """Rolled code over this stream as rolled code over the original one."""
        restored: list[Node] = []
        for node in nodes:
            if isinstance(node, Span):
                restored += self._unfolded(node.start, node.stop)
            else:
                start = int(self.origin[node.start])
                period = int(self.origin[node.start + node.period]) - start
                restored.append(Repeat(start, period, node.count, tuple(self.restore(node.body))))
        return restored

    def _unfolded(self, start: int, stop: int) -> list[Node]:
        """A stretch of tokens, the loops in it as loops."""
        nodes: list[Node] = []
        position = plain = start
        while position < stop:
            found = self.loops.get(position)
            if found is None:
                position += 1
                continue
            if position > plain:
                nodes.append(self._plain(plain, position))
            end, loop = found
            nodes.append(loop)
            position = plain = end + 1
        if position > plain:
            nodes.append(self._plain(plain, position))
        return nodes

    def _plain(self, start: int, stop: int) -> Span:
        return Span(int(self.origin[start]), int(self.origin[stop - 1]) + 1)


def collapse(stream: Stream, nodes: Sequence[Node]) -> Collapsed:
    """The stream of rolled code."""
    return _Collapse(stream).run(nodes)


class _Collapse:
    def __init__(self, stream: Stream) -> None:
        self.source = stream
        self.origin: list[Ints] = []
        self.kind: list[Hashes] = []
        self.depth: list[Ints] = []
        self.real: list[bool] = []
        self.loops: dict[int, tuple[int, Repeat]] = {}
        self.size = 0

    def run(self, nodes: Sequence[Node]) -> Collapsed:
        source = self.source
        if all(isinstance(node, Span) for node in nodes):
            return Collapsed(source, np.arange(len(source) + 1), {})
        self._add(nodes, [], 0)
        origin = np.concatenate(self.origin)
        real = np.repeat(self.real, [len(o) for o in self.origin])
        token = np.where(real, origin, 0)
        where = np.full(len(source) + 1, -1, np.int64)
        where[origin[real]] = np.flatnonzero(real)
        symbols = np.where(real[:, None], source.symbols[token], -1)
        symbols = np.where(symbols >= 0, where[symbols], -1)
        constants = np.where(real[:, None], source.constants[token], 0)
        folded = Stream(
            np.concatenate(self.kind).view(np.int64),
            constants,
            symbols,
            np.concatenate(self.depth),
            np.where(real, source.weight[token], 1.0),
        )
        return Collapsed(folded, np.concatenate([origin, [len(source)]]), self.loops)

    def _add(self, nodes: Sequence[Node], periods: list[int], depth: int) -> None:
        for node in nodes:
            if isinstance(node, Span):
                self._tokens(node, periods, depth)
            else:
                begin = self.size
                self._mark(node.start, node.count, depth)
                self._add(node.body, [*periods, node.period], depth + 1)
                self._mark(node.stop, 0, depth + 1)
                if depth == 0:
                    self.loops[begin] = (self.size - 1, node)

    def _mark(self, position: int, count: int, depth: int) -> None:
        self._push(
            np.array([position]),
            mix(np.array([count], np.uint64), np.full(1, 7, np.uint64)),
            depth,
            real=False,
        )

    def _tokens(self, span: Span, periods: list[int], depth: int) -> None:
        places = np.arange(span.start, span.stop)
        kind = self.source.signature[places].astype(np.uint64)
        for level, period in enumerate(periods):
            step = linear_hash(self.source.constants[places + period] - self.source.constants[places])
            kind = mix(kind, step + np.uint64(level))
        self._push(places, kind, depth, real=True)

    def _push(self, places: Ints, kind: Hashes, depth: int, *, real: bool) -> None:
        self.origin.append(places)
        self.kind.append(kind)
        inside = self.source.depth[places] if real else np.zeros(len(places), np.int64)
        self.depth.append(inside + depth)
        self.real.append(real)
        self.size += len(places)
