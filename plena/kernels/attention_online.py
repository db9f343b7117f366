"""Attention in the online (flash) form: one tile of keys at a time, running maximum and sum per query row."""

from __future__ import annotations

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.kernels.attention_base import AttentionKernel, QueryBlock
from plena.kernels.attention_masks import Scores
from plena.kernels.attention_rows import SOFTMAX_FLOOR
from plena.kernels.attention_shape import AttentionShape
from plena.kernels.context import KernelContext
from plena.kernels.elementwise import softcap_in_place


class OnlineAttention(AttentionKernel):
    """For each query block: reset, then for each tile of keys scores, softmax step, rescale, values; then divide.

    Running maxima, sums and corrections of one query block live in FP SRAM, the output accumulates in the result.
    """

    tile_by_tile = True

    def __init__(self, op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> None:
        super().__init__(op, shape, ctx)
        tiling, builder, spare = self.tiling, self.builder, ctx.target.m_prefetch_tiles - 1
        self.key_tile = builder.buffer("key_tiles", "matrix", (tiling.head_blocks + spare) * self.tile)
        self.value_tile = builder.buffer("value_tiles", "matrix", (tiling.value_blocks + spare) * self.tile)
        self.scores = builder.buffer("scores", "vector", tiling.query_block * self.vlen)
        self.update = builder.buffer("update", "vector", tiling.value_blocks * tiling.query_block * self.vlen)
        self.maxima, self.totals, self.corrections = (
            builder.buffer(name, "fp", tiling.query_block) for name in ("maxima", "totals", "corrections")
        )

    def load_head(self, sample: Linear, kv_head: Linear) -> None:
        head = sample * self.shape.kv_heads + kv_head
        tiles = self.tiling.key_tiles
        key_bytes = self.kv_tile_bytes(tiles * self.tiling.head_blocks)
        self.key_base = self.builder.view(self.key, head * key_bytes)
        value_bytes = self.kv_tile_bytes(tiles * self.tiling.value_blocks)
        self.value_base = self.builder.view(self.value, head * value_bytes)

    def attend(self, block: QueryBlock) -> None:
        builder, tiling = self.builder, self.tiling
        rows, value_blocks = tiling.query_block, tiling.value_blocks
        with builder.step("reset rows"), builder.loop(value_blocks) as column:
            builder.emit("zero", dst=builder.view(block.out, column * self.result.block), rows=rows)
        with builder.step("reset state"):
            sinks = self.masks.sinks
            floor = builder.constant(SOFTMAX_FLOOR) if sinks is None else builder.view(sinks, block.head)
            builder.emit(
                "reset_state",
                maximum=self.maxima,
                total=self.totals,
                floor=floor,
                rows=rows,
                sink=int(sinks is not None),
            )
        with builder.loop(block.key_tiles) as tile:
            self._tile(block, tile)
        with builder.step("final scaling"):
            builder.emit(
                "scale_rows",
                x=block.out,
                factors=self.totals,
                rows=rows,
                blocks=value_blocks,
                block=self.result.block,
                invert=1,
            )

    def _tile(self, block: QueryBlock, tile: Linear) -> None:
        builder, tiling, mlen = self.builder, self.tiling, self.target.mlen
        rows, pitch = tiling.query_block, tiling.query_block * self.vlen
        with builder.step("load keys"):
            source = builder.view(self.key_base, tile * self.kv_tile_bytes(tiling.head_blocks))
            self.load_kv_tiles(self.key_tile, source, tiling.head_blocks)
        with builder.step("scores"):
            builder.emit(
                "matmul",
                out=self.scores,
                x=self.queries,
                w=self.key_tile,
                rows=rows,
                k_tiles=tiling.head_blocks,
                columns=mlen,
                transposed=1,
                x_block=pitch,
                w_k=self.tile,
            )
        if self.op.softcap is not None:
            with builder.step("softcap"):
                softcap_in_place(self.ctx, self.scores, self.op.softcap.value.data, rows, 1, pitch)
        with builder.step("mask"):
            self.masks.add(Scores(self.scores, pitch, rows, block.sample, block.head, block.row, tile, 1))
        with builder.step("online softmax"):
            builder.emit(
                "online_softmax",
                x=self.scores,
                maximum=self.maxima,
                total=self.totals,
                correction=self.corrections,
                rows=rows,
                blocks=1,
            )
        with builder.step("rescale"):
            builder.emit(
                "scale_rows",
                x=block.out,
                factors=self.corrections,
                rows=rows,
                blocks=tiling.value_blocks,
                block=self.result.block,
            )
        with builder.step("load values"):
            source = builder.view(self.value_base, tile * self.kv_tile_bytes(tiling.value_blocks))
            self.load_kv_tiles(self.value_tile, source, tiling.value_blocks)
        with builder.step("values"):
            builder.emit(
                "matmul",
                out=self.update,
                x=self.scores,
                w=self.value_tile,
                rows=rows,
                k_tiles=1,
                columns=tiling.value_blocks * mlen,
                w_n=self.tile,
                out_block=pitch,
            )
            builder.emit(
                "map",
                kind="add",
                out=block.out,
                a=block.out,
                b=self.update,
                rows=rows,
                blocks=tiling.value_blocks,
                out_row=self.vlen,
                out_block=self.result.block,
                a_row=self.vlen,
                a_block=self.result.block,
                b_row=self.vlen,
                b_block=pitch,
            )
