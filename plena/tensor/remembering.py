"""What analyses have found out of values, kept while a pass asks about one after the other: each looks at all that is
behind a value, which is most of a model."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from xdsl.ir import SSAValue

FoundT = TypeVar("FoundT")

_tables: ContextVar[dict[type[Any], dict[SSAValue, Any]] | None] = ContextVar("_tables", default=None)


@contextmanager
def remembering() -> Generator[None]:
    """Inside, answers are kept: no operation that a value has been asked of may change there, or what it reads."""
    token = _tables.set({})
    try:
        yield
    finally:
        _tables.reset(token)


def remembered(kind: type[FoundT]) -> dict[SSAValue, FoundT]:
    """Answers of a kind so far, to be added to; a new table where nothing is kept."""
    tables = _tables.get()
    return {} if tables is None else tables.setdefault(kind, {})
