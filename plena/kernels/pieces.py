"""Tensors of few numbers a row whose rows FP SRAM does not hold at once: pieces of rows, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from xdsl.ir import Operation

from plena.dialects.loop import Linear
from plena.dialects.refusals import refusal
from plena.kernels.context import KernelContext
from plena.kernels.fp_sram import few, new_scalars
from plena.kernels.tensors import Panel, Scalars


@dataclass(frozen=True)
class Piece:
    """Rows `first` and following of a tensor, with FP SRAM for as many."""

    first: Linear
    scalars: Scalars

    def of(self, ctx: KernelContext, panel: Panel) -> Panel:
        """These rows of a panel."""
        start = ctx.builder.view(panel.buffer, self.first * ctx.target.vlen)
        return replace(panel, buffer=start, rows=self.scalars.rows)


def by_pieces(
    ctx: KernelContext, op: Operation, rows: int, groups: int, emit: Callable[[Piece], None]
) -> None:
    """Emits the pieces of a tensor [rows, groups]: a loop, and what is left.

    Raises:
        CompileError: FP SRAM does not hold the numbers of one row.
    """
    together = rows
    while together and not few(ctx, together, groups):
        together //= 2
    if not together:
        raise refusal(
            op,
            f"{groups} numbers a row are too many for FP SRAM",
            "Use fewer parts of a row, or a target with more FP SRAM.",
        )
    scalars = new_scalars(ctx, together, groups)

    def piece(number: Linear, count: int) -> None:
        emit(Piece(number * together, replace(scalars, rows=count)))

    ctx.builder.by_groups(rows, together, piece)
