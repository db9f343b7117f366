"""Tile operations along rows and over rows: norms, reductions, words of FP SRAM, lookups, lane shifts.

Panels are as in plena.dialects.tile.ops. A *mask* is a row that says which lanes of the last column block mean
something; *words* are numbers in FP SRAM, one per row or per row and group.
"""

from __future__ import annotations

from typing import ClassVar

from xdsl.utils.exceptions import VerifyException

from plena.dialects.tile.operation import TileOp, tile_op


class KindOp(TileOp):
    """A tile operation in several kinds."""

    KINDS: ClassVar[tuple[str, ...]] = ()

    def verify_(self) -> None:
        super().verify_()
        if "kind" not in self.properties or self.word("kind") not in self.KINDS:
            raise VerifyException(f"{self.name}: kind must be one of {', '.join(self.KINDS)}")


@tile_op(
    "normalize_rows",
    {"out": "vector", "scratch": "vector"},
    {"x": "vector", "eps": "fp", "inverse": "fp", "mask": "vector?"},
    ("rows", "blocks", "x_block", "out_block"),
    ("kind",),
)
class NormalizeRowsOp(KindOp):
    """out row = (x - m) / sqrt(inverse * (sum((x - m)^2) + eps)), m = inverse * sum(x) ("layer") or 0 ("rms").

    With N features the words are `inverse` = 1/N and `eps` = N times the norm's own: a sum starts from it for free.
    With `mask` only the lanes of the last block where it is 1 belong to the row; the others become 0 in a "layer" norm
    and are scaled like the rest in an "rms" norm. `scratch` has 2 rows. `out` may be `x`.
    """

    KINDS: ClassVar[tuple[str, ...]] = ("rms", "layer")


@tile_op(
    "normalize_lane_groups",
    {"out": "vector", "scratch": "vector"},
    {"x": "vector", "masks": "vector", "eps": "fp", "inverse": "fp"},
    ("rows", "blocks", "x_block", "out_block", "groups"),
    ("kind",),
)
class NormalizeLaneGroupsOp(KindOp):
    """As normalize_rows for `groups` groups of lanes side by side in every row of every block, each alone.

    Row g of `masks` is 1 in the lanes of group g and 0 elsewhere; lanes of no group become 0. `scratch` has 3 rows.
    """

    KINDS: ClassVar[tuple[str, ...]] = ("rms", "layer")


@tile_op(
    "softmax_lane_groups",
    {"x": "vector", "scratch": "vector"},
    {"hide": "vector", "masks": "vector", "floor": "fp"},
    ("rows", "blocks", "block", "groups"),
)
class SoftmaxLaneGroupsOp(TileOp):
    """x panel = softmax of each of `groups` groups of lanes of every row of every block, in place.

    Row g of `masks` is 1 in the lanes of group g and 0 elsewhere, row g of `hide` 0 there and very negative elsewhere.
    `floor` is the word that maxima start from. `scratch` has 2 rows.
    """


@tile_op(
    "reduce_rows",
    {"words": "fp", "scratch": "vector"},
    {"x": "vector", "mask": "vector?", "floor": "fp?"},
    ("rows", "blocks", "block", "words_row"),
    ("kind",),
)
class ReduceRowsOp(KindOp):
    """words[r*words_row] = the sum or maximum of row r over all blocks.

    `mask` multiplies the last block of a sum and is added to that of a maximum. A maximum starts from the word
    `floor`. `scratch` has 2 rows.
    """

    KINDS: ClassVar[tuple[str, ...]] = ("sum", "max")


@tile_op(
    "sum_rows",
    {"out": "vector", "scratch": "vector"},
    {"x": "vector"},
    ("rows", "blocks", "x_block", "out_block", "chunk"),
)
class SumRowsOp(TileOp):
    """The one row of each out block = the sum of the rows of that x block.

    `chunk` rows are summed at a time, then their sums: sums of bf16 numbers lose less so. `scratch` has one row for
    each chunk.
    """


@tile_op(
    "max_rows",
    {"out": "vector", "scratch": "vector"},
    {"x": "vector", "shrink": "fp"},
    ("rows", "blocks", "x_block", "out_block", "steps"),
)
class MaxRowsOp(TileOp):
    """The one row of each out block = the maximum of the rows of that x block.

    There is no maximum of two rows: m += shrink * max(x - m, 0), `steps` - 1 times, then m += max(x - m, 0). `shrink`
    just below 1 keeps roundings from overshooting. `scratch` has 1 row.
    """


@tile_op(
    "sqrt_rows",
    {"out": "vector", "scratch": "vector"},
    {"x": "vector", "half": "fp", "one": "fp"},
    ("rows", "blocks", "x_block", "out_block", "steps"),
)
class SqrtRowsOp(TileOp):
    """out = square roots of the panel x: y = (x + 1) / 2, then `steps` times y = (y + x / y) / 2.

    The vector unit has no square root. `scratch` has 1 row; `out` must not overlap `x`.
    """


@tile_op(
    "shift",
    {"out": "vector"},
    {"x": "vector"},
    ("rows", "blocks", "x_block", "out_block", "lanes"),
)
class ShiftOp(TileOp):
    """out = the rows of x moved by `lanes` toward higher lanes, zeros below."""


@tile_op(
    "map_words",
    {"out": "fp"},
    {"a": "fp", "b": "fp?"},
    ("count", "out_step", "a_step", "b_step"),
    ("kind",),
)
class MapWordsOp(KindOp):
    """out[i*out_step] = kind(a[i*a_step], b[i*b_step]) on the scalar unit; a step of 0 repeats one word."""

    KINDS: ClassVar[tuple[str, ...]] = ("add", "sub", "mul", "max", "exp", "reciprocal", "sqrt", "copy")


@tile_op(
    "spread_words",
    {"out": "vector", "scratch": "vector?"},
    {"words": "fp", "masks": "vector?"},
    ("rows", "groups", "words_row"),
)
class SpreadWordsOp(TileOp):
    """out row r = words[r*words_row] in all lanes, or with `masks` the sum of masks row g * words[r*words_row + g].

    `scratch` has 1 row and is needed with more than one group.
    """


@tile_op(
    "gather_rows",
    {"dst": "vector"},
    {"table": "hbm", "offsets": "int"},
    ("rows", "blocks", "dst_block", "table_block"),
)
class GatherRowsOp(TileOp):
    """Row r of dst block b = the VLEN elements at table + offsets[r] + b*table_block.

    The offsets are bytes, known only at run time. Whole prefetches are moved, rows ascending in ascending blocks: up
    to prefetch amount - 1 rows after each block's last are overwritten. Rows of a table block follow each other.
    """
