"""Weights of linear layers on their way from HBM to matrix SRAM, tile by tile."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import LoadTilesOp
from plena.kernels.context import KernelContext
from plena.kernels.tensors import Panel


@dataclass(frozen=True)
class WeightStream:
    """The weight tiles of one layer: how many of the reduction and of the output, and their distances in HBM."""

    weight: SSAValue
    k_tiles: int
    n_tiles: int
    tile_bytes: int

    @staticmethod
    def of(weight: SSAValue, x: Panel, result: Panel, ctx: KernelContext) -> WeightStream:
        target = ctx.target
        unit = ctx.element_bytes("HBM_M_WEIGHT_TYPE")
        return WeightStream(weight, x.blocks(target.vlen), result.blocks(target.vlen), target.tile * unit)

    @property
    def row_bytes(self) -> int:
        """HBM bytes of the tiles of one column block of the output."""
        return self.k_tiles * self.tile_bytes

    def load(self, ctx: KernelContext, dst: SSAValue, offset: Linear, tiles: int) -> None:
        """Brings consecutive tiles, the first `offset` bytes behind the beginning, into matrix SRAM."""
        with ctx.builder.step("load weights"):
            ctx.builder.insert(
                LoadTilesOp(
                    dst=dst,
                    src=ctx.builder.view(self.weight, offset),
                    outer=1,
                    inner=tiles,
                    dst_outer=0,
                    dst_inner=ctx.target.tile,
                    src_outer=0,
                    src_inner=self.tile_bytes,
                )
            )


def resident_tiles(ctx: KernelContext) -> int:
    """Tiles of matrix SRAM that a weight buffer may fill: packing tiles and the surplus of a prefetch taken off."""
    prefetch = ctx.target.m_prefetch_tiles
    return ctx.target.matrix_tiles - len(ctx.constant_tiles) * prefetch - (prefetch - 1)
