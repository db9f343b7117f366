"""What every form of attention in the M_MM schedule does: operands, loops over heads and query blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.dialects.tile import ZeroOp
from plena.integers import round_up
from plena.kernels.attention.heads import HeadLoops, HeadPlace, head_loop, head_loops
from plena.kernels.attention.masks import AttentionMasks, QueryRows, skipped_band
from plena.kernels.attention.queries import queries_of
from plena.kernels.attention.sections import (
    Section,
    Visibility,
    hidden_tiles,
    most_sections,
    visible_sections,
    whole_section,
)
from plena.kernels.attention.shape import AttentionShape, Tiling
from plena.kernels.context import KernelContext
from plena.kernels.head_layout import heads_per_block, is_only_returned
from plena.kernels.key_value import KeyValueShape, key_value_tiles, load_key_value_tiles
from plena.kernels.packing import zero_rows
from plena.kernels.stored_operands import Tiles


@dataclass(frozen=True)
class QueryBlock:
    """A block of query rows being worked on: whose they are, the first row in the sample, and the keys it sees.

    `first_tile` is the section's, moved by its repeats. `out` is where the rows of the result begin.
    """

    place: HeadPlace
    row: Linear
    first_tile: Linear
    section: Section
    out: SSAValue


class AttentionKernel(ABC):
    """One attention being built: operands, the result panel, the loops.

    Keys and values lie tile by tile in HBM. Heads begin a column block each, unless the program computes them and
    several narrow ones share a block: then queries are masked to the lanes of their head, and values are read from
    the head's columns of the shared tile.
    """

    tile_by_tile = False
    """Whether scores are made for one tile of keys at a time."""

    def __init__(self, op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> None:
        self.op, self.shape, self.ctx = op, shape, ctx
        self.target, self.builder = ctx.target, ctx.builder
        self.vlen, self.tile = ctx.target.vlen, ctx.target.tile
        self.tiling = Tiling.of(shape, ctx.target, ctx.schedule.query_block)
        computed = any(ctx.host(v) is None for v in (op.query, op.key, op.value))
        self.shared = heads_per_block(shape, ctx.target) if computed else 1
        self.view = Visibility(shape.queries, shape.keys, self.tiling.query_block, op.band)
        self.needed = replace(self.view, band=skipped_band(op))
        self.sections = self._sections()
        self.queries = queries_of(op, shape, self.tiling, ctx)
        self.key = self._place_tiles("key", op.key, shape.head_dim)
        self.value = self._place_tiles("value", op.value, shape.value_dim)
        self.result = ctx.new_panel(
            "attention",
            shape.batch * shape.queries,
            shape.heads * shape.value_dim,
            groups=shape.heads,
            pitch=self.result_pitch(),
            reach=(shape.batch - 1) * shape.queries + self.tiling.query_blocks * self.tiling.query_block,
        )
        rows = QueryRows(self.tiling.query_block, self.tiling.loaded_rows, self.tiling.query_rows)
        self.masks = AttentionMasks(op, shape, rows, ctx, tile_by_tile=self.tile_by_tile)

    @abstractmethod
    def result_pitch(self) -> int:
        """Lanes from one head to the next in the result."""

    @abstractmethod
    def load_head(self, place: HeadPlace) -> None:
        """Brings in what the query heads of one head of keys (or of a column block of them) need once."""

    @abstractmethod
    def attend(self, block: QueryBlock) -> None:
        """Takes a block of queries through all steps."""

    @abstractmethod
    def prepare(self) -> None:
        """Emits what happens once, before the loops."""

    @abstractmethod
    def finish(self) -> None:
        """Emits what happens once, behind the loops."""

    def run(self) -> None:
        """The loops: heads outside and query blocks inside, or the other way round (the watchdog)."""
        self.masks.load()
        self._define_result()
        self.prepare()
        loops = head_loops(
            self.shape,
            shared=self.shared,
            pitch=self.result.group_pitch,
            block=self.result.block,
            vlen=self.vlen,
        )
        for piece in loops.pieces(self.ctx.schedule.parts):
            if self.ctx.schedule.order == "queries":
                for section in self._in_order():
                    with self._blocks(section) as (row, tile):
                        self._heads(piece, [(section, row, tile)])
            else:
                self._heads(piece, None)
        self.finish()

    def _heads(self, loops: HeadLoops, block: list[tuple[Section, Linear, Linear]] | None) -> None:
        """All heads of a piece, for one query block, or for all of them in loops of their own."""
        with head_loop(self.builder, loops.outer, HeadPlace()) as outer:
            self.load_head(outer)
            with head_loop(self.builder, loops.inner, outer) as place:
                if block is not None:
                    for section, row, tile in block:
                        self._block(section, place, row, tile)
                    return
                for section in self.sections:
                    with self._blocks(section) as (row, tile):
                        self._block(section, place, row, tile)

    def _block(self, section: Section, place: HeadPlace, row: Linear, tile: Linear) -> None:
        out = self.builder.view(self.result.buffer, self.offset(place, row))
        self.attend(QueryBlock(place, row, tile, section, out))

    def offset(self, place: HeadPlace, row: Linear) -> Linear:
        """The first element of a query block in a panel as the result's."""
        return place.offset + (place.sample * self.shape.queries + row) * self.vlen

    def _sections(self) -> list[Section]:
        """Without skipping, one section; the last tile of keys whole, if code size matters more than cycles."""
        schedule, target = self.ctx.schedule, self.target
        if schedule.objective == "size":
            return [whole_section(self.needed, target.mlen)]
        # Lanes that no product makes would keep the NaN of an earlier query.
        step = target.mlen if self.tile_by_tile or self.may_be_undefined else target.blen
        self.ctx.sections = max(self.ctx.sections, most_sections(self.needed, target.mlen, step))
        return visible_sections(self.needed, target.mlen, step, schedule.sections)

    @property
    def may_be_undefined(self) -> bool:
        """Whether a query may have NaN for a result."""
        return self.op.empty is not None and self.op.empty.data == "nan"

    def _in_order(self) -> list[Section]:
        return self.sections[::-1] if self._descending else self.sections

    @property
    def _descending(self) -> bool:
        """Whether query blocks must descend: their surplus rows fall into the next sample's, which come later then."""
        ragged = self.shape.queries % self.tiling.query_block != 0 and self.shape.batch > 1
        return ragged and self.ctx.schedule.order == "queries"

    @contextmanager
    def _blocks(self, section: Section) -> Generator[tuple[Linear, Linear]]:
        """Loops over the query blocks of a section: the first row and the first tile of keys."""
        with self.builder.loop(section.repeats) as outer, self.builder.loop(section.blocks) as inner:
            repeat, number = outer, inner
            if self._descending:
                repeat, number = -outer + (section.repeats - 1), -inner + (section.blocks - 1)
            block = repeat * section.blocks + number + section.first_block
            yield block * self.tiling.query_block, repeat * section.tile_step + section.first_tile

    def _define_result(self) -> None:
        """Zeroes what no head writes, lanes and rows, for kernels that read whole rows."""
        if is_only_returned(self.op.result):
            return
        panel, written = self.result, self.written_rows
        physical = panel.physical_rows(self.vlen)
        with self.builder.step("reset"):
            if not panel.is_packed:
                self.builder.insert(ZeroOp(dst=panel.buffer, rows=physical * panel.blocks(self.vlen)))
            elif written < physical:
                zero_rows(self.ctx, panel, written)

    @property
    def written_rows(self) -> int:
        """Rows of the result that heads write."""
        tiling, shape = self.tiling, self.shape
        return (shape.batch - 1) * shape.queries + tiling.query_blocks * tiling.query_block

    def load_kv_tiles(self, dst: SSAValue, tiles: Tiles, source: Linear, blocks: int, count: int) -> None:
        """`count` tiles of each of `blocks` column blocks of keys or values, `source` bytes into them."""
        load_key_value_tiles(self.ctx, dst, tiles, source, blocks, count)

    def hidden_tiles(self, section: Section) -> list[tuple[int, int]]:
        """Stretches of a section's tiles that need the band added."""
        return hidden_tiles(self.view, section, self.vlen)

    def is_last(self, section: Section) -> bool:
        """Whether a section's last tile is the last of all keys."""
        return section.ends_at(self.tiling.key_tiles)

    def value_columns(self, tiles: SSAValue, place: HeadPlace) -> SSAValue:
        """Tiles of values from the column on that a head begins at: the unit takes columns at row offsets."""
        if self.shared == 1:
            return tiles
        return self.builder.view(tiles, place.lane * (self.shape.value_dim * self.vlen))

    @property
    def written_columns(self) -> int:
        """Columns of a head's values, in whole blocks of the product."""
        return round_up(self.shape.value_dim, self.target.blen)

    def _place_tiles(self, name: str, operand: SSAValue, size: int) -> Tiles:
        shape = self.shape
        pitch = size if self.shared > 1 else round_up(size, self.vlen)
        wanted = KeyValueShape(shape.batch, shape.keys, shape.kv_heads, size, pitch)
        return key_value_tiles(self.ctx, name, self.op, operand, wanted)
