"""The HBM that a program runs in, again and again.

A program's image stays as it is: a run has a memory of its own. Making one for every run would copy all weights and all
states for one token. So the memory of the last run is taken again. What that run wrote in it is put right, and of the
states it gets the pages that have changed.
"""

from __future__ import annotations

import mmap
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from plena.host.mapped_image import PAGE, Bytes, copy_written, private_copy
from plena.program.pages import UNKNOWN, ZEROS, Numbers, nonzero_pages, pages_of

if TYPE_CHECKING:
    from plena.program.state import KeptState


@dataclass
class WorkingMemory:
    """`size` bytes that begin as the image of a program does.

    A result of the emulator has the memory, too. Where somebody keeps one the next run gets another memory, and where
    the program has got another image.
    """

    size: int
    _image: Bytes | None = field(default=None, init=False, repr=False)
    _bytes: Any = field(default=None, init=False, repr=False)
    _lent: Any = field(default=None, init=False, repr=False)
    _written: Numbers | None = field(default=None, init=False, repr=False)
    """Blocks that the last run wrote; None while one runs, and after one that did not come to its end."""
    _held: dict[tuple[int, int], Numbers] = field(
        default_factory=dict[tuple[int, int], "Numbers"], init=False, repr=False
    )

    def ready(self, image: Bytes, states: KeptState | None) -> Bytes:
        """The memory before a run: the image and the states. What else is staged may be what the last call had."""
        kept_elsewhere = self._lent is not None and self._lent() is not None
        if self._written is None or kept_elsewhere or image is not self._image:
            self._image, self._bytes = image, memory_like(image, self.size)
            self._written = np.zeros(0, np.int64)
            self._held.clear()
        hbm: Bytes = np.ndarray((self.size,), np.uint8, self._bytes)
        self._lent = weakref.ref(hbm)
        self._restore(hbm, image, self._written)
        if states is not None:
            self._take(hbm, states)
        self._written = None
        return hbm

    def ran(self, written: Numbers) -> None:
        """Says which blocks a run wrote that came to its end."""
        self._written = written

    def _restore(self, hbm: Bytes, image: Bytes, blocks: Numbers) -> None:
        """The image where the last run wrote."""
        for block in blocks.tolist():
            start, stop = block * PAGE, min((block + 1) * PAGE, self.size)
            part = image[start:stop]
            hbm[start : start + part.size] = part
            hbm[start + part.size : stop] = 0
        for (start, stop), held in self._held.items():
            held[pages_of(start, stop, blocks)] = UNKNOWN

    def _take(self, hbm: Bytes, states: KeptState) -> None:
        for (start, stop), pages in states.pages():
            held = self._held.get((start, stop))
            if held is None:
                some = nonzero_pages(hbm[start:stop])
                held = self._held[start, stop] = np.where(some, UNKNOWN, ZEROS).astype(np.int64)
            pages.write(hbm[start:stop], held)


def memory_like(image: Bytes, size: int) -> mmap.mmap:
    """`size` bytes that begin as an image does."""
    own = private_copy(image, size)
    if own is not None and isinstance(own.base, mmap.mmap):
        return own.base
    # Of an array on an array NumPy makes one on the innermost: nothing would say then that a part of it is still held.
    memory = mmap.mmap(-1, size, access=mmap.ACCESS_COPY)
    copy_written(image, np.ndarray((size,), np.uint8, memory))
    return memory


__all__ = ["WorkingMemory", "memory_like"]
