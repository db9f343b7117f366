"""Sums of rows lane by lane, and of the lanes of a row: what norms, reductions and softmax add up."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.instructions.instruction_builder import InstructionBuilder


def reduce_sum(
    builder: InstructionBuilder, total: SSAValue, row: Linear, start: Linear | None = None
) -> None:
    """total = the sum of the lanes of a row, plus the word at `start`."""
    if start is None:
        builder.emit("S_ADD_FP", dst=total, a=builder.f0, b=builder.f0)
    else:
        builder.emit("S_LD_FP", dst=total, base=start)
    builder.emit("V_RED_SUM", acc=total, a=row)


def add_rows(builder: InstructionBuilder, x: Linear, rows: int, row: int, total: Linear) -> None:
    """The row `total` = the sum of two or more rows, `row` elements apart, in order."""
    builder.emit("V_ADD_VV", dst=total, a=x, b=x + row)
    if rows > 2:
        with builder.loop(rows - 2) as r:
            builder.emit("V_ADD_VV", dst=total, a=total, b=x + (r + 2) * row)


def add_blocks(
    builder: InstructionBuilder,
    x: Linear,
    blocks: int,
    block: int,
    total: Linear,
    mask: Linear | None = None,
    up: int = 0,
) -> Linear:
    """The row that is the sum of the column blocks of a row.

    The last one is multiplied by a mask first, or moved `up` by so many lanes, which leaves nothing of the last ones.
    """
    if mask is not None or up:
        last = x + (blocks - 1) * block
        if mask is None:
            builder.emit("V_SHFT_V", dst=total, a=last, amount=up)
        else:
            builder.emit("V_MUL_VV", dst=total, a=last, b=mask)
        if blocks > 1:
            with builder.loop(blocks - 1) as b:
                builder.emit("V_ADD_VV", dst=total, a=total, b=x + b * block)
        return total
    if blocks == 1:
        return x
    add_rows(builder, x, blocks, block, total)
    return total
