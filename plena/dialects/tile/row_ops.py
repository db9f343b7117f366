"""Tile operations along rows and over rows: norms, reductions, scalars of FP SRAM, lookups, lane shifts.

Panels are as in plena.dialects.tile.ops. A *mask* is a row that says which lanes of the last column block mean
something; *scalars* are numbers in FP SRAM, one per row or per row and group.
"""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.tile.operation import DeclaredOp, keyword, number, read, tile_op, written


@tile_op("normalize_rows")
class NormalizeRowsOp(DeclaredOp):
    """out row = (x - m) / sqrt(inverse * (sum((x - m)^2) + eps)), m = inverse * sum(x) ("layer") or 0 ("rms").

    With N features the scalars are `inverse` = 1/N and `eps` = N times the norm's own: a sum starts from it for free.
    With `mask` only the lanes of the last block where it is 1 belong to the row; the others become 0 in a "layer" norm
    and are scaled like the rest in an "rms" norm. `scratch` has 2 rows. `out` may be `x`. With `summing` 1, which takes
    no mask, every block is summed to a number and the numbers are added, each time rounded: shorter code than adding
    blocks lane by lane first, slower and a little less exact. With `chunk` so many blocks are added at a time, then
    their sums, and `scratch` has 3 rows: a sum of bf16 numbers of one size stalls at 256 of them. Of an "rms" norm with
    none of these `together` rows take turns, each with 2 rows of scratch.
    """

    out: SSAValue = written("vector")
    scratch: SSAValue = written("vector")
    x: SSAValue = read("vector")
    eps: SSAValue = read("fp")
    inverse: SSAValue = read("fp")
    mask: SSAValue | None = read("vector", default=None)
    rows: int = number()
    blocks: int = number()
    x_block: int = number()
    out_block: int = number()
    summing: int = number(default=0)
    chunk: int = number(default=0)
    together: int = number(default=1)
    kind: str = keyword("rms", "layer")


@tile_op("normalize_lane_groups")
class NormalizeLaneGroupsOp(DeclaredOp):
    """As normalize_rows for `groups` groups of lanes side by side in every row of every block, each alone.

    Row g of `masks` is 1 in the lanes of group g and 0 elsewhere; lanes of no group become 0. `scratch` has 3 rows.
    """

    out: SSAValue = written("vector")
    scratch: SSAValue = written("vector")
    x: SSAValue = read("vector")
    masks: SSAValue = read("vector")
    eps: SSAValue = read("fp")
    inverse: SSAValue = read("fp")
    rows: int = number()
    blocks: int = number()
    x_block: int = number()
    out_block: int = number()
    groups: int = number()
    kind: str = keyword("rms", "layer")


@tile_op("softmax_lane_groups")
class SoftmaxLaneGroupsOp(DeclaredOp):
    """x panel = softmax of each of `groups` groups of lanes of every row of every block, in place.

    Row g of `masks` is 1 in the lanes of group g and 0 elsewhere, row g of `hide` 0 there and very negative elsewhere.
    `floor` is the word that maxima start from. `scratch` has 2 rows.
    """

    x: SSAValue = written("vector")
    scratch: SSAValue = written("vector")
    hide: SSAValue = read("vector")
    masks: SSAValue = read("vector")
    floor: SSAValue = read("fp")
    rows: int = number()
    blocks: int = number()
    block: int = number()
    groups: int = number()


@tile_op("positive_lanes")
class PositiveLanesOp(DeclaredOp):
    """out panel = max(x panel, 0) lane by lane, for a machine that takes no maximum of a row and a number.

    Row g of `masks` is 1 in lane g and 0 elsewhere: the maximum of the row that it leaves is that lane's. What is in x
    is finite. `scratch` has 2 rows.
    """

    out: SSAValue = written("vector")
    scratch: SSAValue = written("vector")
    x: SSAValue = read("vector")
    masks: SSAValue = read("vector")
    rows: int = number()
    blocks: int = number()
    out_block: int = number()
    x_block: int = number()


@tile_op("reduce_rows")
class ReduceRowsOp(DeclaredOp):
    """scalars[r*scalars_row] = the sum or maximum of row r over all blocks.

    `mask` multiplies the last block of a sum and is added to that of a maximum. With `lanes` only so many of the first
    lanes of the last block count in a sum, NaN and infinity in the others do not matter. A maximum starts from the word
    `floor`. `scratch` has 2 rows. With `chunk` so many blocks are summed at a time, then their sums.
    """

    scalars: SSAValue = written("fp")
    scratch: SSAValue = written("vector")
    x: SSAValue = read("vector")
    mask: SSAValue | None = read("vector", default=None)
    floor: SSAValue | None = read("fp", default=None)
    rows: int = number()
    blocks: int = number()
    block: int = number()
    scalars_row: int = number()
    lanes: int = number(default=0)
    chunk: int = number(default=0)
    kind: str = keyword("sum", "max")


@tile_op("sum_rows")
class SumRowsOp(DeclaredOp):
    """The one row of each out block = the sum of the rows of that x block.

    `chunk` rows are summed at a time, then their sums: sums of bf16 numbers lose less so. `scratch` has one row for
    each chunk.
    """

    out: SSAValue = written("vector")
    scratch: SSAValue = written("vector")
    x: SSAValue = read("vector")
    rows: int = number()
    blocks: int = number()
    x_block: int = number()
    out_block: int = number()
    chunk: int = number(default=0)


@tile_op("max_rows")
class MaxRowsOp(DeclaredOp):
    """The one row of each out block = the maximum of the rows of that x block, whose numbers are finite.

    There is no maximum of two rows: first = min(max((x - m) * scale, 0), 1) is 1 where x is above m and 0 elsewhere if
    `scale` is large enough, and m = x * first + m * (1 - first) is one of the two to the bit. `scratch` has 2 rows.
    """

    out: SSAValue = written("vector")
    scratch: SSAValue = written("vector")
    x: SSAValue = read("vector")
    scale: SSAValue = read("fp")
    one: SSAValue = read("fp")
    rows: int = number()
    blocks: int = number()
    x_block: int = number()
    out_block: int = number()


@tile_op("sqrt_rows")
class SqrtRowsOp(DeclaredOp):
    """out = square roots of the panel x: y = x, but at least `least` and at most `most`, then `steps` times
    y = (y + x / y) / 2.

    The vector unit has no square root. `scratch` has 1 row; `out` must not overlap `x`.
    """

    out: SSAValue = written("vector")
    scratch: SSAValue = written("vector")
    x: SSAValue = read("vector")
    half: SSAValue = read("fp")
    most: SSAValue = read("fp")
    least: SSAValue | None = read("fp", default=None)
    rows: int = number()
    blocks: int = number()
    x_block: int = number()
    out_block: int = number()
    steps: int = number()


@tile_op("shift")
class ShiftOp(DeclaredOp):
    """out = the rows of x moved by `lanes` toward higher lanes, zeros below."""

    out: SSAValue = written("vector")
    x: SSAValue = read("vector")
    rows: int = number()
    blocks: int = number()
    x_block: int = number()
    out_block: int = number()
    lanes: int = number()


@tile_op("map_scalars")
class MapScalarsOp(DeclaredOp):
    """out[i*out_step] = kind(a[i*a_step], b[i*b_step]) on the scalar unit; a step of 0 repeats one number."""

    out: SSAValue = written("fp")
    a: SSAValue = read("fp")
    b: SSAValue | None = read("fp", default=None)
    count: int = number()
    out_step: int = number()
    a_step: int = number()
    b_step: int = number(default=0)
    kind: str = keyword("add", "sub", "mul", "max", "exp", "reciprocal", "sqrt", "copy")


@tile_op("spread_scalars")
class SpreadScalarsOp(DeclaredOp):
    """out row r = scalars[r*scalars_row] in all lanes.

    With `masks` it is the sum of masks row g * scalars[r*scalars_row + g].

    `scratch` has 1 row and is needed with more than one group.
    """

    out: SSAValue = written("vector")
    scratch: SSAValue | None = written("vector", default=None)
    scalars: SSAValue = read("fp")
    masks: SSAValue | None = read("vector", default=None)
    rows: int = number()
    groups: int = number()
    scalars_row: int = number()


@tile_op("scatter_rows")
class ScatterRowsOp(DeclaredOp):
    """`blocks` rows at dst + offsets[r] = those from number r*blocks on of src, quantised.

    The offsets are bytes, known only at run time. Whole writebacks are moved, `blocks` is a multiple of their rows.
    """

    dst: SSAValue = written("hbm")
    src: SSAValue = read("vector")
    offsets: SSAValue = read("int")
    rows: int = number()
    blocks: int = number()
    kv: int = number(default=0)


@tile_op("gather_rows")
class GatherRowsOp(DeclaredOp):
    """Row r of dst block b = the VLEN elements at table + offsets[r] + b*table_block.

    The offsets are bytes, known only at run time. Whole prefetches are moved, rows ascending in ascending blocks: up
    to prefetch amount - 1 rows after each block's last are overwritten. Rows of a table block follow each other.
    """

    dst: SSAValue = written("vector")
    table: SSAValue = read("hbm")
    offsets: SSAValue = read("int")
    rows: int = number()
    blocks: int = number()
    dst_block: int = number()
    table_block: int = number()
