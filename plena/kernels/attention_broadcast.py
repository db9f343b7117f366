"""Attention in the broadcast schedule: softmax over whole rows, up to BROADCAST blocks of MLEN queries at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.kernels.attention_masks import AttentionMasks, Scores
from plena.kernels.attention_rows import SOFTMAX_FLOOR
from plena.kernels.attention_shape import AttentionShape, Tiling, keys_seen
from plena.kernels.context import KernelContext
from plena.kernels.elementwise import map_constant, softcap_in_place
from plena.kernels.key_value import KeyValueShape, Tiles, key_value_tiles, separated_value_tiles
from plena.kernels.packing import PACKING_FACTOR, define_tail, packing_tile
from plena.kernels.tensors import Panel
from plena.lowering.kernel import ceil_div, round_up


@dataclass(frozen=True)
class Slots:
    """What fills the broadcast slots: `heads` query heads of one key head times `tiles` query tiles each.

    Several heads only with all their query tiles. The first of `repeats` fillings starts at query tile `first_tile`,
    the next `tiles` later; their queries see the first `key_tiles` tiles of keys.
    """

    heads: int
    tiles: int
    first_tile: int
    repeats: int
    key_tiles: int

    @property
    def count(self) -> int:
        """Slots filled."""
        return self.heads * self.tiles


@dataclass(frozen=True)
class Place:
    """One filling: its sample, first query head and first query row; `bundle` numbers the shared column block."""

    slots: Slots
    sample: Linear
    bundle: Linear
    head: Linear
    row: Linear


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
        self.width = heads_per_block(shape, self.vlen, ctx.target.hlen)
        self.query_tiles, self.key_tiles = ceil_div(shape.queries, self.vlen), ceil_div(shape.keys, self.vlen)
        self.head_blocks = ceil_div(shape.head_dim, self.vlen)
        self.value_blocks = ceil_div(shape.value_dim, self.vlen)
        self.queries, factor, self.scale = self._queries()
        self.identity = packing_tile(ctx, transposed=True, factor=factor)
        self.permutation = packing_tile(ctx, transposed=False)
        self.keys, self.values = self._keys(), self._values()
        rows = shape.batch * shape.queries
        self.result = ctx.new_panel(
            "attention", rows, shape.heads * shape.value_dim, shape.heads, self._pitch(shape.value_dim)
        )
        block = min(self.capacity, self.query_tiles) * self.vlen
        self.masks = AttentionMasks(op, shape, Tiling.of(shape, ctx.target, block), ctx, tile_by_tile=False)
        self._declare_buffers()

    def _pitch(self, size: int) -> int:
        return size if self.width > 1 else round_up(size, self.vlen)

    def _queries(self) -> tuple[Panel, float, float]:
        """The queries in vector SRAM, the factor of their packing tile, and the scale left to multiply them by.

        Powers of two go into the staged queries or into the packing tile, exactly.
        """
        shape, ctx = self.shape, self.ctx
        power, rest = shape.split_scale()
        tensor = ctx.host(self.op.query)
        if tensor is None:
            return ctx.panel(self.op.query), PACKING_FACTOR * power, rest
        panel = ctx.load("query", tensor, groups=shape.heads, pitch=self._pitch(shape.head_dim), scale=power)
        return panel, PACKING_FACTOR, rest

    def _key_value_shape(self, size: int) -> KeyValueShape:
        return KeyValueShape(self.shape.batch, self.shape.keys, self.shape.kv_heads, size, self._pitch(size))

    def _keys(self) -> Tiles:
        return key_value_tiles(self.ctx, "key", self.op.key, self._key_value_shape(self.shape.head_dim))

    def _values(self) -> Tiles:
        shape = self._key_value_shape(self.shape.value_dim)
        if self.width > 1:
            return separated_value_tiles(self.ctx, "value", self.op.value, shape, self.width)
        return key_value_tiles(self.ctx, "value", self.op.value, shape)

    def _declare_buffers(self) -> None:
        target, builder, spare = self.target, self.builder, self.target.m_prefetch_tiles - 1
        key_tiles, value_tiles = (
            self.key_tiles * self.head_blocks,
            self.key_tiles * self.value_blocks * self.width,
        )
        held = len(self.ctx.constant_tiles) * target.m_prefetch_tiles
        self.resident = key_tiles + value_tiles + 2 * spare + held <= target.matrix_tiles
        if not self.resident:
            key_tiles, value_tiles = self.head_blocks, 1
        self.key_sram = builder.buffer("key_tiles", "matrix", (key_tiles + spare) * self.tile)
        self.value_sram = builder.buffer("value_tiles", "matrix", (value_tiles + spare) * self.tile)
        packed = self.capacity * self.tile
        self.packed_queries = builder.buffer("packed_queries", "vector", self.head_blocks * packed)
        self.packed_scores = builder.buffer("packed_scores", "vector", self.width * self.key_tiles * packed)
        self.scores = builder.buffer("scores", "vector", (self.key_tiles + 1) * packed)
        self.scratch = builder.buffer("row_sum", "vector", self.vlen)
        if not self._writes_result():
            self.output = builder.buffer("slot_output", "vector", self.value_blocks * packed)

    def _writes_result(self) -> bool:
        """Whether write-outs may go straight to the result although they always write BROADCAST row blocks.

        They may if the surplus only reaches rows that are written later: no slot is empty, or writing ascends.
        """
        if self._heads_at_a_time() > 1:
            return False
        full = self.query_tiles % self.capacity == 0 and self.shape.queries % self.vlen == 0
        ascending = self.value_blocks == 1 and (self.shape.batch == 1 or self.shape.group == 1)
        return full or ascending

    def _heads_at_a_time(self) -> int:
        if self.width > 1:
            return 1
        return max(1, min(self.shape.group, self.capacity // self.query_tiles))

    def run(self) -> None:
        """Loops: bundles of heads that share a column block, samples, query heads, fillings of the slots."""
        shape, builder = self.shape, self.builder
        self.masks.load()
        define_tail(self.ctx, self.queries)
        if self.scale != 1.0:
            panel = self.queries
            rows, blocks = panel.physical_rows(self.vlen), panel.blocks(self.vlen)
            with builder.step("scale queries"):
                map_constant(self.ctx, "mul", panel.buffer, self.scale, rows, blocks, panel.block)
        heads = self._heads_at_a_time()
        with builder.loop(shape.kv_heads // self.width) as bundle, builder.loop(shape.batch) as sample:
            if self.resident:
                self._load_resident(sample, bundle)
            full, rest = divmod(shape.group, heads)
            if full:
                with builder.loop(full) as number:
                    self._fill(heads, sample, bundle, number * heads)
            if rest:
                self._fill(rest, sample, bundle, Linear(full * heads))

    def _fill(self, heads: int, sample: Linear, bundle: Linear, member: Linear) -> None:
        head = bundle * (self.width * self.shape.group) + member
        for slots in self._sections(heads):
            with self.builder.loop(slots.repeats) as repeat:
                row = (repeat * slots.tiles + slots.first_tile) * self.vlen
                self._attend(Place(slots, sample, bundle, head, row))

    def _sections(self, heads: int) -> Iterator[Slots]:
        """The query tiles in fillings, grouped by how many tiles of keys they see."""
        if heads > 1:
            yield Slots(heads, self.query_tiles, 0, 1, self.key_tiles)
            return
        tiles = min(self.capacity, self.query_tiles)
        full, rest = divmod(self.query_tiles, tiles)
        skip = self.ctx.schedule.objective == "cycles" and self.width == 1
        band = self.op.band if skip else None
        sections: list[Slots] = []
        for number in range(full):
            last_row = min((number + 1) * tiles * self.vlen, self.shape.queries) - 1
            seen = keys_seen(band, last_row, self.key_tiles, self.vlen)
            if sections and sections[-1].key_tiles == seen:
                before = sections.pop()
                sections.append(Slots(1, tiles, before.first_tile, before.repeats + 1, seen))
            else:
                sections.append(Slots(1, tiles, number * tiles, 1, seen))
        yield from sections
        if rest:
            seen = keys_seen(band, self.shape.queries - 1, self.key_tiles, self.vlen)
            yield Slots(1, rest, full * tiles, 1, seen)

    def _load_resident(self, sample: Linear, bundle: Linear) -> None:
        with self.builder.step("load keys"):
            source = self.keys.at(sample, bundle * self.head_blocks, Linear(0))
            self._load(self.key_sram, self.keys, source, self.head_blocks, self.key_tiles)
        with self.builder.step("load values"):
            blocks = self.value_blocks * self.width
            source = self.values.at(sample, bundle * blocks, Linear(0))
            self._load(self.value_sram, self.values, source, blocks, self.key_tiles)

    def _load(self, dst: SSAValue, tiles: Tiles, source: Linear, blocks: int, count: int) -> None:
        """`count` tiles of each of `blocks` column blocks, from `source` on."""
        self.builder.emit(
            "load_tiles",
            dst=dst,
            src=self.builder.view(tiles.buffer, source),
            outer=blocks,
            inner=count,
            dst_outer=count * self.tile,
            dst_inner=self.tile,
            src_outer=tiles.block,
            src_inner=tiles.tile,
            kv=1,
        )

    def _attend(self, place: Place) -> None:
        slots, builder = place.slots, self.builder
        self._pack_queries(place)
        pitch = slots.count * self.tile
        with builder.loop(self.width) as member:
            self._scores(place, member, pitch)
            self._softmax(place, pitch)
            with builder.step("pack scores"):
                builder.emit(
                    "pack",
                    out=builder.view(
                        self.packed_scores, member * (slots.key_tiles * self.capacity * self.tile)
                    ),
                    x=self.scores,
                    p=self.permutation,
                    row_blocks=slots.count,
                    x_row_block=self.tile,
                    blocks=slots.key_tiles,
                    x_block=pitch,
                    out_block=self.capacity * self.tile,
                )
        self._weigh_values(place)

    def _pack_queries(self, place: Place) -> None:
        slots, panel = place.slots, self.queries
        first = place.bundle * (self.shape.group * self.head_blocks) * panel.block
        member = place.head - place.bundle * (self.width * self.shape.group)
        rows = place.sample * self.shape.queries + place.row
        offset = first + member * (self.head_blocks * panel.block) + rows * self.vlen
        with self.builder.step("pack queries"):
            self.builder.emit(
                "pack",
                out=self.packed_queries,
                x=self.builder.view(panel.buffer, offset),
                p=self.identity,
                sets=slots.heads,
                x_set=self.head_blocks * panel.block,
                row_blocks=slots.tiles,
                x_row_block=self.tile,
                blocks=self.head_blocks,
                x_block=panel.block,
                out_block=self.capacity * self.tile,
            )

    def _scores(self, place: Place, member: Linear, pitch: int) -> None:
        """Scores of one head of the bundle: its slices of the packed queries with its lanes of the tiles of keys."""
        builder = self.builder
        whole, rest = divmod(ceil_div(self.shape.head_dim, self.target.hlen), self.capacity)
        x = builder.view(self.packed_queries, member * (rest * self.tile))
        w = builder.view(self.key_sram, member * (self.shape.head_dim if self.width > 1 else 0))

        def product(out: SSAValue, tiles: int, w_k: int) -> None:
            with builder.step("scores"):
                builder.emit(
                    "broadcast_matmul",
                    out=out,
                    x=x,
                    w=w,
                    k_tiles=whole,
                    slices=rest,
                    n_tiles=tiles,
                    transposed=1,
                    x_block=self.capacity * self.tile,
                    w_k=w_k,
                    w_n=self.tile,
                    out_block=pitch,
                )

        if self.resident:
            product(self.scores, place.slots.key_tiles, self.key_tiles * self.tile)
            return
        with builder.loop(place.slots.key_tiles) as tile:
            with builder.step("load keys"):
                source = self.keys.at(place.sample, place.bundle * self.head_blocks, tile)
                self._load(self.key_sram, self.keys, source, self.head_blocks, 1)
            product(builder.view(self.scores, tile * pitch), 1, self.tile)

    def _softmax(self, place: Place, pitch: int) -> None:
        builder, slots = self.builder, place.slots
        rows = slots.count * self.vlen
        if self.op.softcap is not None:
            with builder.step("softcap"):
                cap = self.op.softcap.value.data
                softcap_in_place(self.ctx, self.scores, cap, rows, slots.key_tiles, pitch)
        with builder.step("mask"):
            self._mask(place, pitch)
        with builder.step("softmax"):
            sinks = self.masks.sinks
            for slot in range(slots.heads):
                if slot and sinks is None:
                    break
                builder.emit(
                    "softmax_rows",
                    x=builder.view(self.scores, slot * slots.tiles * self.tile),
                    floor=builder.constant(SOFTMAX_FLOOR)
                    if sinks is None
                    else builder.view(sinks, place.head + slot),
                    scratch=self.scratch,
                    rows=rows if sinks is None else slots.tiles * self.vlen,
                    blocks=slots.key_tiles,
                    block=pitch,
                    sink=int(sinks is not None),
                )

    def _mask(self, place: Place, pitch: int) -> None:
        """Rows of one head are consecutive queries; every head of a filling starts again."""
        slots = place.slots
        with self.builder.loop(slots.heads) as number:
            self.masks.add(
                Scores(
                    self.builder.view(self.scores, number * (slots.tiles * self.tile)),
                    pitch,
                    slots.tiles * self.vlen,
                    place.sample,
                    place.head + number,
                    place.row,
                    Linear(0),
                    slots.key_tiles,
                )
            )

    def _weigh_values(self, place: Place) -> None:
        """The product with the values, accumulated over the heads of a bundle, and its way into the result."""
        builder, slots, result = self.builder, place.slots, self.result
        rows = place.sample * self.shape.queries + place.row
        block = place.bundle if self.width > 1 else place.head * self.value_blocks
        out = builder.view(result.buffer, block * result.block + rows * self.vlen)
        written, pitch = out, result.block
        if not self._writes_result():
            written, pitch = self.output, slots.count * self.tile
        self._value_products(place, written, pitch)
        if written is out:
            return
        with builder.step("place result"), builder.loop(slots.heads) as number:
            builder.emit(
                "map",
                kind="copy",
                out=builder.view(out, number * (self.value_blocks * result.block)),
                a=builder.view(self.output, number * (slots.tiles * self.tile)),
                rows=self._useful_rows(slots),
                blocks=self.value_blocks,
                out_row=self.vlen,
                out_block=result.block,
                a_row=self.vlen,
                a_block=pitch,
            )

    def _useful_rows(self, slots: Slots) -> int:
        """Query rows of a head in one filling; the last filling may not be full."""
        if slots.repeats > 1:
            return slots.tiles * self.vlen
        return min(slots.tiles * self.vlen, self.shape.queries - slots.first_tile * self.vlen)

    def _value_products(self, place: Place, out: SSAValue, pitch: int) -> None:
        builder, slots = self.builder, place.slots
        tiles = slots.key_tiles * self.width

        def product(k: Linear, w: SSAValue, k_tiles: int, n_tiles: int, column: Linear, partial: int) -> None:
            with builder.step("values"):
                builder.emit(
                    "broadcast_matmul",
                    out=builder.view(out, column * pitch),
                    x=builder.view(self.packed_scores, k * (self.capacity * self.tile)),
                    w=w,
                    k_tiles=k_tiles,
                    n_tiles=n_tiles,
                    x_block=self.capacity * self.tile,
                    w_k=self.tile,
                    w_n=self.key_tiles * self.tile,
                    out_block=pitch,
                    partial=partial,
                )

        if self.resident:
            product(Linear(0), self.value_sram, tiles, self.value_blocks, Linear(0), partial=0)
            return
        with builder.loop(self.value_blocks) as column:
            with builder.loop(self.width) as member, builder.loop(slots.key_tiles) as tile:
                with builder.step("load values"):
                    block = place.bundle * (self.value_blocks * self.width) + column + member
                    self._load(self.value_sram, self.values, self.values.at(place.sample, block, tile), 1, 1)
                product(member * slots.key_tiles + tile, self.value_sram, 1, 1, column, partial=1)
            product(Linear(0), self.value_sram, 0, 1, column, partial=0)


def heads_per_block(shape: AttentionShape, vlen: int, hlen: int) -> int:
    """How many heads share a column block: narrow ones do when every one has its own keys and whole slices."""
    size = shape.head_dim
    shared = size < vlen and vlen % size == 0 and size % hlen == 0
    if not shared or shape.group > 1 or size != shape.value_dim or shape.kv_heads % (vlen // size):
        return 1
    return vlen // size
