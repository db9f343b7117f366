"""The integers of a symbolic run: linear expressions over symbols, modulo 2^32.

A value is an `int` in [0, 2^32) or a `Sum`. Symbols are small integers; whoever allocates them knows what they stand
for. Whatever is not linear gets a symbol of its own, so that differences of it still cancel.
Source: plena_isa.md section 2.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from plena.dialects.loop.linear import Expression, collected
from plena.machine.constants import INT_LIMIT

MASK = INT_LIMIT - 1


class Sum(Expression[int]):
    """`constant + sum(coefficient * symbol)`, everything modulo 2^32; at least one term, sorted by symbol."""

    __slots__ = ()


Value = int | Sum


def symbol(number: int) -> Sum:
    """The value that is just a symbol."""
    return Sum(0, ((number, 1),))


def linear(constant: int, terms: Iterable[tuple[int, int]]) -> Value:
    """The canonical value: repeated symbols added up, everything reduced."""
    kept = tuple(sorted((s, c & MASK) for s, c in collected(terms).items() if c & MASK))
    return Sum(constant & MASK, kept) if kept else constant & MASK


def add(x: Value, y: Value) -> Value:
    """x + y."""
    if type(x) is int:
        if type(y) is int:
            return (x + y) & MASK
        x, y = y, x
    assert isinstance(x, Sum)
    if type(y) is int:
        return Sum((x.constant + y) & MASK, x.terms) if y else x
    assert isinstance(y, Sum)
    return linear(x.constant + y.constant, x.terms + y.terms)


def scale(x: Value, factor: int) -> Value:
    """factor * x."""
    if type(x) is int:
        return x * factor & MASK
    assert isinstance(x, Sum)
    return linear(x.constant * factor, ((s, c * factor) for s, c in x.terms))


def subtract(x: Value, y: Value) -> Value:
    """x - y."""
    if type(x) is int and type(y) is int:
        return (x - y) & MASK
    return add(x, scale(y, MASK))


def substitute(x: Value, meaning: Callable[[int], Value | None]) -> Value:
    """x with every symbol that has a meaning replaced by it."""
    if type(x) is int:
        return x
    assert isinstance(x, Sum)
    constant = x.constant
    terms: list[tuple[int, int]] = []
    for number, coefficient in x.terms:
        value = meaning(number)
        if value is None:
            terms.append((number, coefficient))
        elif isinstance(value, Sum):
            constant += value.constant * coefficient
            terms.extend((s, c * coefficient) for s, c in value.terms)
        else:
            constant += value * coefficient
    return linear(constant, terms)


def symbols_of(x: Value) -> tuple[int, ...]:
    """The symbols that occur in x."""
    return tuple(s for s, _ in x.terms) if isinstance(x, Sum) else ()
