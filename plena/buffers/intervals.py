"""Live intervals of buffers."""

from __future__ import annotations

from dataclasses import dataclass

from plena.dialects.tile import BufferOp


@dataclass(frozen=True)
class Interval:
    """A buffer's life in positions of operations, both ends included."""

    buffer: BufferOp
    start: int
    end: int

    def overlaps(self, other: Interval) -> bool:
        return self.start <= other.end and other.start <= self.end
