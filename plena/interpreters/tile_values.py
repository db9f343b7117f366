"""Values of the tile interpreter: parts of buffers, and the lane functions of the vector unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from xdsl.interpreter import PythonValues

from plena.dialects.tile import TileOp
from plena.machine.number_formats import bf16_round

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """A buffer's elements from `offset` units on; one element is `unit` units."""

    data: Floats
    offset: int = 0
    unit: int = 1

    def at(self, offset: int) -> Region:
        return Region(self.data, self.offset + offset, self.unit)

    def rows(self, count: int, pitch: int, width: int, start: int = 0) -> Floats:
        """A view of `count` rows of `width` elements, `pitch` units apart, `start` units further on."""
        first = (self.offset + start) // self.unit
        step = pitch // self.unit
        if count > 1 and step == 0:
            return np.broadcast_to(self.data[first : first + width], (count, width))
        end = first + (count - 1) * step + width
        if first < 0 or end > len(self.data):
            raise IndexError(f"rows {first}..{end} leave a buffer of {len(self.data)} elements")
        strides = (step * self.data.itemsize, self.data.itemsize)
        return np.lib.stride_tricks.as_strided(self.data[first:], (count, width), strides)


def panels_of(op: TileOp, args: PythonValues) -> dict[str, Region]:
    """The buffers of an operation by the names of its operands."""
    return dict(zip((name for name, _ in op.buffers()), args, strict=True))


def add_in_order(rows: Sequence[Floats] | Floats) -> Floats:
    """Rows, or blocks of rows, added one after another."""
    total = rows[0].copy()
    for row in rows[1:]:
        total = bf16_round(total + row)
    return total


def in_chunks(rows: Sequence[Floats] | Floats, chunk: int) -> list[Floats]:
    """The sums of `chunk` rows, or blocks of rows, at a time; 0: of all."""
    chunk = chunk or len(rows)
    return [add_in_order(rows[start : start + chunk]) for start in range(0, len(rows), chunk)]


def exponential(x: Floats) -> Floats:
    """The machine's exp: correctly rounded, the argument clamped to [-88, 88] (plena_isa.md section 2.7).

    In double precision: numpy's float32 exponential is off by one bf16 step for one argument.
    """
    return bf16_round(np.exp(np.clip(x, -88, 88).astype(np.float64)).astype(np.float32))


def elementwise(kind: str, a: Floats, b: Any) -> Floats:
    """One of tile.lanewise's kinds in float32, not rounded."""
    match kind:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "reverse_sub":
            return -(a - b)
        case "mul":
            return a * b
        case "max":
            return np.maximum(a, b)
        case "min":
            return np.minimum(a, b)
        case "exp":
            return exponential(a)
        case "reciprocal":
            return np.float32(1) / a
        case _:
            return a.copy()
