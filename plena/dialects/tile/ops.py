"""Tile operations: transfers, products, row programs. Addressing: VLEN lanes a row, column blocks `*_block` apart.

A *panel* is `blocks` column blocks of `rows` rows: row r of block b starts `b*block + r*VLEN` elements after the
buffer's beginning (column-block-major order, plena_isa.md section 9.2).
"""

from __future__ import annotations

from plena.dialects.tile.operation import TileOp, tile_op

MAP_KINDS = ("add", "sub", "mul", "max", "min", "reverse_sub", "exp", "reciprocal", "copy")
"""Elementwise kinds; add, sub, mul take a panel or a constant as `b`, max, min, reverse_sub (b - a) a constant."""


@tile_op(
    "load_rows",
    {"dst": "vector"},
    {"src": "hbm"},
    ("rows", "blocks", "dst_block", "src_row", "src_block", "kv"),
)
class LoadRowsOp(TileOp):
    """dst panel = HBM rows: row r of block b starts at src + b*src_block + r*src_row.

    Whole prefetches are moved: up to prefetch amount - 1 rows after each block's last are overwritten, blocks
    ascending. `kv` selects the KV type instead of the activation type.
    """


@tile_op(
    "store_rows",
    {"dst": "hbm"},
    {"src": "vector"},
    ("rows", "blocks", "src_block", "dst_row", "dst_block", "kv"),
)
class StoreRowsOp(TileOp):
    """HBM rows = src panel, quantised; whole writebacks are moved, blocks ascending."""


@tile_op(
    "load_tiles",
    {"dst": "matrix"},
    {"src": "hbm"},
    ("outer", "inner", "dst_outer", "dst_inner", "src_outer", "src_inner", "src_row", "kv"),
)
class LoadTilesOp(TileOp):
    """Tile (i, j), i < outer, j < inner, at dst + i*dst_outer + j*dst_inner = src + i*src_outer + j*src_inner.

    `src_row` is the HBM row pitch; 0 means tile-contiguous (MLEN).
    """


@tile_op(
    "matmul",
    {"out": "vector"},
    {"x": "vector", "w": "matrix"},
    ("rows", "k_tiles", "columns", "transposed", "x_block", "w_k", "w_n", "out_block"),
)
class MatmulOp(TileOp):
    """out block n = sum over k of x block k @ W(k, n), W(k, n) the tile at w + k*w_k + n*w_n, transposed if asked.

    `columns` output columns, a multiple of BLEN; the last block may be partial, its other lanes are kept.

    The M_MM schedule: one BLEN x BLEN output at a time, f32 sums over all k, one rounding to bf16.
    """


@tile_op(
    "matmul_pair",
    {"out": "vector"},
    {"x": "vector", "copy": "vector", "w": "matrix"},
    ("k_tiles", "transposed", "block", "out_block"),
)
class MatmulPairOp(TileOp):
    """out block n = sum over k of x block k @ W(n, k) for n = 0, 1, W(n, k) the tile at w + (n*k_tiles + k)*MLEN*MLEN.

    All blocks are MLEN x MLEN, `block` (MLEN*MLEN) apart in `x` and its second copy `copy`, `transposed` asks for
    transposed tiles. Values and roundings are those of two `matmul`s.

    The dual-role schedule: the same register values are matrix and vector addresses if `copy` has the address of `w`
    and `x` that of the second block of tiles (see docs/matmul_schedules.md).
    """


@tile_op(
    "pack",
    {"out": "vector"},
    {"x": "vector", "p": "matrix"},
    ("sets", "x_set", "row_blocks", "x_row_block", "blocks", "x_block", "out_block"),
)
class PackOp(TileOp):
    """Packs BROADCAST row blocks of MLEN rows for broadcast products, column block by column block.

    Row block b is number b % row_blocks of set b // row_blocks, at x + set*x_set + number*x_row_block. Of column block
    k, slice c of `out` (MLEN rows each, slices one behind the other, `out_block` between column blocks) has in lane
    group b, HLEN lanes each, lanes c*HLEN .. of row block b times p's entry / 4. `p` is the packing tile: 16 times the
    identity for transposed products, 16 times the lane permutation for untransposed ones, where lane d*BROADCAST + b
    takes the place of b*HLEN + d. Lane groups from sets * row_blocks on are 0.
    """


@tile_op(
    "broadcast_matmul",
    {"out": "vector"},
    {"x": "vector", "w": "matrix"},
    ("k_tiles", "slices", "n_tiles", "transposed", "x_block", "w_k", "w_n", "out_block", "partial"),
)
class BroadcastMatmulOp(TileOp):
    """out block n = 0.25 * sum over k of X_b block k @ W(k, n) for all BROADCAST row blocks b, from packed slices.

    The reduction runs over `k_tiles` whole tiles and the first `slices` slices of HLEN of one more.

    The M_BTMM / M_BMM schedule: out blocks are BROADCAST*MLEN rows each, written in ascending order, so what lies
    `out_block` behind may overlap rows that mean nothing. Sums are f32 over all k, rounded once. With `partial` the
    sum stays open in the accumulator for the next product, which may have 0 tiles.
    """


@tile_op(
    "splat",
    {"dst": "vector"},
    {"values": "fp"},
    ("rows", "dst_row"),
)
class SplatOp(TileOp):
    """Each of the rows = VLEN words of FP SRAM starting at `values`."""


@tile_op("zero", {"dst": "vector"}, {}, ("rows",))
class ZeroOp(TileOp):
    """Consecutive rows = 0, whatever they held."""


@tile_op(
    "map",
    {"out": "vector"},
    {"a": "vector", "b": "vector|fp?"},
    ("rows", "blocks", "out_row", "out_block", "a_row", "a_block", "b_row", "b_block"),
    ("kind",),
)
class MapOp(TileOp):
    """out = kind(a, b) on a panel; row strides in elements, 0 repeats one row. Rounded to bf16 per element."""

    def verify_(self) -> None:
        from xdsl.utils.exceptions import VerifyException

        super().verify_()
        if "kind" not in self.properties or self.word("kind") not in MAP_KINDS:
            raise VerifyException(f"tile.map: kind must be one of {', '.join(MAP_KINDS)}")


@tile_op(
    "softmax_rows",
    {"x": "vector"},
    {"floor": "fp", "scratch": "vector?", "start": "fp?"},
    ("rows", "blocks", "block", "sink", "chunk", "undefined"),
)
class SoftmaxRowsOp(TileOp):
    """x panel = softmax along each row over all blocks, in place: exp(x - max) / sum.

    Blocks are added in the row `scratch` before one reduction, or without it reduced one by one. With `chunk` (2 to
    `blocks`) that many are added at a time, then their sums, in two rows of scratch: sums of bf16 numbers lose less so.
    `floor` is the word that the running maximum starts from; with `sink` it is a score of its own that takes part in
    the sum and has no value. The sum starts from the word `start`, 0 without it. With `undefined` a row of nothing
    above the floor is NaN.
    """


@tile_op(
    "reset_state",
    {"maximum": "fp", "total": "fp"},
    {"floor": "fp", "start": "fp?"},
    ("rows", "sink"),
)
class ResetStateOp(TileOp):
    """Online softmax state of `rows` rows: maximum = floor, total = `start`, 0 without it.

    With `sink` total = 1 = exp(floor - maximum).
    """


@tile_op(
    "online_softmax",
    {"x": "vector", "maximum": "fp", "total": "fp", "correction": "fp"},
    {},
    ("rows", "blocks", "block"),
)
class OnlineSoftmaxOp(TileOp):
    """One step of the online softmax per row: m' = max(m, x), x = exp(x - m'), c = exp(m - m'), l = l*c + sum x."""


@tile_op(
    "scale_rows",
    {"x": "vector"},
    {"factors": "fp"},
    ("rows", "blocks", "block", "invert"),
)
class ScaleRowsOp(TileOp):
    """Row r of the panel *= factors[r], or / factors[r] when `invert` (one scalar reciprocal per row)."""
