"""Attention with one query a sample in the vector schedule: the query heads of a key head fill the slots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.dialects.provenance import LENGTH_ATTRIBUTE
from plena.dialects.tile import (
    BufferOp,
    PackVectorsOp,
    PanelRows,
    SoftmaxRowsOp,
)
from plena.integers import ceil_div, round_up
from plena.kernels.attention.broadcast import broadcast_fits, define_rows_behind
from plena.kernels.attention.heads import HeadAxis, HeadLoops, HeadPlace, head_loop
from plena.kernels.attention.masks import AttentionMasks, QueryRows, Scores, skipped_band
from plena.kernels.attention.rows import row_sum_scratch
from plena.kernels.attention.scaled_queries import scaled_queries
from plena.kernels.attention.sections import Section, Visibility, hidden_tiles, visible_sections
from plena.kernels.attention.shape import AttentionShape, Tiling
from plena.kernels.attention.vector_values import ValueProducts, turned_values
from plena.kernels.column_products import vector_product
from plena.kernels.context import KernelContext
from plena.kernels.elementwise import softcap_in_place
from plena.kernels.head_layout import heads_per_block
from plena.kernels.key_value import KeyValueShape, key_value_tiles, load_key_value_tiles
from plena.kernels.packing import packing_tile
from plena.kernels.stored_operands import Tiles
from plena.loops.selection.tree import GROUPED
from plena.machine.constants import IMMEDIATE_LIMIT

VERY_LONG = 128
"""Tiles of keys from which on the schedule is the same however many they are."""


@dataclass(frozen=True)
class Vectors:
    """`heads` query heads of one key head from `place` on: vector b of every panel is head b of them."""

    heads: int
    place: HeadPlace


class VectorAttention:
    """Rows of scores and of the result by one instruction per HLEN features or keys, for up to BROADCAST heads at once.

    Values that the host stages lie transposed, so that M_BTMV takes them as it takes keys. Those in HBM as rows are
    multiplied by M_BMM, with vectors that the lane permutation has packed: of the rows that it makes in every slot,
    the first is the product, and the others, of whatever lies behind a vector, are not read.
    """

    def __init__(self, op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> None:
        self.op, self.shape, self.ctx = op, shape, ctx
        self.target, self.builder = ctx.target, ctx.builder
        self.vlen, self.tile = ctx.target.vlen, ctx.target.tile
        self.slots = ctx.target.broadcast_amount
        self.tiling = Tiling.of(shape, ctx.target, 0)
        self.view = Visibility(1, shape.keys, 1, op.band)
        (self.section,) = self._sections()
        self.turned = ctx.host(op.value) is not None
        pitch = round_up(shape.head_dim, self.vlen)
        self.queries, factor = scaled_queries(op, shape, ctx, pitch=pitch, rows=shape.batch)
        self.identity = packing_tile(ctx, transposed=True, factor=factor)
        self.packing = packing_tile(ctx, transposed=self.turned)
        self.keys, self.values = self._keys(), self._values()
        pitch = round_up(shape.value_dim, self.vlen)
        self.result = ctx.new_panel(
            "attention", shape.batch, shape.heads * shape.value_dim, shape.heads, pitch
        )
        rows = QueryRows(self.tiling.query_block, self.tiling.loaded_rows, self.tiling.query_rows)
        self.masks = AttentionMasks(op, shape, rows, ctx, tile_by_tile=False)
        self._declare_buffers()

    def _sections(self) -> list[Section]:
        return visible_sections(replace(self.view, band=skipped_band(self.op)), self.vlen, self.vlen, 1)

    def _keys(self) -> Tiles:
        shape = self.shape
        pitch = round_up(shape.head_dim, self.vlen)
        wanted = KeyValueShape(shape.batch, shape.keys, shape.kv_heads, shape.head_dim, pitch)
        return key_value_tiles(self.ctx, "key", self.op, self.op.key, wanted)

    def _values(self) -> Tiles:
        shape = self.shape
        tensor = self.ctx.host(self.op.value)
        if tensor is not None:
            return turned_values(tensor, shape, self.tiling, self.ctx)
        pitch = round_up(shape.value_dim, self.vlen)
        wanted = KeyValueShape(shape.batch, shape.keys, shape.kv_heads, shape.value_dim, pitch)
        return key_value_tiles(self.ctx, "value", self.op, self.op.value, wanted)

    def _declare_buffers(self) -> None:
        target, builder, tiling = self.target, self.builder, self.tiling
        spare = target.m_prefetch_tiles - 1
        keys, values = tiling.key_tiles * tiling.head_blocks, tiling.key_tiles * tiling.value_blocks
        self.resident = keys + values + 2 * spare <= self.ctx.free_tiles
        self.key_sram = builder.buffer(
            "key_tiles", "matrix", (keys if self.resident else 1) * self.tile + spare * self.tile
        )
        self.value_sram = self.key_sram
        if self.resident:
            self.value_sram = builder.buffer("value_tiles", "matrix", (values + spare) * self.tile)
        self.block = self.slots * self.vlen
        behind = 0 if self.turned else (target.mlen - 1) * self.vlen
        self.packed_queries = builder.buffer("packed_queries", "vector", tiling.head_blocks * self.block)
        self._declare_scores(behind)
        self.products = ValueProducts(
            self.ctx,
            tiling,
            self.section,
            self.values,
            self.value_sram,
            resident=self.resident,
            turned=self.turned,
            pitch=self.pitch,
        )
        size = tiling.value_blocks * self.slots * self.products.slot
        self.output = builder.buffer("slot_output", "vector", size)

    def _declare_scores(self, behind: int) -> None:
        """Scores and packed scores: of one key head at a time, or side by side of all of them."""
        target, builder, tiles = self.target, self.builder, self.tiling.key_tiles
        groups = ceil_div(self.shape.group, self.slots)
        count = self.shape.batch * self.shape.kv_heads * groups
        pitch = 2 * count * self.block
        # So wide that all tiles lie beyond what an immediate holds: addresses take as much text at any length.
        pitch = round_up(ceil_div(IMMEDIATE_LIMIT, VERY_LONG) + pitch, self.block)
        room = pitch * tiles <= target.vector_sram_size * self.vlen // 2
        self.apart = not self.resident and tiles >= VERY_LONG and room
        if not self.apart:
            self.pitch = self.block
            self.scores = builder.buffer("scores", "vector", tiles * self.block)
            self.packed_scores = builder.buffer("packed_scores", "vector", tiles * self.block + behind)
            return
        self.pitch = pitch
        length = IntegerAttr(tiles, i64)
        self.scores = builder.buffer("scores", "vector", tiles * self.pitch + behind)
        declared = self.scores.owner
        assert isinstance(declared, BufferOp)
        declared.attributes[LENGTH_ATTRIBUTE] = length
        self.packed_scores = builder.view(self.scores, count * self.block)
        self.builder.provenance = {**self.builder.provenance, LENGTH_ATTRIBUTE: length}

    def run(self) -> None:
        """Loops: heads of keys, samples, query heads BROADCAST at a time.

        Over very many keys all heads take each step before any takes the next one: their loops around are short enough
        for the watchdog then, and neither the text nor where heads lie hangs on the number of keys.
        """
        self.masks.load()
        define_rows_behind(self.op, self.result, self.ctx)
        shape, parts = self.shape, self.ctx.schedule.parts
        together = min(shape.group, self.slots)
        full, rest = divmod(shape.group, together)
        steps = ((self._attend_to_keys,), (self._softmax,), (self._attend_to_values,))
        own = self.block if self.apart else 0
        groups = full + bool(rest)
        outer = (
            HeadAxis(shape.kv_heads, bundle=1, head=shape.group, offset=shape.batch * groups * own),
            HeadAxis(shape.batch, sample=1, offset=groups * own),
        )
        loops = HeadLoops(outer, (HeadAxis(full, head=together, offset=own),))
        for phase in steps if self.apart else (tuple(chain(*steps)),):
            for piece in loops.pieces(parts):
                with head_loop(self.builder, piece.outer, HeadPlace()) as place:
                    if self.resident:
                        self._load_resident(place)
                    with head_loop(self.builder, piece.inner, place) as first:
                        for step in phase:
                            step(Vectors(together, first))
                    if rest and piece.inner[0].first + piece.inner[0].trips == full:
                        last = replace(
                            place, head=place.head + full * together, offset=place.offset + full * own
                        )
                        for step in phase:
                            step(Vectors(rest, last))

    def _load_resident(self, place: HeadPlace) -> None:
        tiling = self.tiling
        with self.builder.step("load keys"):
            source = self.keys.at(place.sample, place.bundle * tiling.head_blocks, Linear(0))
            self._load(self.key_sram, self.keys, source, tiling.head_blocks, tiling.key_tiles)
        with self.builder.step("load values"):
            source = self.values.at(place.sample, place.bundle * tiling.value_blocks, Linear(0))
            self._load(self.value_sram, self.values, source, tiling.value_blocks, tiling.key_tiles)

    def _load(self, dst: SSAValue, tiles: Tiles, source: Linear, blocks: int, count: int) -> None:
        load_key_value_tiles(self.ctx, dst, tiles, source, blocks, count)

    def _attend_to_keys(self, vectors: Vectors) -> None:
        """The queries packed, and their scores."""
        panel, place = self.queries, vectors.place
        head = self.tiling.head_blocks * panel.block
        with self.builder.step("pack queries"):
            x = self.builder.view(panel.buffer, place.head * head + place.sample * self.vlen)
            blocks = self.tiling.head_blocks
            self._pack(vectors, self.packed_queries, x, self.identity, head, panel.block, blocks, self.block)
        self._scores(place)

    def _attend_to_values(self, vectors: Vectors) -> None:
        """The weights packed, and what they make of the values."""
        place, tiles = vectors.place, self.section.tiles
        scores, packed = (self.builder.view(v, place.offset) for v in (self.scores, self.packed_scores))
        with self.builder.step("pack scores"):
            self._pack(vectors, packed, scores, self.packing, self.vlen, self.pitch, tiles, self.pitch)
        self.products.weigh(place, packed, self.output)
        self._place_result(vectors)

    def _pack(
        self,
        vectors: Vectors,
        out: SSAValue,
        x: SSAValue,
        p: SSAValue,
        vector: int,
        block: int,
        blocks: int,
        out_block: int,
    ) -> None:
        self.builder.insert(
            PackVectorsOp(
                out=out,
                x=x,
                p=p,
                vectors=vectors.heads,
                x_vector=vector,
                blocks=blocks,
                x_block=block,
                out_block=out_block,
            )
        )

    def _scores(self, place: HeadPlace) -> None:
        """A row of scores for every slot."""
        builder, tiling, section = self.builder, self.tiling, self.section
        whole, rest = divmod(ceil_div(self.shape.head_dim, self.target.hlen), self.slots)
        if self.resident:
            w = builder.view(self.key_sram, section.first_tile * self.tile)
            pitch = tiling.key_tiles * self.tile
            with builder.step("scores"):
                vector_product(
                    self.ctx, self.scores, self.packed_queries, w, whole, rest, section.tiles, pitch
                )
            return
        with builder.loop(section.tiles) as tile:
            for block in range(tiling.head_blocks):
                with builder.step("load keys"):
                    number = place.bundle * tiling.head_blocks + block
                    source = self.keys.at(place.sample, number, tile + section.first_tile)
                    self._load(self.key_sram, self.keys, source, 1, 1)
                with builder.step("scores"):
                    out = builder.view(self.scores, place.offset + tile * self.pitch)
                    x = builder.view(self.packed_queries, block * self.block)
                    is_last = block == tiling.head_blocks - 1
                    k_tiles, slices = (1, 0) if block < whole else (0, rest)
                    vector_product(
                        self.ctx, out, x, self.key_sram, k_tiles, slices, 1, 0, partial=int(not is_last)
                    )

    def _softmax(self, vectors: Vectors) -> None:
        """The weights of the keys."""
        builder, masks, tiles, place = self.builder, self.masks, self.section.tiles, vectors.place
        scores = builder.view(self.scores, place.offset)
        if self.op.softcap is not None:
            with builder.step("softcap"):
                cap = self.op.softcap.value.data
                softcap_in_place(self.ctx, scores, cap, vectors.heads, tiles, self.pitch)
        with builder.step("mask"), builder.loop(vectors.heads) as number:
            masks.add(
                Scores(
                    builder.view(scores, number * self.vlen),
                    self.pitch,
                    1,
                    replace(place, head=place.head + number),
                    Linear(0),
                    Linear(self.section.first_tile),
                    tiles,
                    hidden_tiles(self.view, self.section, self.vlen),
                    self.section.ends_at(self.tiling.key_tiles),
                )
            )
        sinks = masks.sinks
        scratch, chunk = row_sum_scratch(builder, tiles, self.vlen, GROUPED if self.apart else 0)
        with builder.step("softmax"), builder.loop(1 if sinks is None else vectors.heads) as number:
            builder.insert(
                SoftmaxRowsOp(
                    x=builder.view(scores, number * self.vlen),
                    floor=masks.floor if sinks is None else builder.view(sinks, place.head + number),
                    scratch=scratch,
                    start=masks.start,
                    rows=vectors.heads if sinks is None else 1,
                    blocks=tiles,
                    block=self.pitch,
                    sink=int(sinks is not None),
                    chunk=chunk,
                )
            )

    def _place_result(self, vectors: Vectors) -> None:
        """The first row of every slot, to the column blocks of its head."""
        result, blocks, place = self.result, self.tiling.value_blocks, vectors.place
        head = blocks * result.block
        out = self.builder.view(result.buffer, place.head * head + place.sample * self.vlen)
        with self.builder.step("place result"):
            self.builder.map(
                "copy",
                PanelRows(out, head, result.block),
                PanelRows(self.output, self.products.slot, self.slots * self.products.slot),
                size=(vectors.heads, blocks),
            )


def vectors_fit(op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> bool:
    """Whether one query a sample goes by M_BTMV: heads begin column blocks, and all scores and a tile fit.

    Text grows by what is not shared with other products, so not where size is all that counts.
    """
    target, schedule = ctx.target, ctx.schedule
    if shape.queries != 1 or not broadcast_fits(ctx) or schedule.objective == "size":
        return False
    if not schedule.row_groups and schedule.matmul == "auto":
        return False
    computed = any(ctx.host(v) is None for v in (op.query, op.key, op.value))
    if computed and heads_per_block(shape, target) > 1:
        return False
    return 4 * target.broadcast_amount * ceil_div(shape.keys, target.mlen) <= target.vector_sram_size
