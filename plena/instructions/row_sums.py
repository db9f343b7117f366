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
    chunk: int = 0,
) -> Linear:
    """The row that is the sum of the column blocks of a row: `total`, or the only block itself.

    The last one is multiplied by a mask, or moved `up` by so many lanes, which leaves nothing of the last ones; it is
    added to first. With `chunk` so many blocks are added at a time, then their sums, and that one last: a sum of bf16
    numbers of one size stalls at 256 of them. The row behind `total` is overwritten then.
    """
    changed = mask is not None or bool(up)
    if chunk:
        _add_in_chunks(builder, x, blocks - changed, block, chunk, total)
        if changed:
            spare = total + builder.target.vlen
            _last_block(builder, x + (blocks - 1) * block, spare, mask, up)
            builder.emit("V_ADD_VV", dst=total, a=total, b=spare)
        return total
    if changed:
        _last_block(builder, x + (blocks - 1) * block, total, mask, up)
        if blocks > 1:
            with builder.loop(blocks - 1) as b:
                builder.emit("V_ADD_VV", dst=total, a=total, b=x + b * block)
        return total
    if blocks == 1:
        return x
    add_rows(builder, x, blocks, block, total)
    return total


def _last_block(builder: InstructionBuilder, x: Linear, out: Linear, mask: Linear | None, up: int) -> None:
    if mask is None:
        builder.emit("V_SHFT_V", dst=out, a=x, amount=up)
    else:
        builder.emit("V_MUL_VV", dst=out, a=x, b=mask)


def _add_in_chunks(
    builder: InstructionBuilder, x: Linear, blocks: int, block: int, chunk: int, total: Linear
) -> None:
    spare = total + builder.target.vlen
    whole, rest = divmod(blocks, chunk)
    add_rows(builder, x, chunk, block, total)
    if whole > 1:
        with builder.loop(whole - 1) as c:
            add_rows(builder, x + (c + 1) * (chunk * block), chunk, block, spare)
            builder.emit("V_ADD_VV", dst=total, a=total, b=spare)
    if rest:
        last = add_blocks(builder, x + whole * chunk * block, rest, block, spare)
        builder.emit("V_ADD_VV", dst=total, a=total, b=last)
