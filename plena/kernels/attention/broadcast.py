"""Attention in the broadcast schedule: softmax over whole rows, up to BROADCAST blocks of MLEN queries at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.dialects.tile import BroadcastMatmulOp, PackOp, PanelRows, SoftmaxRowsOp, ZeroOp
from plena.integers import ceil_div, round_up
from plena.kernels.attention.heads import HeadAxis, HeadLoops, HeadPlace, head_loop
from plena.kernels.attention.masks import AttentionMasks, QueryRows, Scores, skipped_band
from plena.kernels.attention.rows import row_sum_scratch
from plena.kernels.attention.scaled_queries import scaled_queries
from plena.kernels.attention.sections import (
    Section,
    Visibility,
    hidden_tiles,
    most_sections,
    visible_sections,
    whole_section,
)
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.context import KernelContext
from plena.kernels.elementwise import softcap_in_place
from plena.kernels.head_layout import heads_per_block, is_only_returned
from plena.kernels.key_value import (
    KeyValueShape,
    key_value_tiles,
    load_key_value_tiles,
    separated_value_tiles,
)
from plena.kernels.packing import packing_tile, zero_rows
from plena.kernels.stored_operands import Tiles
from plena.kernels.tensors import Panel
from plena.machine.target import Target


@dataclass(frozen=True)
class Slots:
    """What fills the broadcast slots: `heads` query heads of one key head times `tiles` query tiles each.

    Several heads only with all their query tiles. `section` says which fillings these are, a filling being its block
    of queries, and which keys they see.
    """

    heads: int
    tiles: int
    section: Section

    @property
    def count(self) -> int:
        """Slots filled."""
        return self.heads * self.tiles


@dataclass(frozen=True)
class Filling:
    """One filling: whose queries (the first head's place), their first row and the first tile of keys they see."""

    slots: Slots
    place: HeadPlace
    row: Linear
    first_tile: Linear


class BroadcastAttention:
    """Scores and values of all filled slots by one instruction per HLEN features or keys.

    Queries are packed slice by slice with the identity, softmax rows with the lane permutation. Heads narrower than a
    row lie `width` to a column block; they are packed together, and their values lie in HBM at their own lanes with
    zeros elsewhere, so that the product that adds up over the heads leaves the block as the result wants it.
    """

    def __init__(self, op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> None:
        self.op, self.shape, self.ctx = op, shape, ctx
        self.target, self.builder = ctx.target, ctx.builder
        self.vlen, self.tile = ctx.target.vlen, ctx.target.tile
        self.capacity = ctx.target.broadcast_amount
        self.width = heads_per_block(shape, ctx.target)
        self.query_tiles, self.key_tiles = ceil_div(shape.queries, self.vlen), ceil_div(shape.keys, self.vlen)
        self.head_blocks = ceil_div(shape.head_dim, self.vlen)
        self.value_blocks = ceil_div(shape.value_dim, self.vlen)
        self.filled_tiles = self._filled_tiles()
        pitch = self._pitch(shape.head_dim)
        self.queries, self.factor = scaled_queries(op, shape, ctx, pitch=pitch, rows=self._read_rows)
        self.identity = packing_tile(ctx, transposed=True, factor=self.factor)
        self.permutation = packing_tile(ctx, transposed=False)
        self.keys, self.values = self._keys(), self._values()
        self.result = self._result()
        self.masks = AttentionMasks(op, shape, self._mask_rows(), ctx, tile_by_tile=False)
        self._declare_buffers()

    def _pitch(self, size: int) -> int:
        return size if self.width > 1 else round_up(size, self.vlen)

    def _filled_tiles(self) -> int:
        """Query tiles of a head in one filling; fewer than fit if the schedule wants small query blocks."""
        wanted = ceil_div(self.ctx.schedule.query_block, self.vlen) or self.capacity
        return min(wanted, self.capacity, self.query_tiles)

    @property
    def _read_rows(self) -> int:
        """Rows of a column block of queries that packing reads: whole tiles from every sample's first row on."""
        return (self.shape.batch - 1) * self.shape.queries + self.query_tiles * self.vlen

    def _key_value_shape(self, size: int) -> KeyValueShape:
        return KeyValueShape(self.shape.batch, self.shape.keys, self.shape.kv_heads, size, self._pitch(size))

    def _keys(self) -> Tiles:
        shape = self._key_value_shape(self.shape.head_dim)
        return key_value_tiles(self.ctx, "key", self.op, self.op.key, shape)

    def _values(self) -> Tiles:
        shape = self._key_value_shape(self.shape.value_dim)
        if self.width > 1:
            return separated_value_tiles(self.ctx, "value", self.op, self.op.value, shape, self.width)
        return key_value_tiles(self.ctx, "value", self.op, self.op.value, shape)

    def _result(self) -> Panel:
        shape = self.shape
        return self.ctx.new_panel(
            "attention",
            shape.batch * shape.queries,
            shape.heads * shape.value_dim,
            shape.heads,
            self._pitch(shape.value_dim),
        )

    def _mask_rows(self) -> QueryRows:
        block = self.filled_tiles * self.vlen
        loaded = round_up(block, self.target.hbm_v_prefetch_amount)
        return QueryRows(block, loaded, self.query_tiles // self.filled_tiles * block + loaded)

    def _declare_buffers(self) -> None:
        builder, spare = self.builder, self.target.m_prefetch_tiles - 1
        keys, values = self.key_tiles * self.head_blocks, self.key_tiles * self.value_blocks * self.width
        available = self.ctx.free_tiles
        self.resident = keys + values + 2 * spare <= available
        self.streamed = not self.resident and self.head_blocks + 1 + 2 * spare > available
        if not self.resident:
            keys, values = self.head_blocks, 1
        if self.streamed:
            keys = 1
        self.key_sram = builder.buffer("key_tiles", "matrix", (keys + spare) * self.tile)
        self.value_sram = self.key_sram
        if not self.streamed:
            self.value_sram = builder.buffer("value_tiles", "matrix", (values + spare) * self.tile)
        packed = self.capacity * self.tile
        self.packed_queries = builder.buffer("packed_queries", "vector", self.head_blocks * packed)
        self.packed_scores = builder.buffer("packed_scores", "vector", self.width * self.key_tiles * packed)
        self.scores = builder.buffer("scores", "vector", (self.key_tiles + 1) * packed)
        if not self._writes_result():
            self.output = builder.buffer("slot_output", "vector", self.value_blocks * packed)

    def _writes_result(self) -> bool:
        """Whether write-outs may go straight to the result although they always write BROADCAST row blocks.

        They may if the surplus only reaches rows that are written later: no slot is empty, or writing ascends.
        """
        if self._heads_at_a_time() > 1:
            return False
        full = self.query_tiles % self.capacity == 0 and self.filled_tiles == self.capacity
        ascending = self.value_blocks == 1 and (self.shape.batch == 1 or self.shape.group == 1)
        return (full and self.shape.queries % self.vlen == 0) or ascending

    def _heads_at_a_time(self) -> int:
        if self.width > 1 or self.filled_tiles < self.query_tiles:
            return 1
        return max(1, min(self.shape.group, self.capacity // self.query_tiles))

    def run(self) -> None:
        """Loops: bundles of heads that share a column block, samples, query heads, fillings of the slots."""
        self.masks.load()
        define_rows_behind(self.op, self.result, self.ctx)
        shape, parts = self.shape, self.ctx.schedule.parts
        heads = self._heads_at_a_time()
        full, rest = divmod(shape.group, heads)
        bundles = HeadAxis(shape.kv_heads // self.width, bundle=1, head=self.width * shape.group)
        samples = HeadAxis(shape.batch, sample=1)
        for piece in HeadLoops((bundles, samples), (HeadAxis(full, head=heads),)).pieces(parts):
            with head_loop(self.builder, piece.outer, HeadPlace()) as outer:
                if self.resident:
                    self._load_resident(outer)
                with head_loop(self.builder, piece.inner, outer) as place:
                    self._fill(heads, place)
                if rest and piece.inner[0].first + piece.inner[0].trips == full:
                    self._fill(rest, replace(outer, head=outer.head + full * heads))

    def _fill(self, heads: int, place: HeadPlace) -> None:
        for slots in self._slots(heads):
            section = slots.section
            with self.builder.loop(section.repeats) as outer, self.builder.loop(section.blocks) as inner:
                number = outer * section.blocks + inner + section.first_block
                first_tile = outer * section.tile_step + section.first_tile
                row = number * (self.filled_tiles * self.vlen)
                self._attend(Filling(slots, place, row, first_tile))

    def _slots(self, heads: int) -> Iterator[Slots]:
        """The query tiles in fillings, grouped by the tiles of keys that they see.

        The last may have fewer tiles; where results are copied, also one with fewer rows is on its own.
        """
        rows, schedule = self.filled_tiles * self.vlen, self.ctx.schedule
        skips = schedule.objective == "cycles" and self.width == 1
        full = self.query_tiles // self.filled_tiles if self._writes_result() else self.shape.queries // rows
        rest = self.query_tiles - full * self.filled_tiles
        for first, count, tiles in ((0, full, self.filled_tiles), (full, int(rest > 0), rest)):
            if not count:
                continue
            band = skipped_band(self.op)
            view = Visibility(self.shape.queries, self.shape.keys, rows, band, first, count)
            sections = [whole_section(view, self.vlen)]
            if skips:
                self.ctx.sections = max(self.ctx.sections, most_sections(view, self.vlen, self.vlen))
                sections = visible_sections(view, self.vlen, self.vlen, schedule.sections)
            yield from (Slots(heads, tiles, section) for section in sections)

    def _load_resident(self, place: HeadPlace) -> None:
        with self.builder.step("load keys"):
            source = self.keys.at(place.sample, place.bundle * self.head_blocks, Linear(0))
            self._load(self.key_sram, self.keys, source, self.head_blocks, self.key_tiles)
        with self.builder.step("load values"):
            blocks = self.value_blocks * self.width
            source = self.values.at(place.sample, place.bundle * blocks, Linear(0))
            self._load(self.value_sram, self.values, source, blocks, self.key_tiles)

    def _load(self, dst: SSAValue, tiles: Tiles, source: Linear, blocks: int, count: int) -> None:
        load_key_value_tiles(self.ctx, dst, tiles, source, blocks, count)

    def _attend(self, filling: Filling) -> None:
        slots, builder = filling.slots, self.builder
        self._pack_queries(filling)
        pitch, packed = slots.count * self.tile, self.capacity * self.tile
        with builder.loop(self.width) as member:
            self._scores(filling, member, pitch)
            self._softmax(filling, member, pitch)
            with builder.step("pack scores"):
                builder.insert(
                    PackOp(
                        out=builder.view(self.packed_scores, member * (slots.section.tiles * packed)),
                        x=self.scores,
                        p=self.permutation,
                        row_blocks=slots.count,
                        x_row_block=self.tile,
                        blocks=slots.section.tiles,
                        x_block=pitch,
                        out_block=packed,
                    )
                )
        self._weigh_values(filling)

    def _pack_queries(self, filling: Filling) -> None:
        slots, panel, place = filling.slots, self.queries, filling.place
        block = place.bundle if self.width > 1 else place.head * self.head_blocks
        rows = place.sample * self.shape.queries + filling.row
        with self.builder.step("pack queries"):
            self.builder.insert(
                PackOp(
                    out=self.packed_queries,
                    x=self.builder.view(panel.buffer, block * panel.block + rows * self.vlen),
                    p=self.identity,
                    sets=slots.heads,
                    x_set=self.head_blocks * panel.block,
                    row_blocks=slots.tiles,
                    x_row_block=self.tile,
                    blocks=self.head_blocks,
                    x_block=panel.block,
                    out_block=self.capacity * self.tile,
                )
            )

    def _scores(self, filling: Filling, member: Linear, pitch: int) -> None:
        """Scores of one head of the bundle: its slices of the packed queries with its lanes of the tiles of keys."""
        builder, place, section = self.builder, filling.place, filling.slots.section
        whole, rest = divmod(ceil_div(self.shape.head_dim, self.target.hlen), self.capacity)
        packed = self.capacity * self.tile

        def product(
            out: SSAValue,
            w: SSAValue,
            first: Linear | int,
            tiles: int,
            slices: int,
            n: int,
            w_k: int,
            partial: int,
        ) -> None:
            with builder.step("scores"):
                builder.insert(
                    BroadcastMatmulOp(
                        out=out,
                        x=builder.view(self.packed_queries, member * (rest * self.tile) + first * packed),
                        w=builder.view(w, member * (self.shape.head_dim if self.width > 1 else 0)),
                        k_tiles=tiles,
                        slices=slices,
                        n_tiles=n,
                        transposed=1,
                        x_block=packed,
                        w_k=w_k,
                        w_n=self.tile,
                        out_block=pitch,
                        partial=partial,
                    )
                )

        def load(block: Linear | int, tile: Linear, blocks: int) -> None:
            with builder.step("load keys"):
                number = place.bundle * self.head_blocks + block
                source = self.keys.at(place.sample, number, filling.first_tile + tile)
                self._load(self.key_sram, self.keys, source, blocks, 1)

        if self.resident:
            w = builder.view(self.key_sram, filling.first_tile * self.tile)
            product(self.scores, w, 0, whole, rest, section.tiles, self.key_tiles * self.tile, 0)
            return
        with builder.loop(section.tiles) as tile:
            out = builder.view(self.scores, tile * pitch)
            if not self.streamed:
                load(0, tile, self.head_blocks)
                product(out, self.key_sram, 0, whole, rest, 1, self.tile, 0)
                return
            if whole:
                with builder.loop(whole) as block:
                    load(block, tile, 1)
                    product(out, self.key_sram, block, 1, 0, 1, 0, 1)
            if rest:
                load(whole, tile, 1)
                product(out, self.key_sram, whole, 0, rest, 1, 0, 1)
            product(out, self.key_sram, 0, 0, 0, 1, 0, 0)

    def _softmax(self, filling: Filling, member: Linear, pitch: int) -> None:
        builder, slots = self.builder, filling.slots
        rows, tiles = slots.count * self.vlen, slots.section.tiles
        if self.op.softcap is not None:
            with builder.step("softcap"):
                softcap_in_place(self.ctx, self.scores, self.op.softcap.value.data, rows, tiles, pitch)
        head = filling.place.head + member
        if self._is_triangular(slots):
            self._softmax_by_tiles(filling, head, pitch)
            return
        with builder.step("mask"):
            self._mask(filling, head, pitch)
        sinks = self.masks.sinks
        scratch, chunk = row_sum_scratch(builder, tiles, self.vlen)
        with builder.step("softmax"), builder.loop(1 if sinks is None else slots.heads) as slot:
            floor = self.masks.floor if sinks is None else builder.view(sinks, head + slot)
            builder.insert(
                SoftmaxRowsOp(
                    x=builder.view(self.scores, slot * (slots.tiles * self.tile)),
                    floor=floor,
                    scratch=scratch,
                    start=self.masks.start,
                    rows=rows if sinks is None else slots.tiles * self.vlen,
                    blocks=tiles,
                    block=pitch,
                    sink=int(sinks is not None),
                    chunk=chunk,
                )
            )

    def _is_triangular(self, slots: Slots) -> bool:
        """Whether the query tiles of a filling see differently many tiles of keys, which is worth code for each."""
        section, band = slots.section, skipped_band(self.op)
        once = slots.heads == section.blocks == section.repeats == 1 and section.first_tile == 0
        cut = band is not None and band.upper is not None and self.masks.sinks is None
        if not (once and cut and slots.tiles > 1 and self.ctx.schedule.objective == "cycles"):
            return False
        self.ctx.sections = max(self.ctx.sections, slots.tiles)
        return self.ctx.schedule.sections > 1

    def _softmax_by_tiles(self, filling: Filling, head: Linear, pitch: int) -> None:
        """Softmax query tile by query tile, over the tiles of keys that it sees; the weights of the others are 0."""
        builder, slots, section = self.builder, filling.slots, filling.slots.section
        for number in range(slots.tiles):
            first = section.first_block * self.filled_tiles + number
            view = Visibility(self.shape.queries, self.shape.keys, self.vlen, self.op.band, first, 1)
            seen = min(ceil_div(view.keys_of(first)[1], self.vlen), section.tiles)
            block = Section(first, 1, 0, seen, seen * self.vlen)
            panel = builder.view(self.scores, number * self.tile)
            scratch, chunk = row_sum_scratch(builder, seen, self.vlen)
            with builder.step("mask"):
                self.masks.add(
                    Scores(
                        panel,
                        pitch,
                        self.vlen,
                        replace(filling.place, head=head),
                        filling.row + number * self.vlen,
                        filling.first_tile,
                        seen,
                        hidden_tiles(view, block, self.vlen),
                        block.ends_at(self.key_tiles),
                    )
                )
            with builder.step("softmax"):
                builder.insert(
                    SoftmaxRowsOp(
                        x=panel,
                        floor=self.masks.floor,
                        scratch=scratch,
                        start=self.masks.start,
                        rows=self.vlen,
                        blocks=seen,
                        block=pitch,
                        chunk=chunk,
                    )
                )
                if seen < section.tiles:
                    with builder.loop(section.tiles - seen) as tile:
                        hidden = builder.view(panel, (tile + seen) * pitch)
                        builder.insert(ZeroOp(dst=hidden, rows=self.vlen))

    def _mask(self, filling: Filling, head: Linear, pitch: int) -> None:
        """Rows of one head are consecutive queries; every head of a filling starts again."""
        slots, place = filling.slots, filling.place
        section = slots.section
        view = Visibility(self.shape.queries, self.shape.keys, self.filled_tiles * self.vlen, self.op.band)
        with self.builder.loop(slots.heads) as number:
            self.masks.add(
                Scores(
                    self.builder.view(self.scores, number * (slots.tiles * self.tile)),
                    pitch,
                    slots.tiles * self.vlen,
                    replace(place, head=head + number),
                    filling.row,
                    filling.first_tile,
                    section.tiles,
                    hidden_tiles(view, section, self.vlen),
                    section.ends_at(self.key_tiles),
                )
            )

    def _weigh_values(self, filling: Filling) -> None:
        """The product with the values, accumulated over the heads of a bundle, and its way into the result."""
        builder, slots, result, place = self.builder, filling.slots, self.result, filling.place
        rows = place.sample * self.shape.queries + filling.row
        block = place.bundle if self.width > 1 else place.head * self.value_blocks
        out = builder.view(result.buffer, block * result.block + rows * self.vlen)
        written, pitch = out, result.block
        if not self._writes_result():
            written, pitch = self.output, slots.count * self.tile
        self._value_products(filling, written, pitch)
        if written is out:
            return
        with builder.step("place result"), builder.loop(slots.heads) as number:
            builder.map(
                "copy",
                PanelRows(
                    builder.view(out, number * (self.value_blocks * result.block)), self.vlen, result.block
                ),
                PanelRows(builder.view(self.output, number * (slots.tiles * self.tile)), self.vlen, pitch),
                size=(self._useful_rows(slots), self.value_blocks),
            )

    def _useful_rows(self, slots: Slots) -> int:
        """Query rows of a head in one filling; the last filling may not be full."""
        first = slots.section.first_block * self.filled_tiles * self.vlen
        if slots.section.repeats * slots.section.blocks > 1:
            return slots.tiles * self.vlen
        return min(slots.tiles * self.vlen, self.shape.queries - first)

    def _value_products(self, filling: Filling, out: SSAValue, pitch: int) -> None:
        builder, place, tiles = self.builder, filling.place, filling.slots.section.tiles
        packed = self.capacity * self.tile

        def product(k: Linear, w: SSAValue, k_tiles: int, n_tiles: int, column: Linear, partial: int) -> None:
            with builder.step("values"):
                builder.insert(
                    BroadcastMatmulOp(
                        out=builder.view(out, column * pitch),
                        x=builder.view(self.packed_scores, k * packed),
                        w=w,
                        k_tiles=k_tiles,
                        slices=0,
                        n_tiles=n_tiles,
                        x_block=packed,
                        w_k=self.tile,
                        w_n=self.key_tiles * self.tile,
                        out_block=pitch,
                        partial=partial,
                    )
                )

        if self.resident:
            w = builder.view(self.value_sram, filling.first_tile * self.tile)
            product(Linear(0), w, tiles * self.width, self.value_blocks, Linear(0), partial=0)
            return
        with builder.loop(self.value_blocks) as column:
            with builder.loop(self.width) as member, builder.loop(tiles) as tile:
                with builder.step("load values"):
                    block = place.bundle * (self.value_blocks * self.width) + column + member
                    source = self.values.at(place.sample, block, filling.first_tile + tile)
                    self._load(self.value_sram, self.values, source, 1, 1)
                product(member * tiles + tile, self.value_sram, 1, 1, column, partial=1)
            product(Linear(0), self.value_sram, 0, 1, column, partial=0)


def define_rows_behind(op: AttentionOp, result: Panel, ctx: KernelContext) -> None:
    """Zeroes the rows behind the last query, which no filling may write, for kernels that read whole blocks."""
    if result.rows < result.physical_rows(ctx.target.vlen) and not is_only_returned(op.result):
        with ctx.builder.step("reset"):
            zero_rows(ctx, result, result.rows)


def broadcast_fits(ctx: KernelContext) -> bool:
    """Whether matrix SRAM holds the packing tiles and one tile at a time."""
    return ctx.target.has_broadcast and 3 * ctx.target.m_prefetch_tiles <= ctx.free_tiles


def longest_head(shape: AttentionShape, target: Target) -> int:
    """About how many instructions a key head runs: some ten for each row of each tile of scores."""
    slots = target.broadcast_amount * target.mlen
    fillings = ceil_div(shape.group * round_up(shape.queries, target.mlen), slots)
    return 10 * fillings * slots * ceil_div(shape.keys, target.mlen)
