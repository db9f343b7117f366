"""Attention as a plain softmax over whole score rows in vector SRAM."""

from __future__ import annotations

from functools import partial
from math import gcd

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.dialects.tile import MatmulOp, SoftmaxRowsOp, ZeroOp
from plena.kernels.attention.base import AttentionKernel, QueryBlock
from plena.kernels.attention.divisors import Divisors, leaves_room, pays
from plena.kernels.attention.heads import HeadPlace, packed_result_pitch
from plena.kernels.attention.masks import Scores
from plena.kernels.attention.queries import LeftOperand
from plena.kernels.attention.residency import Residency
from plena.kernels.attention.scores import ScoreProducts
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.builder import TileBuilder
from plena.kernels.context import KernelContext
from plena.kernels.elementwise import softcap_in_place
from plena.kernels.parts import chunk_of
from plena.timing.registry import profile_named

TAKING_TURNS = 4
"""Rows of a norm or of a softmax without a sum whose instructions take turns: each waits for the one before it of its
row."""

SOFTMAX_FLOOR = float("-inf")
"""What a running maximum starts from."""

FEW_BLOCKS = 8
"""So many sums of column blocks a scalar register adds up without losing much."""


def row_sum_scratch(builder: TileBuilder, blocks: int, vlen: int, chunk: int = 0) -> tuple[SSAValue, int]:
    """Rows of vector SRAM in which a softmax adds `blocks` column blocks of a row, and how many it adds at a time.

    bf16 has eight bits: a sum of many numbers of one size is off by as much as the last of them is. `chunk`: how many,
    if that is given.
    """
    if not chunk and blocks > FEW_BLOCKS:
        chunk = chunk_of(blocks)
    return builder.buffer("row_sum", "vector", (2 if chunk else 1) * vlen), chunk


class RowsAttention(AttentionKernel):
    """softmax(Q K^T) V on one block of query rows at a time.

    A head's tiles of keys and values stay in matrix SRAM when both fit; otherwise the keys are loaded row of tiles by
    row of tiles for every query block, and the values column of tiles by column of tiles.
    """

    def __init__(self, op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> None:
        super().__init__(op, shape, ctx)
        self.divisors = self._divisors()
        tiling, spare = self.tiling, ctx.target.m_prefetch_tiles - 1
        whole = tiling.key_tiles * tiling.value_blocks
        self.residency = Residency.of(tiling, ctx, whole=whole, column=tiling.key_tiles)
        keys, values = self.residency.keys, self.residency.values
        if self.residency.shared:
            keys = values = max(keys, values)
        # By a profile in which loads run beside products, one that begins inside a tile waits for the tile behind it.
        loads_beside = profile_named(ctx.schedule.timing).beside_products
        gap = int(loads_beside and keys + values + 2 * spare < ctx.free_tiles)
        self.keys = self.builder.buffer("key_tiles", "matrix", (keys + spare + gap) * self.tile)
        self.values = self.keys
        if not self.residency.shared:
            self.values = self.builder.buffer("value_tiles", "matrix", (values + spare) * self.tile)
        self.pitch = tiling.query_block * self.vlen
        self.scores = self.builder.buffer("scores", "vector", tiling.key_tiles * self.pitch)
        self.products = ScoreProducts(tiling, self.residency, self.keys, ctx)

    def result_pitch(self) -> int:
        """Packed wherever loops over heads can address it."""
        if self.shared > 1 and self.shape.group == 1:
            return self.shape.value_dim
        return packed_result_pitch(self.shape, self.vlen, self.target.blen)

    def _divisors(self) -> Divisors | None:
        """Sums by the matrix unit, where they pay and a row's sum is that of its exponentials alone."""
        ctx, tiling = self.ctx, self.tiling
        plain = self.op.sinks is None and self.op.empty is None
        if not plain or not leaves_room(tiling, ctx) or not pays(self.shape, tiling, ctx):
            return None
        if not Divisors.possible(self.result, self.written_columns, self.vlen):
            return None
        return Divisors(self.result, self.written_rows, ctx)

    def finish(self) -> None:
        """Divides by the sums that are made apart."""
        if self.divisors is not None:
            self.divisors.divide()

    def prepare(self) -> None:
        """Scores that no product makes are masked, but must be numbers."""
        if any(section.columns < section.tiles * self.vlen for section in self.sections):
            self._reset()

    def _reset(self) -> None:
        with self.builder.step("reset scores"):
            rows = self.tiling.key_tiles * self.tiling.query_block
            self.builder.insert(ZeroOp(dst=self.scores, rows=rows))

    def _leaves_nan(self, block: QueryBlock) -> bool:
        """Whether scores that no product makes may be NaN since the block before, whose softmax wrote whole rows."""
        lacking = block.section.columns < block.section.tiles * self.vlen
        return lacking and bool(self.ctx.undefined.of(self.op.query))

    def load_head(self, place: HeadPlace) -> None:
        if not self.residency.resident:
            return
        tiling = self.tiling
        with self.builder.step("load keys"):
            source = self.key.at(place.sample, place.bundle * tiling.head_blocks, Linear(0))
            self.load_kv_tiles(self.keys, self.key, source, tiling.head_blocks, tiling.key_tiles)
        with self.builder.step("load values"):
            source = self.value.at(place.sample, place.bundle * tiling.value_blocks, Linear(0))
            self.load_kv_tiles(self.values, self.value, source, tiling.value_blocks, tiling.key_tiles)

    def attend(self, block: QueryBlock) -> None:
        builder, rows, tiles = self.builder, self.tiling.query_block, block.section.tiles
        if self._leaves_nan(block):
            self._reset()
        self._scores(block, self.queries.block(block.place, block.row))
        if self.op.softcap is not None:
            with builder.step("softcap"):
                softcap_in_place(self.ctx, self.scores, self.op.softcap.value.data, rows, tiles, self.pitch)
        with builder.step("mask"):
            self.masks.add(
                Scores(
                    self.scores,
                    self.pitch,
                    rows,
                    block.place,
                    block.row,
                    block.first_tile,
                    tiles,
                    self.hidden_tiles(block.section),
                    self.is_last(block.section),
                )
            )
        divisors, scratch, chunk = self.divisors, None, 0
        if tiles > FEW_BLOCKS and divisors is None:
            scratch, chunk = row_sum_scratch(builder, tiles, self.vlen)
        with builder.step("softmax"):
            sinks = self.masks.sinks
            floor = self.masks.floor
            builder.insert(
                SoftmaxRowsOp(
                    x=self.scores,
                    floor=floor if sinks is None else builder.view(sinks, block.place.head),
                    scratch=scratch,
                    start=self.masks.start,
                    rows=rows,
                    blocks=tiles,
                    block=self.pitch,
                    sink=int(sinks is not None),
                    chunk=chunk,
                    undefined=self.masks.undefined,
                    undivided=int(divisors is not None),
                    together=1 if divisors is None else gcd(TAKING_TURNS, rows),
                )
            )
        self._values(block)
        if divisors is not None:
            divisors.add(
                self.scores,
                builder.view(divisors.sums, self.offset(block.place, block.row)),
                rows=rows,
                tiles=tiles,
                columns=self.written_columns,
                block=self.pitch,
            )

    def _scores(self, block: QueryBlock, x: LeftOperand) -> None:
        section = block.section
        if self.residency.resident:
            self.products.resident(x, self.scores, self.pitch, block.first_tile, section.columns)
            return
        self.builder.by_groups(section.columns, self.vlen, partial(self._streamed_tile, block, x))

    def _streamed_tile(self, block: QueryBlock, x: LeftOperand, tile: Linear, columns: int) -> None:
        place = block.place

        def load(first: int, blocks: int) -> None:
            with self.builder.step("load keys"):
                number = place.bundle * self.tiling.head_blocks + first
                source = self.key.at(place.sample, number, block.first_tile + tile)
                self.load_kv_tiles(self.keys, self.key, source, blocks, 1)

        self.products.streamed(x, self.builder.view(self.scores, tile * self.pitch), columns, load)

    def _values(self, block: QueryBlock) -> None:
        tiling, builder = self.tiling, self.builder
        if self.residency.resident:
            tiles = builder.view(self.values, block.first_tile * self.tile)
            self._weigh(block, block.out, tiles, self.written_columns, tiling.key_tiles * self.tile)
            return
        builder.by_groups(self.written_columns, self.vlen, partial(self._value_column, block))

    def _value_column(self, block: QueryBlock, column: Linear, columns: int) -> None:
        builder, place = self.builder, block.place
        with builder.step("load values"):
            number = place.bundle * self.tiling.value_blocks + column
            source = self.value.at(place.sample, number, block.first_tile)
            self.load_kv_tiles(self.values, self.value, source, 1, block.section.tiles)
        out = builder.view(block.out, column * self.result.block)
        self._weigh(block, out, self.values, columns, 0)

    def _weigh(self, block: QueryBlock, out: SSAValue, tiles: SSAValue, columns: int, column: int) -> None:
        """The product with the values; tiles of a column of values follow each other."""
        with self.builder.step("values"):
            self.builder.insert(
                MatmulOp(
                    out=out,
                    x=self.scores,
                    w=self.value_columns(tiles, block.place),
                    rows=self.tiling.query_block,
                    k_tiles=block.section.tiles,
                    columns=columns,
                    x_block=self.pitch,
                    w_k=self.tile,
                    w_n=column,
                    out_block=self.result.block,
                )
            )
