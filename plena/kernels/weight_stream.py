"""Right operands of products on their way from HBM to matrix SRAM, tile by tile: weights, and what a program stored."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.tile import LoadTilesOp, PanelRows, ZeroOp
from plena.integers import ceil_div
from plena.kernels.column_products import broadcast_column, matmul_column
from plena.kernels.context import KernelContext
from plena.kernels.product_cost import load_cycles
from plena.kernels.tensors import Panel, PanelShape
from plena.timing.registry import profile_named


@dataclass(frozen=True)
class WeightStream:
    """The tiles of one right operand: how many of the reduction and of the output, and their distances in HBM.

    `kv` says that they have the type of keys and values, `transposed` that a tile holds columns of the output as rows.
    """

    weight: SSAValue
    k_tiles: int
    n_tiles: int
    tile_bytes: int
    row_bytes: int
    kv: int = 0
    transposed: int = 1

    @staticmethod
    def of(weight: SSAValue, x: PanelShape, result: Panel, ctx: KernelContext) -> WeightStream:
        """The tiles of a linear layer: those of one column block of the output lie one behind the other."""
        target = ctx.target
        tile_bytes = target.tile * ctx.element_bytes("HBM_M_WEIGHT_TYPE")
        k_tiles, n_tiles = x.blocks(target.vlen), result.blocks(target.vlen)
        if ctx.schedule.machine == "rtl":
            return WeightStream(weight, k_tiles, n_tiles, n_tiles * tile_bytes, tile_bytes, transposed=0)
        return WeightStream(weight, k_tiles, n_tiles, tile_bytes, k_tiles * tile_bytes)

    def load(self, ctx: KernelContext, dst: SSAValue, offset: Linear, tiles: int) -> None:
        """Brings tiles of the reduction, the first `offset` bytes behind the beginning, into matrix SRAM."""
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
                    kv=self.kv,
                )
            )

    def await_tiles(self, ctx: KernelContext, tiles: SSAValue, held: int, offset: Linear) -> None:
        """Brings one more tile, behind the `held` that are read: on the RTL only that waits for the one before."""
        if ctx.schedule.machine == "rtl":
            self.load(ctx, ctx.builder.view(tiles, Linear(held * ctx.target.tile)), offset, 1)


def resident_tiles(ctx: KernelContext) -> int:
    """Tiles of matrix SRAM that a weight buffer may fill: packing tiles and the surplus of a prefetch taken off."""
    return ctx.free_tiles - _spare_tiles(ctx)


def _spare_tiles(ctx: KernelContext) -> int:
    """Tiles behind those of a weight buffer: the surplus of a prefetch, and one to wait with (`await_tiles`)."""
    return ctx.target.m_prefetch_tiles - 1 + int(ctx.schedule.machine == "rtl")


def rows_at_a_time(rows: int, k_tiles: int, ctx: KernelContext) -> int:
    """Rows whose products with one column block stay below the watchdog, scalar instructions included."""
    target = ctx.target
    per_row_block = target.mlen // target.blen * (4 * k_tiles + 6)
    return min(rows, max(1, target.max_loop_instructions * 9 // 10 // per_row_block) * target.blen)


FEW_COLUMN_BLOCKS = 4
"""Fewer wait for most of their tiles either way."""

CYCLES_OF_SUMS = 10
"""A row is zeroed, and a part is added to it twice, with the ends of loops and addresses."""


class BlockProducts:
    """Products in the M_MM schedule, a column block of the output at a time, at most `rows` rows.

    A reduction that matrix SRAM cannot hold is split, each part rounded to bf16 and added: the report says so. So is
    one that matrix SRAM cannot hold twice, in two `halves`, where loads run beside products and waiting for all tiles
    takes longer than adding a part: the tiles of the next half then have room beside those of this one.
    """

    def __init__(
        self, stream: WeightStream, rows: int, ctx: KernelContext, *, by_halves: bool = False
    ) -> None:
        """`by_halves`: whether it may be made of halves; then `begin` comes before them."""
        target, builder = ctx.target, ctx.builder
        self.stream, self.ctx = stream, ctx
        free = resident_tiles(ctx)
        self.parts = ceil_div(stream.k_tiles, max(1, free))
        fits_once = stream.k_tiles % 2 == 0 and stream.k_tiles <= free < 2 * stream.k_tiles
        self.halves = by_halves and fits_once and self._pays(rows)
        if self.halves:
            self.parts = 2
        self.held = ceil_div(stream.k_tiles, self.parts)
        size = (self.held + _spare_tiles(ctx)) * target.tile
        self.tiles = builder.buffer("weight_tiles", "matrix", size)
        self.partial = (
            builder.buffer("partial_sums", "vector", rows * target.vlen) if self.parts > 1 else None
        )
        if self.parts > 1:
            why = ", so that tiles are loaded beside products" if self.halves else ""
            ctx.decisions.append(
                f"a reduction over {stream.k_tiles} tiles is split in {self.parts}{why}: partial sums round to bf16"
            )

    def _pays(self, rows: int) -> bool:
        """Whether waiting for all tiles takes longer than adding a part to zeros, and another one."""
        ctx, stream, target = self.ctx, self.stream, self.ctx.target
        profile = profile_named(ctx.schedule.timing)
        if not profile.beside_products or ctx.schedule.objective != "cycles" or ctx.schedule.machine == "rtl":
            return False
        if stream.n_tiles < FEW_COLUMN_BLOCKS:
            return False
        write_outs = ceil_div(rows, target.blen) * ceil_div(target.mlen, target.blen)
        added = write_outs * profile.cycles(INSTRUCTIONS["M_MM_WO"], target)
        added += rows * CYCLES_OF_SUMS * profile.cycles(INSTRUCTIONS["V_ADD_VV"], target)
        first = stream.k_tiles // 2
        return added * stream.n_tiles < (stream.k_tiles * stream.n_tiles - first) * load_cycles(
            target, ctx.schedule.timing
        )

    def begin(self, result: SSAValue, rows: int) -> None:
        """What halves need before them: zeros in all `rows` rows of the result's column blocks."""
        if self.halves:
            with self.ctx.builder.step("product"):
                self.ctx.builder.insert(ZeroOp(dst=result, rows=rows))

    def multiply(self, out: SSAValue, x: tuple[SSAValue, Linear, int], offset: Linear, rows: int) -> None:
        """`rows` rows of a column block at `out` from x (buffer, first element, elements between column blocks).

        The block's tiles begin `offset` bytes behind the beginning of the stream.
        """
        builder, stream = self.ctx.builder, self.stream
        if self.halves and self.partial is not None:
            with builder.loop(2) as half:
                self._part(half * self.held, self.held, self.partial, x, offset, rows)
                self._accumulate(out, self.partial, rows)
            return
        for part in range(self.parts):
            done = part * self.held
            k_tiles = min(self.held, stream.k_tiles - done)
            written = out if part == 0 or self.partial is None else self.partial
            self._part(Linear(done), k_tiles, written, x, offset, rows)
            if written is self.partial:
                self._accumulate(out, written, rows)

    def _part(
        self,
        done: Linear,
        k_tiles: int,
        out: SSAValue,
        x: tuple[SSAValue, Linear, int],
        offset: Linear,
        rows: int,
    ) -> None:
        """`k_tiles` tiles of the reduction from number `done` on, of a column block."""
        builder, stream = self.ctx.builder, self.stream
        buffer, first, x_block = x
        stream.load(self.ctx, self.tiles, offset + done * stream.tile_bytes, k_tiles)
        stream.await_tiles(self.ctx, self.tiles, self.held, offset)
        with builder.step("product"):
            matmul_column(
                self.ctx,
                out,
                builder.view(buffer, first + done * x_block),
                self.tiles,
                rows=rows,
                k_tiles=k_tiles,
                x_block=x_block,
                transposed=stream.transposed,
            )

    def _accumulate(self, out: SSAValue, partial: SSAValue, rows: int) -> None:
        vlen = self.ctx.target.vlen
        with self.ctx.builder.step("product"):
            self.ctx.builder.map(
                "add",
                PanelRows(out, vlen, 0),
                PanelRows(out, vlen, 0),
                PanelRows(partial, vlen, 0),
                size=(rows, 1),
            )


class GroupProducts:
    """Products in the broadcast schedule: a column block of the output for BROADCAST row blocks at a time.

    A reduction that matrix SRAM cannot hold is streamed tile by tile: the accumulator survives the loads.
    """

    def __init__(self, stream: WeightStream, x_block: int, ctx: KernelContext) -> None:
        target = ctx.target
        self.stream, self.x_block, self.ctx = stream, x_block, ctx
        self.resident = stream.k_tiles <= resident_tiles(ctx)
        held = stream.k_tiles if self.resident else 1
        size = (held + target.m_prefetch_tiles - 1) * target.tile
        self.tiles = ctx.builder.buffer("weight_tiles", "matrix", size)

    def load(self, offset: Linear) -> None:
        """Brings in the tiles of a column block that begin `offset` bytes behind the beginning, if all fit."""
        if self.resident:
            self.stream.load(self.ctx, self.tiles, offset, self.stream.k_tiles)

    def multiply(self, out: SSAValue, x: tuple[SSAValue, Linear], offset: Linear) -> None:
        """A group of row blocks, packed, from element `x[1]` of `x[0]` on, times the tiles of a column block."""
        if self.resident:
            self._product(out, x, Linear(0), self.stream.k_tiles, partial=0)
            return
        with self.ctx.builder.loop(self.stream.k_tiles) as k:
            self.stream.load(self.ctx, self.tiles, offset + k * self.stream.tile_bytes, 1)
            self._product(out, x, k, 1, partial=1)
        self._product(out, x, Linear(0), 0, partial=0)

    def _product(
        self, out: SSAValue, x: tuple[SSAValue, Linear], k: Linear, k_tiles: int, partial: int
    ) -> None:
        builder = self.ctx.builder
        with builder.step("product"):
            broadcast_column(
                self.ctx,
                out,
                builder.view(x[0], x[1] + k * self.x_block),
                self.tiles,
                k_tiles=k_tiles,
                x_block=self.x_block,
                transposed=self.stream.transposed,
                partial=partial,
            )
