"""How the parts of a row that are treated alone (heads) lie in the column blocks of a panel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.ir import Operation, SSAValue

from plena.dialects.refusals import refusal
from plena.integers import ceil_div
from plena.kernels.context import KernelContext, constant_panel
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


def parts_of(ctx: KernelContext, op: Operation, panel: Panel, groups: int) -> Parts:
    """The parts of a panel's rows.

    Raises:
        CompileError: they begin in the middle of other parts' column blocks.
    """
    vlen, size = ctx.target.vlen, panel.columns // groups
    if not panel.is_packed:
        whole = panel.groups == groups and panel.group_pitch % vlen == 0
        if not whole:
            raise refusal(
                op,
                "the parts are heads with gaps between them",
                "Use a head size that is a power of two, or apply this before the tensor is split into heads.",
            )
        return Parts(groups, size, 1, panel.group_pitch // vlen, size % vlen)
    if groups == 1 or size % vlen == 0:
        return Parts(groups, size, 1, ceil_div(size, vlen), size % vlen)
    if vlen % size:
        raise refusal(
            op,
            f"parts of {size} columns do not fit rows of {vlen} lanes",
            f"Use parts whose size divides or is a multiple of {vlen}, the lanes of a row (VLEN).",
        )
    return Parts(groups, size, min(vlen // size, groups), 1, 0)


def first_lanes(ctx: KernelContext, lanes: int) -> SSAValue:
    """A row that is 1 in the first lanes and 0 in the others, in vector SRAM."""
    return constant_panel(ctx, f"first_lanes_{lanes}", np.ones((1, lanes), np.float32))
