"""The outside of a program: what it takes and returns, and what lies where in its memories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from plena.errors import PlenaError


@dataclass(frozen=True)
class Port:
    """An input or output as the user sees it: name, shape, and dtype as torch names it ("float32")."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}

    @staticmethod
    def from_json(document: object, where: str) -> Port:
        """Inverse of ``to_json``.

        Raises:
            PlenaError: not such a document.
        """
        match document:
            case {"name": str(name), "shape": [*shape], "dtype": str(dtype)} if all(
                isinstance(n, int) and n >= 0 for n in shape
            ):
                return Port(name, tuple(shape), dtype)
            case _:
                raise PlenaError("an input or output needs name, shape and dtype", where)

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}"


FixedResult: TypeAlias = tuple[int, bool | int | float | str | None]
"""A place among the results of a model, and what it returns there whatever its inputs are."""


def fixed_result_from_json(document: object, where: str) -> FixedResult:
    """A pair in a manifest.

    Raises:
        PlenaError: not such a pair.
    """
    match document:
        case [int(position), (bool() | int() | float() | str() | None) as value] if position >= 0:
            return position, value
        case _:
            raise PlenaError("a fixed result needs its place and its value", where)


@dataclass(frozen=True)
class Region:
    """An entry of the memory map: ``size`` units of a memory from ``address`` on, and what they are for.

    Units: hbm bytes of the element plane, matrix and vector elements, fp and int words.
    """

    name: str
    memory: str
    address: int
    size: int
    role: str = "scratch"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @staticmethod
    def from_json(document: Mapping[str, Any], where: str) -> Region:
        """Inverse of ``to_json``.

        Raises:
            PlenaError: not such a document.
        """
        match document:
            case {"name": str(), "memory": str(), "address": int(), "size": int(), "role": str(), **rest} if (
                not rest
            ):
                return Region(**document)
            case _:
                raise PlenaError("a region needs name, memory, address, size and role", where)
