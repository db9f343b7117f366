"""Rolling of token streams: exact on everything, and as small as the loops that the stream was made from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plena.loops.rolling.search import roll_stream
from plena.loops.rolling.stream import Node, Repeat, Span, Stream, is_exact, replay, static_size

WIDTH = 2


class Loops:
    """A random loop program over tokens: what a compiler's kernels look like, bodies of distinct instructions."""

    def __init__(self, draw: st.DrawFn, kinds: int, depth: int) -> None:
        self.draw, self.kinds = draw, kinds
        self.items = self._items(depth)

    def _items(self, depth: int) -> list[object]:
        draw = self.draw
        items: list[object] = []
        for _ in range(draw(st.integers(1, 4))):
            if depth and draw(st.booleans()):
                items.append((draw(st.integers(2, 6)), self._items(depth - 1)))
            else:
                base = [64 * draw(st.integers(0, 40)) for _ in range(WIDTH)]
                steps = [[draw(st.sampled_from((0, 64, 256))) for _ in range(WIDTH)] for _ in range(4)]
                items.append((None, draw(st.integers(0, self.kinds)), base, steps))
        return items

    def expand(self) -> tuple[list[int], list[list[int]]]:
        kinds: list[int] = []
        rows: list[list[int]] = []

        def run(items: list[object], indices: list[int]) -> None:
            for item in items:
                if item[0] is None:
                    _, kind, base, steps = item
                    kinds.append(kind)
                    rows.append(
                        [
                            b + sum(i * s[c] for i, s in zip(indices, steps, strict=False))
                            for c, b in enumerate(base)
                        ]
                    )
                else:
                    for iteration in range(item[0]):
                        run(item[1], [*indices, iteration])

        run(self.items, [])
        return kinds, rows


def stream_of(kinds: list[int], rows: list[list[int]]) -> Stream:
    return Stream.of(kinds, np.array(rows, np.int64).reshape(len(rows), WIDTH))


@st.composite
def loop_programs(draw: st.DrawFn) -> Loops:
    return Loops(draw, draw(st.sampled_from((0, 2, 30))), 3)


@given(loop_programs())
def test_exact(loops: Loops) -> None:
    stream = stream_of(*loops.expand())
    nodes = roll_stream(stream)
    assert is_exact(stream, nodes)
    assert static_size(nodes) <= len(stream)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_exact_on_noise(tokens: list[tuple[int, int, int]]) -> None:
    stream = stream_of([t[0] for t in tokens], [[64 * t[1], 64 * t[2]] for t in tokens])
    assert is_exact(stream, roll_stream(stream))


def nest(*trips: int, body: int, inner: int = 0) -> Stream:
    """A nest with `body` distinct instructions innermost, and `inner` more behind each innermost loop."""
    kinds: list[int] = []
    rows: list[list[int]] = []

    def run(level: int, position: int) -> None:
        if level == len(trips):
            for k in range(body):
                kinds.append(k)
                rows.append([position + 64 * k, 4096 * k])
            return
        for i in range(trips[level]):
            run(level + 1, position + i * (100003 if level == 0 else 64 * 7**level))
            if level == len(trips) - 2:
                for k in range(inner):
                    kinds.append(1000 + k)
                    rows.append([position + 8 * k + i * 64, 0])

    run(0, 0)
    return stream_of(kinds, rows)


def depth(nodes: list[Node] | tuple[Node, ...]) -> int:
    return max((1 + depth(n.body) for n in nodes if isinstance(n, Repeat)), default=0)


@pytest.mark.parametrize("trips", [(7,), (5, 6), (2, 5, 4), (3, 2, 2, 5), (2, 2, 2, 2)])
@pytest.mark.parametrize("body", [1, 3, 11])
def test_perfect_nests_come_back(trips: tuple[int, ...], body: int) -> None:
    nodes = roll_stream(nest(*trips, body=max(body, 3)))
    assert static_size(nodes) <= max(body, 3) + 2 * len(trips)


def test_imperfect_nests_come_back() -> None:
    nodes = roll_stream(nest(4, 6, 8, body=3, inner=2))
    assert depth(nodes) == 3
    assert static_size(nodes) == 3 + 2 + 2 * 3


def test_prologue_and_epilogue_stay_outside() -> None:
    middle = nest(6, body=5)
    kinds = [500, 501, *middle.signature.tolist(), 502]
    rows = [[1, 2], [3, 4], *middle.constants.tolist(), [5, 6]]
    nodes = roll_stream(stream_of(kinds, rows))
    assert [type(n) for n in nodes] == [Span, Repeat, Span]
    assert static_size(nodes) == 2 + 5 + 2 + 1


def test_two_long_copies() -> None:
    kinds = list(range(300)) * 2
    rows = [[7 * k, 0] for k in range(300)] + [[7 * k + 65536, 0] for k in range(300)]
    assert roll_stream(stream_of(kinds, rows)) == [Repeat(0, 300, 2, (Span(0, 300),))]


def test_constants_that_do_not_advance_evenly_stay() -> None:
    rows = [[k * k, 0] for k in range(40)]
    nodes = roll_stream(stream_of([0] * 40, rows))
    assert all(isinstance(n, Span) or n.count == 2 for n in nodes)


def test_bodies_that_use_the_same_kind_at_different_strides() -> None:
    rows = [[base + i * step, 0] for i in range(30) for base, step in ((0, 64), (9000, 128), (500, 0))]
    assert static_size(roll_stream(stream_of([0] * 90, rows))) == 5


def test_loops_that_are_already_there_are_not_cut() -> None:
    kinds = [0, 9, 5, 5, 8] * 6
    level = [0, 0, 1, 1, 1] * 6
    rows = [[i * 64, 0] for i in range(6) for _ in range(5)]
    stream = Stream.of(kinds, np.array(rows, np.int64), depth=level)
    assert roll_stream(stream) == [Repeat(0, 5, 6, (Span(0, 5),))]
    shifted = Stream.of(kinds[2:], np.array(rows[2:], np.int64), depth=level[2:])
    for node in roll_stream(shifted):
        if isinstance(node, Repeat):
            assert shifted.depth[node.start] == 0


def test_loaded_numbers_stay_with_their_users() -> None:
    """Token 3i loads a number, token 3i + 2 uses it; the second load of each row is used one iteration later."""
    size = 24
    symbols = np.full((size, 1), -1, np.int64)
    symbols[2::3, 0] = np.arange(0, size, 3)
    rows = np.array([[i // 3 * 4, 0] for i in range(size)], np.int64)
    nodes = roll_stream(Stream.of([0, 1, 2] * 8, rows, symbols=symbols))
    assert nodes == [Repeat(0, 3, 8, (Span(0, 3),))]
    carried = np.full((size, 1), -1, np.int64)
    carried[4::3, 0] = np.arange(2, size - 2, 3)
    stream = Stream.of([0, 1, 2] * 8, rows, symbols=carried)
    for node in roll_stream(stream):
        if isinstance(node, Repeat):
            inside = carried[node.start : node.start + node.period, 0]
            assert all(s == -1 or s >= node.start for s in inside[inside >= node.start])
    assert is_exact(stream, roll_stream(stream))


def test_a_loaded_number_used_behind_the_loop_keeps_its_iteration_outside() -> None:
    symbols = np.full((9, 1), -1, np.int64)
    symbols[8, 0] = 7
    stream = Stream.of([0] * 8 + [1], np.array([[i, 0] for i in range(9)], np.int64), symbols=symbols)
    for node in roll_stream(stream):
        assert isinstance(node, Span) or node.stop <= 7


def test_replay_names_first_iterations() -> None:
    stream = stream_of([0, 1] * 3, [[i, 0] for i in range(6)])
    run = replay(stream, [Repeat(0, 2, 3, (Span(0, 2),))])
    assert run.token.tolist() == [0, 1] * 3
    assert run.constants[:, 0].tolist() == list(range(6))


def test_four_hundred_thousand_tokens() -> None:
    stream = nest(24, 16, 16, 64, body=1, inner=1)
    assert len(stream) == 24 * 16 * 16 * 65
    assert static_size(roll_stream(stream)) <= 10
