"""Scores in the M_MM schedule: a block of queries with tiles of keys, resident or streamed."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import MatmulOp, PanelRows
from plena.kernels.attention.queries import LeftOperand
from plena.kernels.attention.residency import Residency
from plena.kernels.attention.shape import Tiling
from plena.kernels.context import KernelContext


class ScoreProducts:
    """Emits queries @ keys^T into score panels.

    Where matrix SRAM holds only some column blocks of a row of tiles, the reduction is split: each part is rounded to
    bf16 and added.
    """

    def __init__(self, tiling: Tiling, residency: Residency, keys: SSAValue, ctx: KernelContext) -> None:
        self.tiling, self.residency, self.keys, self.ctx = tiling, residency, keys, ctx
        self.tile, self.vlen = ctx.target.tile, ctx.target.vlen
        if residency.key_blocks < tiling.head_blocks:
            self.partial = ctx.builder.buffer("partial_scores", "vector", tiling.query_block * self.vlen)
            ctx.decisions.append(
                f"scores over {tiling.head_blocks} tiles of features are split into parts of "
                f"{residency.key_blocks}: partial sums round to bf16"
            )

    def resident(
        self, x: LeftOperand, out: SSAValue, out_block: int, first_tile: Linear, columns: int
    ) -> None:
        """Scores of `columns` keys from a tile on; tile t of column block c is number c * key_tiles + t."""
        self._product(
            x,
            0,
            out,
            w=self.ctx.builder.view(self.keys, first_tile * self.tile),
            w_k=self.tiling.key_tiles * self.tile,
            blocks=self.tiling.head_blocks,
            columns=columns,
            out_block=out_block,
        )

    def streamed(self, x: LeftOperand, out: SSAValue, columns: int, load: Callable[[int, int], None]) -> None:
        """Scores of up to one tile of keys; `load(first, blocks)` brings in column blocks of it."""
        step = self.residency.key_blocks
        for first in range(0, self.tiling.head_blocks, step):
            load(first, step)
            target = out if first == 0 else self.partial
            self._product(x, first, target, w=self.keys, w_k=self.tile, blocks=step, columns=columns)
            if first:
                self._add(out)

    def _product(
        self,
        x: LeftOperand,
        first: int,
        out: SSAValue,
        *,
        w: SSAValue,
        w_k: int,
        blocks: int,
        columns: int,
        out_block: int = 0,
    ) -> None:
        builder = self.ctx.builder
        with builder.step("scores"):
            builder.insert(
                MatmulOp(
                    out=out,
                    x=builder.view(x.rows, first * x.block),
                    w=w,
                    rows=self.tiling.query_block,
                    k_tiles=blocks,
                    columns=columns,
                    transposed=1,
                    x_block=x.block,
                    w_k=w_k,
                    w_n=self.tile,
                    out_block=out_block,
                )
            )

    def _add(self, out: SSAValue) -> None:
        with self.ctx.builder.step("scores"):
            self.ctx.builder.map(
                "add",
                PanelRows(out, self.vlen, 0),
                PanelRows(out, self.vlen, 0),
                PanelRows(self.partial, self.vlen, 0),
                size=(self.tiling.query_block, 1),
            )
