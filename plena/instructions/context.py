"""Where tile operands lie: addresses after allocation, constants in registers, transfer parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import BufferOp, TileOp, root_of
from plena.dialects.tile.operation import TileOpT
from plena.errors import CompileError
from plena.instructions.instruction_builder import InstructionBuilder
from plena.machine.target import Target


@dataclass
class Lowering:
    """What a tile operation's lowering needs: the builder, the target, and where buffers are.

    `scale_plane` is the byte address of the plane of MX scales in HBM, from the beginning of a segment; `segment` the
    bytes from one segment to the next, 0 while base address 0 reaches everything. `indices` maps tile-level loop
    indices to the new ones.
    """

    builder: InstructionBuilder
    scale_plane: int
    segment: int = 0
    indices: dict[SSAValue, Linear] = field(default_factory=dict[SSAValue, Linear])

    @property
    def target(self) -> Target:
        return self.builder.target

    def at(self, buffer: SSAValue) -> Linear:
        """The address of a buffer or view as a linear expression over the new loop indices."""
        declaration, offset = root_of(buffer)
        if declaration.address is None:
            name = declaration.symbol.data if isinstance(declaration, BufferOp) else "a constant"
            raise CompileError(f"buffer {name} has no address", hint="run allocate-buffers first")
        total = Linear(declaration.address.data + offset.constant)
        for value, coefficient in offset.terms:
            total = total + self.indices[value] * coefficient
        return total

    def load(self, word: SSAValue) -> SSAValue:
        """A new f cell holding an FP SRAM word."""
        cell = self.builder.f_cell()
        self.builder.emit("S_LD_FP", dst=cell, base=self.at(word))
        return cell


LOWERINGS: dict[type[TileOp], Callable[[Any, Lowering], None]] = {}
"""The lowering of every tile operation."""


def lowers(
    op_class: type[TileOpT],
) -> Callable[[Callable[[TileOpT, Lowering], None]], Callable[[TileOpT, Lowering], None]]:
    """Registers the lowering of a tile operation."""

    def register(function: Callable[[TileOpT, Lowering], None]) -> Callable[[TileOpT, Lowering], None]:
        LOWERINGS[op_class] = function
        return function

    return register


def survives_fp16(value: float) -> bool:
    """Whether the fp16 preload of FP SRAM keeps a constant to bf16 precision (plena_isa.md section 6.2)."""
    with np.errstate(over="ignore"):
        return bool(abs(float(np.float16(value)) - value) <= abs(value) * 2.0**-10)
