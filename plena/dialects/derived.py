"""Tables derived from the instruction declarations: made when first asked for, forgotten when a declaration changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

_FORGET: list[Callable[[], None]] = []


def derived(function: Callable[P, T]) -> Callable[P, T]:
    """Remembers what a function of few distinct arguments derives from the declarations."""
    return derived_of_targets(None)(function)


def derived_of_targets(most: int | None) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """The same for a function of targets, of which there may be any number: at most `most` results are kept."""

    def remember(function: Callable[P, T]) -> Callable[P, T]:
        cached = lru_cache(maxsize=most)(function)
        _FORGET.append(cached.cache_clear)
        return cast("Callable[P, T]", cached)

    return remember


def forgets(clear: Callable[[], None]) -> None:
    """Has something cleared too when the tables are forgotten."""
    _FORGET.append(clear)


def forget_derived() -> None:
    """Lets every table be made again: an instruction was declared or withdrawn."""
    for forget in _FORGET:
        forget()
