"""Sizes of an attention and how a target cuts it into blocks and tiles."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

from plena.dialects.plena import AttentionOp, BandAttr
from plena.lowering.kernel import ceil_div, round_up
from plena.target import Target


@dataclass(frozen=True)
class AttentionShape:
    """`queries` S and `keys` T a sample, `head_dim` D and `value_dim` E features of a head."""

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int
    scale: float

    @staticmethod
    def of(op: AttentionOp) -> AttentionShape:
        return AttentionShape(
            op.batch.value.data,
            op.heads.value.data,
            op.kv_heads.value.data,
            op.query_length,
            op.key_length,
            op.head_dim,
            op.value_dim,
            op.scale.value.data,
        )

    @property
    def group(self) -> int:
        """Query heads per key head."""
        return self.heads // self.kv_heads

    @property
    def macs(self) -> int:
        """Multiply-accumulates of both products."""
        return self.batch * self.heads * self.queries * self.keys * (self.head_dim + self.value_dim)

    def split_scale(self) -> tuple[float, float]:
        """The scale as (power of two, rest in [1, 2)): the first can be staged exactly."""
        if self.scale <= 0:
            return 1.0, self.scale
        mantissa, exponent = frexp(self.scale)
        return 2.0 ** (exponent - 1), 2 * mantissa


@dataclass(frozen=True)
class Tiling:
    """Counts of blocks and tiles of one attention on a target.

    `loaded_rows` is what one load of a query block defines; `query_rows` the staged rows of a head's queries.
    """

    query_block: int
    query_blocks: int
    loaded_rows: int
    query_rows: int
    key_tiles: int
    head_blocks: int
    value_blocks: int

    @staticmethod
    def of(shape: AttentionShape, target: Target, query_block: int) -> Tiling:
        """Query blocks of at least one product's rows; `query_block` 0 means the smallest."""
        block = min(round_up(query_block or target.blen, target.blen), round_up(shape.queries, target.blen))
        blocks = ceil_div(shape.queries, block)
        loaded = round_up(block, target.hbm_v_prefetch_amount)
        return Tiling(
            query_block=block,
            query_blocks=blocks,
            loaded_rows=loaded,
            query_rows=(blocks - 1) * block + loaded,
            key_tiles=ceil_div(shape.keys, target.mlen),
            head_blocks=ceil_div(shape.head_dim, target.mlen),
            value_blocks=ceil_div(shape.value_dim, target.mlen),
        )


@dataclass(frozen=True)
class QuerySection:
    """Consecutive query blocks that see the same tiles of keys, `key_tiles` from the first on."""

    first_block: int
    blocks: int
    key_tiles: int


def keys_seen(band: BandAttr | None, last_row: int, key_tiles: int, mlen: int) -> int:
    """How many of the tiles of keys a block of queries that ends with `last_row` sees, at least one."""
    if band is None or band.upper is None:
        return key_tiles
    return min(max(ceil_div(last_row + band.upper + 1, mlen), 1), key_tiles)


def query_sections(
    shape: AttentionShape, tiling: Tiling, target: Target, band: BandAttr | None
) -> list[QuerySection]:
    """Query blocks grouped by how many tiles of keys the band lets them see; one section without a band.

    Tiles above the diagonal are skipped by giving each section its own code.
    """
    sections: list[QuerySection] = []
    for block in range(tiling.query_blocks):
        last_row = min((block + 1) * tiling.query_block, shape.queries) - 1
        seen = keys_seen(band, last_row, tiling.key_tiles, target.mlen)
        if sections and sections[-1].key_tiles == seen:
            sections[-1] = QuerySection(sections[-1].first_block, sections[-1].blocks + 1, seen)
        else:
            sections.append(QuerySection(block, 1, seen))
    return sections
