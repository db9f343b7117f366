"""Tile operations: transfers, products, row programs. Addressing: VLEN lanes a row, column blocks `*_block` apart.

A *panel* is `blocks` column blocks of `rows` rows: row r of block b starts `b*block + r*VLEN` elements after the
buffer's beginning (column-block-major order, plena_isa.md section 9.2).
"""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.tile.operation import DeclaredOp, number, read, tile_op, written


@tile_op("load_rows")
class LoadRowsOp(DeclaredOp):
    """dst panel = HBM rows: row r of block b starts at src + b*src_block + r*src_row.

    Whole prefetches are moved: up to prefetch amount - 1 rows after each block's last are overwritten, blocks
    ascending. `kv` selects the KV type instead of the activation type.
    """

    dst: SSAValue = written("vector")
    src: SSAValue = read("hbm")
    rows: int = number()
    blocks: int = number()
    dst_block: int = number()
    src_row: int = number(default=0)
    src_block: int = number()
    kv: int = number(default=0)


@tile_op("store_rows")
class StoreRowsOp(DeclaredOp):
    """HBM rows = src panel, quantised; whole writebacks are moved, blocks ascending."""

    dst: SSAValue = written("hbm")
    src: SSAValue = read("vector")
    rows: int = number()
    blocks: int = number()
    src_block: int = number()
    dst_row: int = number()
    dst_block: int = number()
    kv: int = number(default=0)


@tile_op("load_tiles")
class LoadTilesOp(DeclaredOp):
    """Tile (i, j), i < outer, j < inner, at dst + i*dst_outer + j*dst_inner = src + i*src_outer + j*src_inner.

    `src_row` is the HBM row pitch; 0 means tile-contiguous (MLEN).
    """

    dst: SSAValue = written("matrix")
    src: SSAValue = read("hbm")
    outer: int = number()
    inner: int = number()
    dst_outer: int = number()
    dst_inner: int = number()
    src_outer: int = number()
    src_inner: int = number()
    src_row: int = number(default=0)
    kv: int = number(default=0)


@tile_op("matmul")
class MatmulOp(DeclaredOp):
    """out block n = sum over k of x block k @ W(k, n), W(k, n) the tile at w + k*w_k + n*w_n, transposed if asked.

    `columns` output columns, a multiple of BLEN; the last block may be partial, its other lanes are kept.

    The M_MM schedule: one BLEN x BLEN output at a time, f32 sums over all k, one rounding to bf16.
    """

    out: SSAValue = written("vector")
    x: SSAValue = read("vector")
    w: SSAValue = read("matrix")
    rows: int = number()
    k_tiles: int = number()
    columns: int = number()
    transposed: int = number(default=0)
    x_block: int = number()
    w_k: int = number()
    w_n: int = number()
    out_block: int = number()


@tile_op("matmul_pair")
class MatmulPairOp(DeclaredOp):
    """out block n = sum over k of x block k @ W(n, k) for n = 0, 1, W(n, k) the tile at w + (n*k_tiles + k)*MLEN*MLEN.

    All blocks are MLEN x MLEN, `block` (MLEN*MLEN) apart in `x` and its second copy `copy`, `transposed` asks for
    transposed tiles. Values and roundings are those of two `matmul`s.

    The dual-role schedule: the same register values are matrix and vector addresses if `copy` has the address of `w`
    and `x` that of the second block of tiles (see docs/matmul_schedules.md).
    """

    out: SSAValue = written("vector")
    x: SSAValue = read("vector")
    copy: SSAValue = read("vector")
    w: SSAValue = read("matrix")
    k_tiles: int = number()
    transposed: int = number(default=0)
    block: int = number()
    out_block: int = number()


@tile_op("pack")
class PackOp(DeclaredOp):
    """Packs BROADCAST row blocks of MLEN rows for broadcast products, column block by column block.

    Row block b is number b % row_blocks of set b // row_blocks, at x + set*x_set + number*x_row_block. Of column block
    k, slice c of `out` (MLEN rows each, slices one behind the other, `out_block` between column blocks) has in lane
    group b, HLEN lanes each, lanes c*HLEN .. of row block b times p's entry / 4. `p` is the packing tile: 16 times the
    identity for transposed products, 16 times the lane permutation for untransposed ones, where lane d*BROADCAST + b
    takes the place of b*HLEN + d. Lane groups from sets * row_blocks on are 0.
    """

    out: SSAValue = written("vector")
    x: SSAValue = read("vector")
    p: SSAValue = read("matrix")
    sets: int = number(default=0)
    x_set: int = number(default=0)
    row_blocks: int = number()
    x_row_block: int = number()
    blocks: int = number()
    x_block: int = number()
    out_block: int = number()


@tile_op("broadcast_matmul")
class BroadcastMatmulOp(DeclaredOp):
    """out block n = 0.25 * sum over k of X_b block k @ W(k, n) for all BROADCAST row blocks b, from packed slices.

    The reduction runs over `k_tiles` whole tiles and the first `slices` slices of HLEN of one more.

    The M_BTMM / M_BMM schedule: out blocks are BROADCAST*MLEN rows each, written in ascending order, so what lies
    `out_block` behind may overlap rows that mean nothing. Sums are f32 over all k, rounded once. With `partial` the
    sum stays open in the accumulator for the next product, which may have 0 tiles.
    """

    out: SSAValue = written("vector")
    x: SSAValue = read("vector")
    w: SSAValue = read("matrix")
    k_tiles: int = number()
    slices: int = number()
    n_tiles: int = number()
    transposed: int = number(default=0)
    x_block: int = number()
    w_k: int = number()
    w_n: int = number()
    out_block: int = number()
    partial: int = number(default=0)


@tile_op("pack_vectors")
class PackVectorsOp(DeclaredOp):
    """Packs up to BROADCAST vectors for products with vectors, column block by column block.

    Vector b is at x + b*x_vector, its column block k `k*x_block` behind. Of column block k, row c of `out` (BROADCAST
    rows, `out_block` between column blocks) has in lane group b, HLEN lanes each, lanes c*HLEN .. of vector b times
    p's entry / 4. `p` is a packing tile as for `pack`. Lane groups from `vectors` on are 0.
    """

    out: SSAValue = written("vector")
    x: SSAValue = read("vector")
    p: SSAValue = read("matrix")
    vectors: int = number()
    x_vector: int = number()
    blocks: int = number()
    x_block: int = number()
    out_block: int = number()


@tile_op("vector_matmul")
class VectorMatmulOp(DeclaredOp):
    """Row b of out block n = 0.25 * sum over k of vector b block k @ W(k, n)^T, b < BROADCAST, from packed rows.

    The reduction runs over `k_tiles` whole tiles and the first `slices` slices of HLEN of one more.

    The M_BTMV schedule: out blocks are BROADCAST rows each, written in ascending order, so what lies `out_block` behind
    may overlap rows that mean nothing. Sums are f32 over all k, rounded once. With `partial` the sum stays open in the
    accumulator for the next product, which may have 0 tiles.
    """

    out: SSAValue = written("vector")
    x: SSAValue = read("vector")
    w: SSAValue = read("matrix")
    k_tiles: int = number()
    slices: int = number()
    n_tiles: int = number()
    x_block: int = number()
    w_k: int = number()
    w_n: int = number()
    out_block: int = number()
    partial: int = number(default=0)


@tile_op("splat")
class SplatOp(DeclaredOp):
    """Each of the rows = VLEN words of FP SRAM starting at `values`."""

    dst: SSAValue = written("vector")
    values: SSAValue = read("fp")
    rows: int = number()
    dst_row: int = number()


@tile_op("zero")
class ZeroOp(DeclaredOp):
    """Consecutive rows = 0, whatever they held."""

    dst: SSAValue = written("vector")
    rows: int = number()


@tile_op("softmax_rows")
class SoftmaxRowsOp(DeclaredOp):
    """x panel = softmax along each row over all blocks, in place: exp(x - max) / sum.

    Blocks are added in the row `scratch` before one reduction, or without it reduced one by one. With `chunk` (2 to
    `blocks`) that many are added at a time, then their sums, in two rows of scratch: sums of bf16 numbers lose less so.
    `floor` is the word that the running maximum starts from; with `sink` it is a score of its own that takes part in
    the sum and has no value. The sum starts from the word `start`, 0 without it. With `undefined` a row of nothing
    above the floor is NaN. With `undivided` there is no sum: x = exp(x - max); then `together` rows, which divides
    `rows`, take turns.
    """

    x: SSAValue = written("vector")
    floor: SSAValue = read("fp")
    scratch: SSAValue | None = read("vector", default=None)
    start: SSAValue | None = read("fp", default=None)
    rows: int = number()
    blocks: int = number()
    block: int = number()
    sink: int = number(default=0)
    chunk: int = number(default=0)
    undefined: int = number(default=0)
    undivided: int = number(default=0)
    together: int = number(default=1)


@tile_op("reset_state")
class ResetStateOp(DeclaredOp):
    """Online softmax state of `rows` rows: maximum = floor, total = `start`, 0 without it.

    With `sink` total = 1 = exp(floor - maximum).
    """

    maximum: SSAValue = written("fp")
    total: SSAValue = written("fp")
    floor: SSAValue = read("fp")
    start: SSAValue | None = read("fp", default=None)
    rows: int = number()
    sink: int = number(default=0)


@tile_op("online_softmax")
class OnlineSoftmaxOp(DeclaredOp):
    """One step of the online softmax per row: m' = max(m, x), x = exp(x - m'), c = exp(m - m'), l = l*c + sum x."""

    x: SSAValue = written("vector")
    maximum: SSAValue = written("fp")
    total: SSAValue = written("fp")
    correction: SSAValue = written("fp")
    rows: int = number()
    blocks: int = number()
    block: int = number()


@tile_op("scale_rows")
class ScaleRowsOp(DeclaredOp):
    """Row r of the panel *= factors[r], or / factors[r] when `invert` (one scalar reciprocal per row)."""

    x: SSAValue = written("vector")
    factors: SSAValue = read("fp")
    rows: int = number()
    blocks: int = number()
    block: int = number()
    invert: int = number(default=0)
