"""Figures by timing profile, each computed when it is asked for: simulations take time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

from plena.timing.registry import timings

V = TypeVar("V")


class Figures(dict[str, V]):
    """Profile -> figure, for the profiles that have one, in their order: a dictionary that fills itself.

    Whoever looks at all of it, or asks how many there are, has all computed.

    Args:
        names: the profiles that may have one.
        figure: computes the one of a profile, None where there is none. It is asked once.
        at_once: names whose figure is computed now.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        figure: Callable[[str], V | None] = lambda _: None,
        at_once: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._open, self._order, self._figure = set(names), tuple(names), figure
        self._is_whole = False
        for name in at_once:
            self.get(name)

    def __missing__(self, name: str) -> V:
        found = self._found(name)
        if found is None:
            raise KeyError(name)
        return found

    def _found(self, name: str) -> V | None:
        """Computes a figure that is not there yet."""
        if name not in self._open:
            return None
        self._open.discard(name)
        found = self._figure(name)
        if found is not None:
            self[name] = found
        return found

    def _all(self) -> None:
        """Computes what is left, and puts all in order."""
        if self._is_whole:
            return
        self._is_whole = True
        for name in [n for n in self._order if n in self._open]:
            self._found(name)
        found = super().copy()
        super().clear()
        super().update({name: found[name] for name in self._order if name in found})

    def get(self, key: str, default: Any = None, /) -> Any:
        if super().__contains__(key):
            return super().get(key)
        found = self._found(key)
        return default if found is None else found

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (isinstance(key, str) and self._found(key) is not None)

    def __iter__(self) -> Iterator[str]:
        self._all()
        return super().__iter__()

    def __len__(self) -> int:
        self._all()
        return super().__len__()

    def keys(self) -> Any:
        self._all()
        return super().keys()

    def values(self) -> Any:
        self._all()
        return super().values()

    def items(self) -> Any:
        self._all()
        return super().items()

    def __eq__(self, other: object) -> bool:
        self._all()
        if isinstance(other, Figures):
            cast("Figures[Any]", other)._all()
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __or__(self, other: Any) -> Any:
        self._all()
        return super().__or__(other)

    def copy(self) -> dict[str, V]:
        self._all()
        return super().copy()

    def __repr__(self) -> str:
        self._all()
        return super().__repr__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), dict(self.items()))


class ByProfile(Figures[int]):
    """Cycles by timing profile; None for a registered one that has none for the program."""

    def __missing__(self, name: str) -> int:
        found = self._found(name)
        if found is None and name not in timings():
            raise KeyError(name)
        return cast("int", found)


def _again(kind: type[Figures[Any]], found: dict[str, Any]) -> Figures[Any]:
    """Figures that are computed already: what another process gets."""
    return kind(tuple(found), found.get, tuple(found))
