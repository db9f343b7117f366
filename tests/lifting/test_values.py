"""Numbers modulo 2^32, their integer form, and loop-carried state."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plena.dialects.loop import Linear
from plena.lifting.ranges import exact
from plena.lifting.recurrence import Progression, Recurrence, Unsolved
from plena.lifting.symbols import SymbolKind, Symbols
from plena.lifting.values import MASK, Sum, Value, add, linear, scale, substitute, subtract, symbol
from plena.machine.constants import INT_LIMIT

words = st.integers(0, MASK)
symbols = st.integers(0, 3)
values = st.one_of(words, st.builds(linear, words, st.lists(st.tuples(symbols, words), max_size=4)))


def evaluate(value: Value, given_symbols: list[int]) -> int:
    if isinstance(value, int):
        return value
    return (value.constant + sum(c * given_symbols[s] for s, c in value.terms)) & MASK


@given(values, values, words, st.lists(words, min_size=4, max_size=4))
def test_the_algebra_is_that_of_32_bit_words(x: Value, y: Value, factor: int, at: list[int]) -> None:
    assert evaluate(add(x, y), at) == (evaluate(x, at) + evaluate(y, at)) & MASK
    assert evaluate(subtract(x, y), at) == (evaluate(x, at) - evaluate(y, at)) & MASK
    assert evaluate(scale(x, factor), at) == evaluate(x, at) * factor & MASK
    assert subtract(x, x) == 0


@given(values, values, st.lists(words, min_size=4, max_size=4))
def test_substitution(x: Value, y: Value, at: list[int]) -> None:
    replaced = substitute(x, lambda s: y if s == 2 else None)
    assert evaluate(replaced, at) == evaluate(x, [*at[:2], evaluate(y, at), at[3]])


small = st.integers(-40, 40).map(lambda n: n & MASK)
near = st.one_of(st.integers(0, 200), st.integers(INT_LIMIT - 200, MASK), words)


@given(
    near,
    st.lists(st.one_of(small, st.sampled_from([1 << 31, 3 << 30, 1 << 30])), min_size=2, max_size=2),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_exact_finds_the_integer_function_if_there_is_one(
    constant: int, coefficients: list[int], trips: tuple[int, int]
) -> None:
    value = linear(constant, enumerate(coefficients))
    bounds = [(0, t - 1) for t in trips]
    table = {(i, j): evaluate(value, [i, j, 0, 0]) for i in range(trips[0]) for j in range(trips[1])}
    number = exact(value, bounds)
    if number is None:
        assert not _is_linear(table, trips)
        return
    steps = {} if isinstance(number, int) else dict(number.terms)
    start = number if isinstance(number, int) else number.constant
    for (i, j), expected in table.items():
        assert start + i * steps.get(0, 0) + j * steps.get(1, 0) == expected


def _is_linear(table: dict[tuple[int, int], int], trips: tuple[int, int]) -> bool:
    di = table[1, 0] - table[0, 0] if trips[0] > 1 else 0
    dj = table[0, 1] - table[0, 0] if trips[1] > 1 else 0
    return all(v == table[0, 0] + i * di + j * dj for (i, j), v in table.items())


def test_single_valued_indices_fold_into_the_constant() -> None:
    assert exact(Sum(5, ((0, 7), (1, 3))), [(4, 4), (0, 1)]) == Linear(33, ((1, 3),))
    assert exact(Sum(5, ((0, 7),)), [(2, 2)]) == 19


def solve(trips: int, firsts: list[Value], exits: list[list[int]]) -> list[Progression | Unsolved]:
    """Recurrences on registers: `exits[r]` is constant, coefficient of the index, coefficients of the registers."""
    table = Symbols()
    table.depth = 1
    index = table.new(SymbolKind.INDEX, trips)
    numbers = [table.new(SymbolKind.ENTRY) for _ in firsts]
    after = {r: linear(e[0], [(index, e[1]), *zip(numbers, e[2:], strict=True)]) for r, e in enumerate(exits)}
    entries = {r: (numbers[r], first) for r, first in enumerate(firsts)}
    solved = Recurrence(table, index, 1, trips, entries, after, str).solve()
    return [solved[n] for n in numbers]


def test_an_induction_variable() -> None:
    assert solve(4, [100], [[64, 0, 1]]) == [Progression(100, 64)]


def test_a_constant_at_the_end_needs_one_iteration_apart() -> None:
    assert solve(4, [7], [[9, 0, 0]]) == [Progression(9, 0, (7,))]
    assert solve(4, [9], [[9, 0, 0]]) == [Progression(9, 0)]


def test_a_copy_lags_one_iteration_behind() -> None:
    moved, lagging = solve(5, [100, 36], [[64, 0, 1, 0], [0, 0, 1, 0]])
    assert moved == Progression(100, 64)
    assert lagging == Progression(36, 64)
    (_, other) = solve(5, [100, 1], [[64, 0, 1, 0], [0, 0, 1, 0]])
    assert other == Progression(36, 64, (1,))


def test_exchanged_registers_are_not_solved() -> None:
    a, b = solve(5, [1, 2], [[0, 0, 0, 1], [0, 0, 1, 0]])
    assert isinstance(a, Unsolved) and isinstance(b, Unsolved) and "takes turns" in b.reason


def test_growing_steps_and_factors_are_not_solved() -> None:
    (doubled,) = solve(5, [1], [[0, 0, 2]])
    assert isinstance(doubled, Unsolved) and "multiplied by 2" in doubled.reason
    (quadratic,) = solve(5, [1], [[0, 3, 1]])
    assert isinstance(quadratic, Unsolved) and "itself changes" in quadratic.reason


coefficients = st.sampled_from([0, 0, 1, MASK, 2])


@given(
    st.integers(1, 7),
    st.lists(st.integers(0, 50), min_size=3, max_size=3),
    st.lists(
        st.tuples(
            st.integers(0, 20), st.sampled_from([0, 0, 3]), coefficients, coefficients, coefficients
        ).map(list),
        min_size=3,
        max_size=3,
    ),
)
def test_progressions_are_what_iterating_gives(trips: int, firsts: list[int], exits: list[list[int]]) -> None:
    solved = solve(trips, list(firsts), exits)
    state = list(firsts)
    for iteration in range(trips):
        for register, progression in enumerate(solved):
            if isinstance(progression, Progression):
                assert progression.at(iteration) == state[register]
        products = [sum(c * s for c, s in zip(e[2:], state, strict=True)) for e in exits]
        state = [(e[0] + e[1] * iteration + p) & MASK for e, p in zip(exits, products, strict=True)]


def test_a_symbol_is_a_value() -> None:
    assert symbol(3) == Sum(0, ((3, 1),)) and hash(symbol(3)) == hash(Sum(0, ((3, 1),)))
