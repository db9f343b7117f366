"""How the parts of a row that are treated alone (heads) lie in the column blocks of a panel."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
from xdsl.ir import Operation, SSAValue

from plena.integers import ceil_div, round_up
from plena.kernels.context import KernelContext, constant_panel
from plena.kernels.lane_moves import relaid
from plena.kernels.tensors import Panel


@dataclass(frozen=True)
class Parts:
    """How the `groups` parts of a row, `size` columns each, lie in the lanes of a panel.

    `per_block` parts share a column block (then they divide it evenly), or one part takes `blocks` column blocks of
    its own, of whose last `rest` lanes belong to it (0: all).
    """

    groups: int
    size: int
    per_block: int
    blocks: int
    rest: int

    @property
    def is_alone(self) -> bool:
        """Whether no other part shares a part's column blocks."""
        return self.per_block == 1


def parts_of(ctx: KernelContext, op: Operation, panel: Panel, groups: int) -> tuple[Panel, Parts]:
    """The parts of a panel's rows, and the panel: moved where parts begin in the middle of others' column blocks."""
    vlen, size = ctx.target.vlen, panel.columns // groups
    if not panel.is_packed and (panel.groups != groups or panel.group_pitch % vlen):
        panel = relaid(ctx, op, panel, 1, panel.columns)
    if panel.is_packed:
        if size % vlen == 0 or groups == 1:
            return panel, Parts(groups, size, 1, ceil_div(size, vlen), size % vlen)
        if vlen % size == 0:
            return panel, Parts(groups, size, min(vlen // size, groups), 1, 0)
        panel = relaid(ctx, op, panel, groups, round_up(size, vlen))
    return panel, Parts(groups, size, 1, panel.group_pitch // vlen, size % vlen)


def first_lanes(ctx: KernelContext, lanes: int) -> SSAValue:
    """A row that is 1 in the first lanes and 0 in the others, in vector SRAM."""
    return constant_panel(ctx, f"first_lanes_{lanes}", np.ones((1, lanes), np.float32))


MANY_BLOCKS = 64
"""More column blocks are added in chunks: a sum of bf16 numbers of one size loses more and more, and stalls at 256."""


def chunk_of(blocks: int) -> int:
    """How many of `blocks` column blocks are added at a time: about the root, one that leaves no rest if there is."""
    least = isqrt(blocks - 1) + 1
    whole = next(n for n in range(least, blocks + 1) if blocks % n == 0)
    return whole if whole <= 2 * least else least


def chunk_of_many(blocks: int) -> int:
    """The same, 0 where there are few."""
    return chunk_of(blocks) if blocks > MANY_BLOCKS else 0
