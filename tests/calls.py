"""How much Python runs: calls counted, because times are noisy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def counted_calls() -> Iterator[Callable[[], int]]:
    """Counts the calls of Python functions in its body; what it yields tells how many there have been."""
    count = 0

    def event(frame: FrameType, what: str, argument: Any) -> None:
        nonlocal count
        count += what == "call"

    before = sys.getprofile()
    sys.setprofile(event)
    try:
        yield lambda: count
    finally:
        sys.setprofile(before)
