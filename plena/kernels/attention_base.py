"""What every form of attention in the M_MM schedule does: staging, loops over heads and query blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from xdsl.ir import SSAValue

from plena.backend.view import Permute, Reshape
from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.kernels.attention_masks import AttentionMasks
from plena.kernels.attention_shape import AttentionShape, QuerySection, Tiling, query_sections
from plena.kernels.context import KernelContext, unsupported
from plena.kernels.tensors import HostTensor
from plena.lowering.kernel import round_up


@dataclass(frozen=True)
class QueryBlock:
    """A block of query rows being worked on: its first row in the sample, and how many tiles of keys it sees.

    `out` is where its rows of the result begin.
    """

    sample: Linear
    head: Linear
    row: Linear
    key_tiles: int
    out: SSAValue


class AttentionKernel(ABC):
    """One attention being built: operands staged per sample and head, the result panel, the loops.

    Queries lie column-block major and keys and values tile by tile, one matrix for each sample and head. The power
    of two in the scale is folded into the staged queries, exactly; the rest multiplies the loaded rows.
    """

    tile_by_tile = False
    """Whether scores are made for one tile of keys at a time."""

    def __init__(self, op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> None:
        self.op, self.shape, self.ctx = op, shape, ctx
        self.target, self.builder = ctx.target, ctx.builder
        self.vlen, self.tile = ctx.target.vlen, ctx.target.tile
        self.tiling = tiling = Tiling.of(shape, ctx.target, ctx.schedule.query_block)
        power, self.scale = shape.split_scale()
        self.query_unit = ctx.element_bytes("HBM_V_ACT_TYPE")
        self.kv_unit = ctx.element_bytes("HBM_M_KV_TYPE")
        self.query = ctx.place(
            "query",
            self._heads(op.query, shape.queries, shape.heads, shape.head_dim),
            "column_blocks",
            "HBM_V_ACT_TYPE",
            (tiling.query_rows, tiling.head_blocks * self.vlen),
            scale=power,
        )
        self.key = self._place_tiles("key", op.key, shape.head_dim)
        self.value = self._place_tiles("value", op.value, shape.value_dim)
        self.result = ctx.new_panel(
            "attention",
            shape.batch * shape.queries,
            shape.heads * shape.value_dim,
            groups=shape.heads,
            pitch=_result_pitch(shape, self.vlen, ctx.target.blen),
        )
        rows = (tiling.head_blocks - 1) * tiling.query_block + tiling.loaded_rows
        self.queries = self.builder.buffer("queries", "vector", rows * self.vlen)
        self.masks = AttentionMasks(op, shape, tiling, ctx, tile_by_tile=self.tile_by_tile)

    @abstractmethod
    def load_head(self, sample: Linear, kv_head: Linear) -> None:
        """Brings in what one key head needs once."""

    @abstractmethod
    def attend(self, block: QueryBlock) -> None:
        """Takes the loaded queries of a block through all steps."""

    def run(self) -> None:
        """The loops: heads outside and query blocks inside, or the other way round (the watchdog)."""
        shape, builder = self.shape, self.builder
        self.masks.load()
        skipped = self.op.band if self.ctx.schedule.objective == "cycles" else None
        sections = query_sections(shape, self.tiling, self.target, skipped)
        if not self.result.is_packed:
            with builder.step("reset"):
                physical = self.result.block * self.result.blocks(self.vlen) // self.vlen
                builder.emit("zero", dst=self.result.buffer, rows=physical)
        if self.ctx.schedule.order == "queries":
            for section in sections:
                with (
                    self._rows(section) as row,
                    builder.loop(shape.batch) as sample,
                    self._kv_heads() as (kv_head, kv_offset),
                ):
                    self.load_head(sample, kv_head)
                    self._members(section, sample, kv_head, kv_offset, row)
            return
        with builder.loop(shape.batch) as sample, self._kv_heads() as (kv_head, kv_offset):
            self.load_head(sample, kv_head)
            for section in sections:
                self._members(section, sample, kv_head, kv_offset, None)

    def _members(
        self, section: QuerySection, sample: Linear, kv_head: Linear, kv_offset: Linear, row: Linear | None
    ) -> None:
        """The query heads of one key head; `row` None leaves the loop over query blocks to this level."""
        with self._group() as (member, offset):
            head = kv_head * self.shape.group + member
            if row is not None:
                self._block(section, sample, head, kv_offset + offset, row)
                return
            with self._rows(section) as inner:
                self._block(section, sample, head, kv_offset + offset, inner)

    def _block(
        self, section: QuerySection, sample: Linear, head: Linear, offset: Linear, row: Linear
    ) -> None:
        self._load_queries(sample * self.shape.heads + head, row)
        out = self.builder.view(self.result.buffer, offset + (sample * self.shape.queries + row) * self.vlen)
        self.attend(QueryBlock(sample, head, row, section.key_tiles, out))

    def multiply(self, panel: SSAValue, factor: float, rows: int, blocks: int, block: int) -> None:
        """A panel times a constant, in place."""
        self.builder.emit(
            "map",
            kind="mul",
            out=panel,
            a=panel,
            b=self.builder.constant(factor),
            rows=rows,
            blocks=blocks,
            out_row=self.vlen,
            out_block=block,
            a_row=self.vlen,
            a_block=block,
        )

    def load_kv_tiles(self, dst: SSAValue, src: SSAValue, tiles: int) -> None:
        """Consecutive tiles of keys or values."""
        self.builder.emit(
            "load_tiles",
            dst=dst,
            src=src,
            outer=1,
            inner=tiles,
            dst_inner=self.tile,
            src_inner=self.tile * self.kv_unit,
            kv=1,
        )

    def kv_tile_bytes(self, tiles: int) -> int:
        """HBM bytes of a number of tiles."""
        return tiles * self.tile * self.kv_unit

    def _load_queries(self, matrix: Linear, row: Linear) -> None:
        tiling, unit = self.tiling, self.query_unit
        offset = matrix * (tiling.head_blocks * tiling.query_rows * self.vlen) + row * self.vlen
        block = tiling.query_block * self.vlen
        with self.builder.step("load queries"):
            self.builder.emit(
                "load_rows",
                dst=self.queries,
                src=self.builder.view(self.query, offset * unit),
                rows=tiling.query_block,
                blocks=tiling.head_blocks,
                dst_block=block,
                src_row=self.vlen * unit,
                src_block=tiling.query_rows * self.vlen * unit,
            )
            if self.scale != 1.0:
                self.multiply(self.queries, self.scale, tiling.query_block, tiling.head_blocks, block)

    def _heads(self, value: SSAValue, length: int, heads: int, size: int) -> HostTensor:
        """[batch*length, heads*size] as one matrix [length, size] per sample and head."""
        tensor = self.ctx.host(value)
        if tensor is None:
            raise unsupported(self.op, "attention on computed tensors has no kernel")
        return tensor.through(Reshape((self.shape.batch, length, heads, size)), Permute((0, 2, 1, 3)))

    def _place_tiles(self, name: str, operand: SSAValue, size: int) -> SSAValue:
        shape, mlen = self.shape, self.target.mlen
        tensor = self._heads(operand, shape.keys, shape.kv_heads, size)
        padded = (self.tiling.key_tiles * mlen, round_up(size, mlen))
        return self.ctx.place(name, tensor, "tiled", "HBM_M_KV_TYPE", padded)

    @contextmanager
    def _rows(self, section: QuerySection) -> Generator[Linear]:
        """Loops over the query blocks of a section; the index is the first row."""
        with self.builder.loop(section.blocks) as block:
            yield (block + section.first_block) * self.tiling.query_block

    @contextmanager
    def _kv_heads(self) -> Generator[tuple[Linear, Linear]]:
        """Loops over key heads: the head, and where its first query head's columns begin in the result."""
        shape, builder, result = self.shape, self.builder, self.result
        per_block = self.vlen // result.group_pitch
        if per_block > shape.group:
            kv_per_block = per_block // shape.group
            with builder.loop(shape.kv_heads // kv_per_block) as outer, builder.loop(kv_per_block) as inner:
                lane = inner * (shape.group * result.group_pitch)
                yield outer * kv_per_block + inner, outer * result.block + lane
            return
        with builder.loop(shape.kv_heads) as kv_head:
            yield kv_head, kv_head * self._member_blocks() * result.block

    @contextmanager
    def _group(self) -> Generator[tuple[Linear, Linear]]:
        """Loops over the query heads of a key head, with their column offsets in the result."""
        shape, builder, result = self.shape, self.builder, self.result
        per_block = self.vlen // result.group_pitch
        if 1 < per_block <= shape.group:
            with builder.loop(shape.group // per_block) as outer, builder.loop(per_block) as inner:
                yield outer * per_block + inner, outer * result.block + inner * result.group_pitch
            return
        with builder.loop(shape.group) as member:
            if per_block > shape.group:
                yield member, member * result.group_pitch
            else:
                yield member, member * (result.group_pitch // self.vlen * result.block)

    def _member_blocks(self) -> int:
        """Column blocks of the result per key head."""
        return self.shape.group * self.result.group_pitch // self.vlen


def _result_pitch(shape: AttentionShape, vlen: int, blen: int) -> int:
    """Lanes from one head of the result to the next: packed where loops over heads can address it."""
    size = shape.value_dim
    if size % vlen == 0:
        return size
    per_block = vlen // size
    fits = vlen % size == 0 and size % blen == 0
    if fits and (
        shape.group % per_block == 0 or (per_block % shape.group == 0 and _divides(shape, per_block))
    ):
        return size
    return round_up(size, vlen)


def _divides(shape: AttentionShape, per_block: int) -> bool:
    return shape.kv_heads % (per_block // shape.group) == 0
