"""Bytes in pages that know whether they have changed: what is equal is neither copied nor compared.

Every page has a number; pages with one number have one content. What a run leaves differs from what was there before
in the pages that it wrote, and a memory that remembers the numbers of what it holds takes those alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from plena.host.mapped_image import PAGE, Bytes
from plena.integers import ceil_div

Numbers: TypeAlias = npt.NDArray[np.int64]

ZEROS = 0
"""The number of pages of zeros."""

UNKNOWN = -1
"""What a memory says of a page of which it does not know what it holds."""

_numbers = count(1)
_EMPTY: Bytes = np.zeros(PAGE, np.uint8)


@dataclass(frozen=True, eq=False)
class Pages:
    """`size` bytes that never change; the last page is as long as they reach.

    Attributes:
        parts: the pages.
        numbers: of the pages, equal where they are.
    """

    size: int
    parts: Sequence[Bytes]
    numbers: Numbers

    @staticmethod
    def of(data: Bytes) -> Pages:
        """Those of an array, which must not change afterwards."""
        some = nonzero_pages(data)
        parts = [
            data[n * PAGE : (n + 1) * PAGE] if used else _EMPTY[: data.size - n * PAGE]
            for n, used in enumerate(some)
        ]
        numbers = np.array([next(_numbers) if used else ZEROS for used in some], np.int64)
        return Pages(data.size, parts, numbers)

    def __reduce__(self) -> tuple[Any, ...]:
        """Numbers mean nothing in another process."""
        return Pages.of, (self.array(),)

    def array(self) -> Bytes:
        """All bytes, in an array of their own."""
        return np.concatenate(self.parts) if self.parts else np.zeros(0, np.uint8)

    def write(self, memory: Bytes, held: Numbers | None = None) -> None:
        """Into `size` bytes of memory: all pages, or those that it does not hold, and `held` then says that it does."""
        changed = range(len(self.parts)) if held is None else np.flatnonzero(held != self.numbers).tolist()
        for n in changed:
            memory[n * PAGE : (n + 1) * PAGE] = self.parts[n]
        if held is not None:
            held[:] = self.numbers

    def read(self, memory: Bytes, pages: Sequence[int]) -> Pages:
        """These bytes with some pages as a memory has them."""
        if not len(pages):
            return self
        parts, numbers = list(self.parts), self.numbers.copy()
        for n in pages:
            parts[n] = np.array(memory[n * PAGE : (n + 1) * PAGE])
            numbers[n] = next(_numbers)
        return Pages(self.size, parts, numbers)

    def moved(self, source: int, to: int, length: int) -> Pages:
        """These bytes with those from `source` on at `to`, too."""
        if not length:
            return self
        first, last = to // PAGE, (to + length - 1) // PAGE
        around = np.concatenate([self.parts[n] for n in range(first, last + 1)])
        start = to - first * PAGE
        around[start : start + length] = self._slice(source, length)
        parts, numbers = list(self.parts), self.numbers.copy()
        for n in range(first, last + 1):
            parts[n] = around[(n - first) * PAGE : (n - first + 1) * PAGE]
            numbers[n] = next(_numbers)
        return Pages(self.size, parts, numbers)

    def _slice(self, start: int, length: int) -> Bytes:
        first, last = start // PAGE, (start + length - 1) // PAGE
        around = np.concatenate([self.parts[n] for n in range(first, last + 1)])
        return around[start - first * PAGE :][:length]


def nonzero_pages(data: Bytes) -> npt.NDArray[np.bool_]:
    """Which pages of an array have a byte that is not zero."""
    whole = data.size // PAGE
    found = np.zeros(ceil_div(data.size, PAGE), np.bool_)
    found[:whole] = data[: whole * PAGE].reshape(whole, PAGE).any(1)
    if whole < found.size:
        found[whole] = data[whole * PAGE :].any()
    return found


def pages_of(start: int, stop: int, blocks: Numbers) -> Numbers:
    """The pages of bytes [start, stop) of a memory that some blocks of the memory, ascending, reach into."""
    low, high = np.searchsorted(blocks, [start // PAGE, ceil_div(stop, PAGE)])
    if low == high or start == stop:
        return np.zeros(0, np.int64)
    first = np.maximum(blocks[low:high] * PAGE - start, 0) // PAGE
    last = np.minimum((blocks[low:high] + 1) * PAGE - 1, stop - 1) - start
    return np.unique(np.concatenate([first, last // PAGE]))


__all__ = ["UNKNOWN", "ZEROS", "Bytes", "Numbers", "Pages", "nonzero_pages", "pages_of"]
