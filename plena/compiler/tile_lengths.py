"""How long a program is at least, told at the tile level."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block

from plena.dialects.loop import ForOp
from plena.dialects.tile import BufferOp, ConstantOp, DataOp, ElementwiseOp, HostOp, TileOp, ViewOp

_DECLARATIONS = (BufferOp, ConstantOp, DataOp, HostOp, ViewOp)
"""Operations that no instruction is made of."""


def least_run_and_text(tiles: ModuleOp) -> tuple[int, int]:
    """Instructions that an iteration of the longest outermost loop runs at least, and that the text has at least.

    Elementwise operations take one for each step on each row, whatever they are fused to; others one or more.
    """
    loops = [op for op in tiles.body.block.ops if isinstance(op, ForOp)]
    longest = max((_of_block(loop.body.block)[0] for loop in loops), default=0)
    return longest, _of_block(tiles.body.block)[1]


def _of_block(block: Block) -> tuple[int, int]:
    run = text = 0
    for op in block.ops:
        if isinstance(op, ForOp):
            inner_run, inner_text = _of_block(op.body.block)
            run, text = run + op.trips * inner_run, text + inner_text
        elif isinstance(op, ElementwiseOp):
            steps = sum(step.kind.data != "copy" for step in op.steps)
            rows, blocks = op.size
            run, text = run + rows * blocks * steps, text + steps
        elif isinstance(op, TileOp) and not isinstance(op, _DECLARATIONS):
            run, text = run + 1, text + 1
    return run, text
