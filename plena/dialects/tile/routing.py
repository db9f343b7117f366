"""Tile operations that choose experts: the largest lanes of a row as numbers in INT SRAM, and rows made of those.

An *id* is the number of a column, a whole number in INT SRAM that is known only at run time.
"""

from __future__ import annotations

from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.dialects.tile.operation import DeclaredOp, number, read, tile_op, written


@tile_op("topk")
class TopkOp(DeclaredOp):
    """ids = numbers of the K largest of E lanes, the largest first, of equal ones the first; weights = their softmax.

    `policy` says how many they are (`TOPK_SHAPES`: E and K). The lanes are those of whole rows one behind the other
    from `x` on.
    """

    ids: SSAValue = written("int")
    weights: SSAValue = written("fp")
    x: SSAValue = read("vector")
    policy: int = number(default=0)

    def verify_(self) -> None:
        super().verify_()
        if self.policy not in TOPK_SHAPES:
            raise VerifyException(f"{self.name}: policy must be one of {', '.join(map(str, TOPK_SHAPES))}")


@tile_op("mark_lanes")
class MarkLanesOp(DeclaredOp):
    """One row of `blocks` out blocks: the word `one` in the columns of the first `count` ids, 0 elsewhere.

    `first` is the column of the first lane, a multiple of VLEN. `row` has a word for every column up to the last, all
    zeros, which are zeros again afterwards.
    """

    out: SSAValue = written("vector")
    row: SSAValue = written("fp")
    ids: SSAValue = read("int")
    one: SSAValue = read("fp")
    count: int = number()
    blocks: int = number()
    out_block: int = number()
    first: int = number(default=0)


@tile_op("clear_ids")
class ClearIdsOp(DeclaredOp):
    """`count` ids = 0."""

    ids: SSAValue = written("int")
    count: int = number()


@tile_op("offset_ids")
class OffsetIdsOp(DeclaredOp):
    """ids[i] = x[i] + offset for `count` numbers."""

    ids: SSAValue = written("int")
    x: SSAValue = read("int")
    count: int = number()
    offset: int = number(default=0)


@tile_op("look_up_ids")
class LookUpIdsOp(DeclaredOp):
    """ids[i] = table[positions[i]] for `count` numbers."""

    ids: SSAValue = written("int")
    positions: SSAValue = read("int")
    table: SSAValue = read("int")
    count: int = number()


__all__ = ["ClearIdsOp", "LookUpIdsOp", "MarkLanesOp", "OffsetIdsOp", "TopkOp"]
