"""Attention in the online (flash) form: one tile of keys at a time, running maximum and sum per query row."""

from __future__ import annotations

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.dialects.tile import (
    MapScalarsOp,
    MatmulOp,
    OnlineSoftmaxOp,
    PanelRows,
    ResetStateOp,
    ScaleRowsOp,
    ZeroOp,
)
from plena.integers import round_up
from plena.kernels.attention.base import AttentionKernel, QueryBlock
from plena.kernels.attention.heads import HeadPlace
from plena.kernels.attention.masks import Scores
from plena.kernels.attention.queries import LeftOperand
from plena.kernels.attention.residency import Residency
from plena.kernels.attention.scores import ScoreProducts
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.context import KernelContext
from plena.kernels.elementwise import softcap_in_place


class OnlineAttention(AttentionKernel):
    """For each query block: reset, then for each tile of keys scores, softmax step, rescale, values; then divide.

    Running maxima, sums and corrections of one query block live in FP SRAM, the output accumulates in the result,
    where every head begins a column block.
    """

    tile_by_tile = True

    def __init__(self, op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> None:
        super().__init__(op, shape, ctx)
        tiling, builder, spare = self.tiling, self.builder, ctx.target.m_prefetch_tiles - 1
        self.residency = Residency.of(tiling, ctx, whole=0, column=1)
        together = self.residency.keys + tiling.value_blocks + 2 * spare
        self.value_blocks = tiling.value_blocks if together <= ctx.target.matrix_tiles else 1
        keys = self.residency.keys
        self.key_tile = builder.buffer("key_tiles", "matrix", (keys + spare) * self.tile)
        self.value_tile = self.key_tile
        if not self.residency.shared:
            size = (self.value_blocks + spare) * self.tile
            self.value_tile = builder.buffer("value_tiles", "matrix", size)
        self.pitch = tiling.query_block * self.vlen
        self.scores = builder.buffer("scores", "vector", self.pitch)
        self.update = builder.buffer("update", "vector", tiling.value_blocks * self.pitch)
        self.maxima, self.totals, self.corrections = (
            builder.buffer(name, "fp", tiling.query_block) for name in ("maxima", "totals", "corrections")
        )
        self.products = ScoreProducts(tiling, self.residency, self.key_tile, ctx)

    def result_pitch(self) -> int:
        """Whole column blocks: rescaling works on whole rows."""
        return round_up(self.shape.value_dim, self.vlen)

    def prepare(self) -> None:
        """Lanes of the update that no product writes are added to the result: they must be numbers."""
        if self.written_columns < self.tiling.value_blocks * self.vlen:
            with self.builder.step("reset update"):
                rows = self.tiling.value_blocks * self.tiling.query_block
                self.builder.insert(ZeroOp(dst=self.update, rows=rows))

    def finish(self) -> None:
        """Nothing is left: every query block is divided at its end."""

    def load_head(self, place: HeadPlace) -> None:
        """Nothing stays from one query block to the next."""

    def attend(self, block: QueryBlock) -> None:
        builder, tiling = self.builder, self.tiling
        rows, value_blocks = tiling.query_block, tiling.value_blocks
        x = self.queries.block(block.place, block.row)
        with builder.step("reset rows"), builder.loop(value_blocks) as column:
            builder.insert(ZeroOp(dst=builder.view(block.out, column * self.result.block), rows=rows))
        with builder.step("reset state"):
            sinks = self.masks.sinks
            floor = self.masks.floor
            builder.insert(
                ResetStateOp(
                    maximum=self.maxima,
                    total=self.totals,
                    floor=floor if sinks is None else builder.view(sinks, block.place.head),
                    start=self.masks.start,
                    rows=rows,
                    sink=int(sinks is not None),
                )
            )
        with builder.loop(block.section.tiles) as tile:
            self._tile(block, x, block.first_tile + tile)
        if self.masks.undefined:
            self._undefine()
        with builder.step("final scaling"):
            builder.insert(
                ScaleRowsOp(
                    x=block.out,
                    factors=self.totals,
                    rows=rows,
                    blocks=value_blocks,
                    block=self.result.block,
                    invert=1,
                )
            )

    def _undefine(self) -> None:
        """The sums of rows whose maximum is still the floor become NaN: 0 / (maximum - floor) is added."""
        none, rows = self.builder.constant(0.0), self.tiling.query_block
        steps = (
            ("sub", self.corrections, self.maxima, self.masks.floor, 0),
            ("reciprocal", self.corrections, self.corrections, None, 0),
            ("mul", self.corrections, self.corrections, none, 0),
            ("add", self.totals, self.totals, self.corrections, 1),
        )
        with self.builder.step("final scaling"):
            for kind, out, a, b, b_step in steps:
                self.builder.insert(
                    MapScalarsOp(
                        kind=kind, out=out, a=a, b=b, count=rows, out_step=1, a_step=1, b_step=b_step
                    )
                )

    def _tile(self, block: QueryBlock, x: LeftOperand, tile: Linear) -> None:
        builder, rows = self.builder, self.tiling.query_block
        place = block.place

        def load(first: int, blocks: int) -> None:
            with builder.step("load keys"):
                source = self.key.at(place.sample, place.bundle * self.tiling.head_blocks + first, tile)
                self.load_kv_tiles(self.key_tile, self.key, source, blocks, 1)

        self.products.streamed(x, self.scores, self.vlen, load)
        if self.op.softcap is not None:
            with builder.step("softcap"):
                softcap_in_place(self.ctx, self.scores, self.op.softcap.value.data, rows, 1, self.pitch)
        with builder.step("mask"):
            hidden = [(0, 1)] if self.hidden_tiles(block.section) else []
            self.masks.add(
                Scores(
                    self.scores,
                    self.pitch,
                    rows,
                    place,
                    block.row,
                    tile,
                    1,
                    hidden,
                    self.is_last(block.section),
                )
            )
        with builder.step("online softmax"):
            builder.insert(
                OnlineSoftmaxOp(
                    x=self.scores,
                    maximum=self.maxima,
                    total=self.totals,
                    correction=self.corrections,
                    rows=rows,
                    blocks=1,
                    block=0,
                )
            )
        with builder.step("rescale"):
            builder.insert(
                ScaleRowsOp(
                    x=block.out,
                    factors=self.corrections,
                    rows=rows,
                    blocks=self.tiling.value_blocks,
                    block=self.result.block,
                )
            )
        self._update(block, tile)

    def _update(self, block: QueryBlock, tile: Linear) -> None:
        """The tile's part of the output, added to the result."""
        builder, tiling, place = self.builder, self.tiling, block.place
        with builder.loop(tiling.value_blocks // self.value_blocks) as part:
            column = part * self.value_blocks
            with builder.step("load values"):
                source = self.value.at(place.sample, place.bundle * tiling.value_blocks + column, tile)
                self.load_kv_tiles(self.value_tile, self.value, source, self.value_blocks, 1)
            with builder.step("values"):
                builder.insert(
                    MatmulOp(
                        out=builder.view(self.update, column * self.pitch),
                        x=self.scores,
                        w=self.value_columns(self.value_tile, place),
                        rows=tiling.query_block,
                        k_tiles=1,
                        columns=self.written_columns
                        if self.value_blocks == tiling.value_blocks
                        else self.vlen,
                        x_block=0,
                        w_k=0,
                        w_n=self.tile,
                        out_block=self.pitch,
                    )
                )
        with builder.step("values"):
            builder.map(
                "add",
                PanelRows(block.out, self.vlen, self.result.block),
                PanelRows(block.out, self.vlen, self.result.block),
                PanelRows(self.update, self.vlen, self.pitch),
                size=(tiling.query_block, tiling.value_blocks),
            )
