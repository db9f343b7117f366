"""Sizes of an attention and how a target cuts it into blocks and tiles."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

from plena.dialects.plena import AttentionOp
from plena.integers import ceil_div, round_up
from plena.machine.target import Target

INTERLEAVED = "plena.interleaved"
"""Attribute of an attention whose query heads are interleaved."""


@dataclass(frozen=True)
class AttentionShape:
    """`queries` S and `keys` T a sample, `head_dim` D and `value_dim` E features of a head.

    `interleaved`: query heads lie in the lanes of the key head that they read, though several read one
    (plena.kernels.interleaved_heads).
    """

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int
    scale: float
    interleaved: bool = False

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
            INTERLEAVED in op.attributes,
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
        """The scale as (power of two, rest of magnitude [1, 2), or 0): the first can be staged exactly."""
        mantissa, exponent = frexp(self.scale)
        return (2.0 ** (exponent - 1), 2 * mantissa) if mantissa else (1.0, 0.0)


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
