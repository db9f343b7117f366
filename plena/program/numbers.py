"""Dataclasses of numbers as JSON objects."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from plena.errors import PlenaError

NumbersT = TypeVar("NumbersT")


def numbers_from_json(kind: type[NumbersT], document: object, name: str, where: str) -> NumbersT:
    """Inverse of ``asdict`` for a dataclass whose fields are all numbers; `name` is what the document calls it.

    Raises:
        PlenaError: not such a document.
    """
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if isinstance(document, dict) and set(document) == names:
        values: dict[str, Any] = document
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values.values()):
            return kind(**values)
    raise PlenaError(f"`{name}` needs numbers named {', '.join(sorted(names))}", where)
