"""The search against enumeration: no combination of choices is better by the same cost model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena.loops.selection.address_costs import CountedUpdates, PlannedUpdates
from plena.loops.selection.choices import (
    Context,
    Machine,
    expanded,
    straight_cost,
    straight_options,
)
from plena.loops.selection.code import Code, Terms
from plena.loops.selection.goal import Goal
from plena.loops.selection.search import Nesting, Point, Search
from plena.loops.selection.tree import (
    Address,
    Loop,
    Part,
    Step,
    Stretch,
    code_of,
    factors,
    flat,
)
from tests.calls import counted_calls

Cost = tuple[int, int, int]


def machine(limit: int = 100_000) -> Machine:
    return Machine(CountedUpdates(), CountedUpdates(), limit)


NESTING = Nesting(True, ())


def enumerate_loop(m: Machine, loop: Loop, context: Context) -> Iterator[Cost]:
    """The cost of every choice for a loop and the loops inside it."""
    permutable = loop.inner is not None
    for option in straight_options(m, loop, context, permutable=permutable, jammable=()):
        yield option.static, option.cycles, option.dynamic
    if not loop.loops:
        return
    for static, cycles, dynamic in enumerate_body(m, loop.parts, context.inside(loop)):
        for factor in factors(loop.trips):
            trips, rest = divmod(loop.trips, factor)
            if factor == loop.trips:
                yield static * factor, cycles * factor, dynamic * factor
            elif factor * dynamic + 1 <= m.limit:
                yield (
                    2 + static * (factor + rest),
                    1 + trips * (1 + factor * cycles) + rest * cycles,
                    1 + trips * (1 + factor * dynamic) + rest * dynamic,
                )


def enumerate_body(m: Machine, parts: tuple[Part, ...], context: Context) -> Iterator[Cost]:
    choices: list[list[Cost]] = []
    for part in parts:
        if isinstance(part, Loop):
            mine = list(enumerate_loop(m, part, context))
            flat = expanded(m, part, context)
            if flat is not None:
                mine.append((flat.static, flat.cycles, flat.dynamic))
        else:
            cost = straight_cost(m, part.straight, context)
            mine = [] if cost is None else [cost]
        choices.append(mine)
    for combination in product(*choices):
        yield tuple(map(sum, zip(*combination, strict=True))) if combination else (0, 0, 0)  # type: ignore[misc]


@st.composite
def trees(draw: st.DrawFn, depth: int = 2) -> tuple[Part, ...]:
    count = [0]

    def parts(level: int, indices: list[str]) -> tuple[Part, ...]:
        made: list[Part] = []
        for _ in range(draw(st.integers(1, 2))):
            if level and draw(st.booleans()):
                number = count[0]
                count[0] += 1
                index = f"i{number}"
                trips = draw(st.sampled_from((1, 2, 3, 4, 6)))
                made.append(Loop(number, trips, index, parts(level - 1, [*indices, index])))
            else:
                steps = [step(indices) for _ in range(draw(st.integers(1, 3)))]
                made.append(Stretch(tuple(steps)))
        return tuple(made)

    def step(indices: list[str]) -> Step:
        addresses: list[Address] = []
        for _ in range(draw(st.integers(0, 2))):
            terms = tuple((i, draw(st.sampled_from((4, 64, 256)))) for i in indices if draw(st.booleans()))
            addresses.append(Address(64 * draw(st.integers(0, 3)), terms, draw(st.booleans())))
        return Step(draw(st.sampled_from((1, 4, 64))), tuple(addresses))

    return parts(depth, [])


@settings(max_examples=60, deadline=None)
@given(trees(), st.integers(1, 200), st.sampled_from((30, 200, 100_000)))
def test_no_combination_is_better(parts: tuple[Part, ...], budget: int, limit: int) -> None:
    m = machine(limit)
    every = list(enumerate_body(m, parts, Context()))
    fitting = [c for c in every if c[0] <= budget]
    found = Search(m, lambda _: NESTING, budget).frontier(parts)
    assert bool(found) == bool(fitting)
    if not found:
        return
    fastest, smallest = Goal("cycles", budget).best(found), Goal("size").best(found)
    assert (fastest.cycles, fastest.static) == min((c[1], c[0]) for c in fitting)
    assert (smallest.static, smallest.cycles) == min((c[0], c[1]) for c in fitting)
    assert all(p.static <= budget for p in found)


@given(trees())
def test_the_frontier_is_one(parts: tuple[Part, ...]) -> None:
    points = Search(machine(), lambda _: NESTING).frontier(parts)
    assert all(a.static < b.static and a.cycles > b.cycles for a, b in pairwise(points))


def test_every_loop_is_decided() -> None:
    inner = Loop(1, 6, "j", (Stretch((Step(4, ()),)),))
    parts: tuple[Part, ...] = (Loop(0, 4, "i", (inner, Stretch((Step(1, ()),)))),)
    for point in Search(machine(), lambda _: NESTING).frontier(parts):
        assert [c.loop.number for c in point.choices] == [0]


def test_the_watchdog_splits_what_runs_too_long() -> None:
    body = Stretch(tuple(Step(1, ()) for _ in range(10)))
    parts: tuple[Part, ...] = (Loop(0, 2, "i", (Loop(1, 50, "j", (body,)), body)),)
    point = Goal("size").best(Search(machine(300), lambda _: NESTING).frontier(parts))
    (choice,) = point.choices
    assert choice.kind == "expand", "one iteration of the outer loop runs more than 300 instructions"


def kernel(number: int, base: int) -> list[Part]:
    """A matrix product and a row loop of different shapes, four loops."""
    trips = (2, 4, 8, 16)[number % 4]
    product_step = Step(
        64, (Address(base, (("k", 4096), ("c", 256)), False), Address(base, (("k", 4096), ("r", 256)), False))
    )
    out = Step(1, (Address(base, (("c", 4), ("r", 256)), True),))
    reduction = Loop(-1, trips, "k", (Stretch((product_step,)),))
    rows = Loop(-1, 16, "r", (reduction, Stretch((out,))))
    row_step = Step(1, (Address(base, (("row", 64),), False),))
    return [Loop(-1, 16, "c", (rows,)), Loop(-1, 64, "row", (Stretch((row_step,) * (1 + number % 5)),))]


def test_the_search_grows_linearly_with_the_loops() -> None:
    counts: list[int] = []
    for kernels in (20, 40):
        parts = tuple(part for number in range(kernels) for part in kernel(number, 4096 * number))
        assert sum(1 for p in parts if isinstance(p, Loop) for _ in p.walk()) == 4 * kernels
        search = Search(Machine(PlannedUpdates(), CountedUpdates(), 100_000), lambda _: NESTING, 3000)
        with counted_calls() as calls:
            points = search.frontier(parts)
        counts.append(calls())
        assert len(points) > 10
    assert counts[1] < 2.5 * counts[0]


def test_a_long_straight_body_can_be_kept_or_expanded() -> None:
    body = Stretch(tuple(Step(1, ()) for _ in range(1500)))
    parts: tuple[Part, ...] = (Loop(0, 2, "i", (body,)),)
    kept = Goal("size").best(Search(machine(), lambda _: NESTING).frontier(parts))
    assert (kept.static, kept.choices[0].kind) == (1502, "keep")
    forced = Goal("size").best(Search(machine(1400), lambda _: NESTING).frontier(parts))
    assert (forced.static, forced.choices[0].kind) == (3000, "expand")


def rows(code: Code) -> list[tuple[int, int, Terms, bool]]:
    """What is read: which instruction does, the constant, the terms, whether with an immediate."""
    columns = zip(code.place, code.constant, code.part, code.has_immediate, strict=True)
    return [(int(place), int(c), code.parts[part], bool(flag)) for place, c, part, flag in columns]


def test_copies_substitute_the_index() -> None:
    step = Step(1, (Address(8, (("i", 64), ("j", 4)), False),))
    assert rows(code_of([step]).copies("i", 2, 9, factor=2)) == [
        (0, 8, (("i", 128), ("j", 4)), False),
        (1, 72, (("i", 128), ("j", 4)), False),
    ]
    loop = Loop(0, 3, "i", (Stretch((step,)),))
    assert [row[1] for row in rows(flat([loop], 9))] == [8, 72, 136]
    assert [row[2] for row in rows(flat([loop], 9))] == [(("j", 4),)] * 3


def test_addresses_that_copies_make_alike_have_one_variable_part() -> None:
    reads = (Address(0, (("i", 64), ("j", 4)), False), Address(5, (("j", 4),), True), Address(7, (), True))
    code = code_of([Step(1, reads), Step(1, ())]).copies("i", 3, 3)
    assert code.length == 3 and code.parts == ((("j", 4),), ())
    assert rows(code)[3:] == [(2, 64, (("j", 4),), False), (2, 5, (("j", 4),), True), (2, 7, (), True)]


@given(trees(), st.integers(0, 40))
def test_code_is_the_instructions_one_by_one(parts: tuple[Part, ...], most: int) -> None:
    def steps(
        parts: tuple[Part, ...], at: dict[str, int]
    ) -> Iterator[list[tuple[int, frozenset[object], bool]]]:
        for part in parts:
            if isinstance(part, Loop):
                for t in range(part.trips):
                    yield from steps(part.parts, {**at, str(part.index): t})
                continue
            for step in part.steps:
                yield [
                    (a.constant + sum(c * at[str(k)] for k, c in a.terms), frozenset(), a.has_immediate)
                    for a in step.addresses
                ]

    every = list(steps(parts, {}))[:most]
    code = flat(parts, most)
    assert code.length == len(every)
    found = [(place, c, frozenset(terms), flag) for place, c, terms, flag in rows(code)]
    assert found == [(place, *read) for place, reads in enumerate(every) for read in reads]


@pytest.mark.parametrize(
    ("trips", "expected"),
    [(16, [1, 2, 4, 8, 16]), (22, [1, 2, 11, 22]), (13, [1, 2, 4, 13]), (3, [1, 3]), (1, [1])],
)
def test_factors(trips: int, expected: list[int]) -> None:
    assert factors(trips) == expected


def point(static: int, cycles: int) -> Point:
    return Point(static, cycles, 0, tuple)


def test_best_breaks_ties_by_the_other_figure() -> None:
    points = [point(10, 100), point(20, 50), point(30, 50)]
    assert Goal("cycles", 40).best(points) == point(20, 50)
    assert Goal("size").best(points) == point(10, 100)


def test_without_a_budget_growth_must_pay() -> None:
    points = [point(100, 1000), point(110, 960), point(10_000, 900)]
    assert Goal("cycles").best(points) == point(110, 960)
    assert Goal("cycles", 20_000).best(points) == point(10_000, 900)
