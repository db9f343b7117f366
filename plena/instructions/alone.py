"""What a tile operation becomes before its buffers have addresses: the instructions, all at address 0."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena_isa import Instruction
from plena.dialects.tile import TileOp
from plena.instructions.context import LOWERINGS, Lowering
from plena.instructions.instruction_builder import InstructionBuilder
from plena.machine.target import Target


@dataclass
class _Nowhere(Lowering):
    """A lowering for which everything lies at 0."""

    def at(self, buffer: SSAValue) -> Linear:
        return Linear(0)


def instructions_of(op: TileOp, target: Target) -> list[Instruction]:
    """The instructions of one operation, each once whatever the loops around it; addresses mean nothing."""
    builder = InstructionBuilder(target)
    LOWERINGS[type(op)](op, _Nowhere(builder, 0, indices=defaultdict(Linear)))
    return [inner for inner in builder.finish().walk() if isinstance(inner, Instruction)]
