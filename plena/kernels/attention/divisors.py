"""The sums that a softmax divides by, made by the matrix unit: where the sum of a row takes longer than products do."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.tile import MatmulOp, PanelRows
from plena.integers import ceil_div
from plena.kernels.attention.shape import AttentionShape, Tiling
from plena.kernels.context import KernelContext
from plena.kernels.packing import constant_tile
from plena.kernels.tensors import Panel
from plena.timing.registry import profile_named


def pays(shape: AttentionShape, tiling: Tiling, ctx: KernelContext) -> bool:
    """Whether products with a tile of ones take less than the sums of so many rows, by a profile that knows what waits
    for a sum: everything does."""
    target, profile = ctx.target, profile_named(ctx.schedule.timing)
    if profile.work is None or ctx.schedule.objective != "cycles" or ctx.schedule.machine == "rtl":
        return False

    def cycles(mnemonic: str) -> int:
        return profile.cycles(INSTRUCTIONS[mnemonic], target)

    sums = target.blen * (cycles("V_RED_SUM") + cycles("S_RECI_FP"))
    products = tiling.key_tiles * cycles("M_MM") + cycles("M_MM_WO")
    rows = target.blen * tiling.value_blocks * (cycles("V_RECI_V") + cycles("V_MUL_VV"))
    return ceil_div(shape.value_dim, target.blen) * products + rows < sums


def leaves_room(tiling: Tiling, ctx: KernelContext) -> bool:
    """Whether a tile of ones leaves room for keys and values, all of a head if they have it without."""
    loaded, free = ctx.target.m_prefetch_tiles, ctx.free_tiles
    whole = tiling.key_tiles * (tiling.head_blocks + tiling.value_blocks) + 2 * (loaded - 1)
    part = tiling.key_tiles + tiling.head_blocks + 2 * (loaded - 1)
    return (whole if whole <= free else part) + loaded <= free


class Divisors:
    """A panel as the result's, every lane with the sum of the exponentials of its row and head.

    Exponentials times ones, added up in the accumulator. The result must have no gaps: a lane that no product makes
    would have no sum.
    """

    def __init__(self, result: Panel, rows: int, ctx: KernelContext) -> None:
        """`rows` of the result's are divided."""
        vlen = ctx.target.vlen
        self.result, self.rows, self.ctx = result, rows, ctx
        self.blocks = result.blocks(vlen)
        self.ones = constant_tile(ctx, "ones", np.ones((ctx.target.mlen, ctx.target.mlen), np.float32))
        self.sums = ctx.builder.buffer("sums", "vector", self.blocks * result.block)

    @staticmethod
    def possible(result: Panel, columns: int, vlen: int) -> bool:
        """Whether products write every lane of the result: `columns` of each head."""
        return result.is_packed and result.group_columns == columns and result.lanes % vlen == 0

    def add(
        self, exponentials: SSAValue, at: SSAValue, *, rows: int, tiles: int, columns: int, block: int
    ) -> None:
        """The sums of `rows` rows over `tiles` column blocks, `block` elements apart, to all lanes of a head."""
        with self.ctx.builder.step("sums"):
            self.ctx.builder.insert(
                MatmulOp(
                    out=at,
                    x=exponentials,
                    w=self.ones,
                    rows=rows,
                    k_tiles=tiles,
                    columns=columns,
                    x_block=block,
                    w_k=0,
                    w_n=0,
                    out_block=self.result.block,
                )
            )

    def divide(self) -> None:
        """The result by the sums."""
        vlen, builder = self.ctx.target.vlen, self.ctx.builder
        sums, result = (PanelRows(b, vlen, self.result.block) for b in (self.sums, self.result.buffer))
        size = (self.rows, self.blocks)
        with builder.step("divide"):
            builder.map("reciprocal", sums, sums, size=size)
            builder.map("mul", result, result, sums, size=size)
