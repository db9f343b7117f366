"""Attention as a plain softmax over whole score rows in vector SRAM."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.kernels.attention_base import AttentionKernel, QueryBlock
from plena.kernels.attention_masks import Scores
from plena.kernels.attention_shape import AttentionShape
from plena.kernels.context import KernelContext
from plena.kernels.elementwise import softcap_in_place
from plena.lowering.kernel import round_up

SOFTMAX_FLOOR = float("-inf")
"""What a running maximum starts from."""


class RowsAttention(AttentionKernel):
    """softmax(Q K^T) V on one block of query rows at a time.

    A head's tiles of keys and values stay in matrix SRAM when both fit; otherwise the keys are loaded row of tiles by
    row of tiles for every query block, and the values column of tiles by column of tiles.
    """

    def __init__(self, op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> None:
        super().__init__(op, shape, ctx)
        tiling, spare = self.tiling, ctx.target.m_prefetch_tiles - 1
        key_tiles, value_tiles = self._tiles
        self.resident = key_tiles + value_tiles + 2 * spare <= ctx.target.matrix_tiles
        if not self.resident:
            key_tiles, value_tiles = tiling.head_blocks, tiling.key_tiles
        self.keys = self.builder.buffer("key_tiles", "matrix", (key_tiles + spare) * self.tile)
        self.values = self.builder.buffer("value_tiles", "matrix", (value_tiles + spare) * self.tile)
        self.scores = self.builder.buffer(
            "scores", "vector", tiling.key_tiles * tiling.query_block * self.vlen
        )

    @property
    def _tiles(self) -> tuple[int, int]:
        tiling = self.tiling
        return tiling.key_tiles * tiling.head_blocks, tiling.key_tiles * tiling.value_blocks

    def load_head(self, sample: Linear, kv_head: Linear) -> None:
        self.key_base = self.builder.view(self.key, self._head_bytes(sample, kv_head, self._tiles[0]))
        self.value_base = self.builder.view(self.value, self._head_bytes(sample, kv_head, self._tiles[1]))
        if self.resident:
            with self.builder.step("load keys"):
                self.load_kv_tiles(self.keys, self.key_base, self._tiles[0])
            with self.builder.step("load values"):
                self.load_kv_tiles(self.values, self.value_base, self._tiles[1])

    def _head_bytes(self, sample: Linear, kv_head: Linear, tiles: int) -> Linear:
        return (sample * self.shape.kv_heads + kv_head) * self.kv_tile_bytes(tiles)

    def attend(self, block: QueryBlock) -> None:
        tiling, builder = self.tiling, self.builder
        pitch = tiling.query_block * self.vlen
        self._scores(block, pitch)
        rows = tiling.query_block
        if self.op.softcap is not None:
            with builder.step("softcap"):
                softcap_in_place(
                    self.ctx, self.scores, self.op.softcap.value.data, rows, block.key_tiles, pitch
                )
        with builder.step("mask"):
            self.masks.add(
                Scores(
                    self.scores, pitch, rows, block.sample, block.head, block.row, Linear(0), block.key_tiles
                )
            )
        with builder.step("softmax"):
            sinks = self.masks.sinks
            builder.emit(
                "softmax_rows",
                x=self.scores,
                floor=builder.constant(SOFTMAX_FLOOR) if sinks is None else builder.view(sinks, block.head),
                rows=rows,
                blocks=block.key_tiles,
                block=pitch,
                sink=int(sinks is not None),
            )
        self._values(block, pitch)

    def _scores(self, block: QueryBlock, pitch: int) -> None:
        tiling, builder = self.tiling, self.builder
        product: dict[str, SSAValue | int] = {
            "x": self.queries,
            "w": self.keys,
            "rows": tiling.query_block,
            "k_tiles": tiling.head_blocks,
            "transposed": 1,
            "x_block": pitch,
            "w_k": self.tile,
        }
        if self.resident:
            with builder.step("scores"):
                builder.emit(
                    "matmul",
                    out=self.scores,
                    columns=block.key_tiles * self.target.mlen,
                    w_n=tiling.head_blocks * self.tile,
                    out_block=pitch,
                    **product,
                )
            return
        with builder.loop(block.key_tiles) as tile:
            with builder.step("load keys"):
                source = builder.view(self.key_base, tile * self.kv_tile_bytes(tiling.head_blocks))
                self.load_kv_tiles(self.keys, source, tiling.head_blocks)
            with builder.step("scores"):
                out = builder.view(self.scores, tile * pitch)
                builder.emit("matmul", out=out, columns=self.target.mlen, **product)

    def _values(self, block: QueryBlock, pitch: int) -> None:
        tiling, builder = self.tiling, self.builder
        product: dict[str, SSAValue | int] = {
            "x": self.scores,
            "w": self.values,
            "rows": tiling.query_block,
            "k_tiles": block.key_tiles,
            "x_block": pitch,
        }
        columns = round_up(self.shape.value_dim, self.target.blen)
        if self.resident:
            with builder.step("values"):
                builder.emit(
                    "matmul",
                    out=block.out,
                    columns=columns,
                    w_k=tiling.value_blocks * self.tile,
                    w_n=self.tile,
                    out_block=self.result.block,
                    **product,
                )
            return
        full, rest = divmod(columns, self.target.mlen)
        if full:
            with builder.loop(full) as column:
                self._value_column(block, column, self.target.mlen, product)
        if rest:
            self._value_column(block, Linear(full), rest, product)

    def _value_column(
        self, block: QueryBlock, column: Linear, columns: int, product: dict[str, SSAValue | int]
    ) -> None:
        tiling, builder = self.tiling, self.builder
        with builder.step("load values"):
            builder.emit(
                "load_tiles",
                dst=self.values,
                src=builder.view(self.value_base, column * self.kv_tile_bytes(1)),
                outer=1,
                inner=block.key_tiles,
                dst_inner=self.tile,
                src_inner=self.kv_tile_bytes(tiling.value_blocks),
                kv=1,
            )
        with builder.step("values"):
            out = builder.view(block.out, column * self.result.block)
            builder.emit("matmul", out=out, columns=columns, w_k=self.tile, **product)
