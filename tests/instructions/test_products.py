"""Matrix products leave what the tile level says: sums of these numbers are exact, so the order cannot matter."""

from __future__ import annotations

import numpy as np
import pytest

from plena.machine.target import Target
from tests.harness_tile import SMALL, TARGETS, run_both

targets = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
with_broadcast = pytest.mark.parametrize(
    "target",
    [t for t in TARGETS.values() if t.has_broadcast],
    ids=[n for n, t in TARGETS.items() if t.has_broadcast],
)


@targets
@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("part", [0, 1])
def test_matmul(transposed: int, part: int, target: Target) -> None:
    mlen, blen, tile = target.mlen, target.blen, target.tile
    rows, columns = 2 * blen, mlen + (blen if part else mlen)
    text = f"""
    %x = tile.buffer @x [{2 * rows * mlen}] : !tile.buffer<vector>
    %w = tile.buffer @w [{4 * tile}] : !tile.buffer<matrix>
    %out = tile.buffer @out [{2 * rows * mlen}] : !tile.buffer<vector>
    tile.matmul out(%out : vector) x(%x : vector) w(%w : matrix) rows = {rows} k_tiles = 2 columns = {columns}
        transposed = {transposed} x_block = {rows * mlen} w_k = {tile} w_n = {2 * tile} out_block = {rows * mlen}"""
    run_both(text, target).assert_equal()


def test_general_numbers_differ_by_the_order_of_the_sum_at_most() -> None:
    mlen, tile = SMALL.mlen, SMALL.tile
    rng = np.random.default_rng(0)
    text = f"""
    %x = tile.buffer @x [{4 * 3 * mlen}] : !tile.buffer<vector>
    %w = tile.buffer @w [{3 * tile}] : !tile.buffer<matrix>
    %out = tile.buffer @out [{4 * mlen}] : !tile.buffer<vector>
    tile.matmul out(%out : vector) x(%x : vector) w(%w : matrix) rows = 4 k_tiles = 3 columns = {mlen}
        x_block = {4 * mlen} w_k = {tile}"""
    values = {"x": rng.random(12 * mlen) + 0.1, "w": rng.random(3 * tile) + 0.1}
    run_both(text, SMALL, values).assert_equal({"out": 1})


@targets
@pytest.mark.parametrize("transposed", [0, 1])
def test_products_of_two_blocks_at_once(transposed: int, target: Target) -> None:
    tile = target.tile
    vector = 8 * target.mlen * target.mlen
    text = f"""
    %x = tile.buffer @x [{2 * tile}] : !tile.buffer<vector> at {vector + 2 * tile}
    %copy = tile.buffer @copy [{2 * tile}] : !tile.buffer<vector> at {vector}
    %w = tile.buffer @w [{4 * tile}] : !tile.buffer<matrix> at {vector}
    %out = tile.buffer @out [{2 * tile}] : !tile.buffer<vector> at {vector + 6 * tile}
    tile.matmul_pair out(%out : vector) x(%x : vector) copy(%copy : vector) w(%w : matrix) k_tiles = 2
        transposed = {transposed} block = {tile} out_block = {tile}"""
    values = np.random.default_rng(1).integers(-8, 9, 2 * tile) / 8
    run_both(text, target, {"x": values, "copy": values}).assert_equal()


@with_broadcast
@pytest.mark.parametrize("sets", [0, 2])
def test_packing(sets: int, target: Target) -> None:
    mlen, tile, slots = target.mlen, target.tile, target.broadcast_amount
    row_blocks = 2 if sets else 3
    text = f"""
    %x = tile.buffer @x [{8 * tile}] : !tile.buffer<vector>
    %p = tile.buffer @p [{tile}] : !tile.buffer<matrix>
    %out = tile.buffer @out [{2 * slots * tile}] : !tile.buffer<vector>
    tile.pack out(%out : vector) x(%x : vector) p(%p : matrix) sets = {sets} x_set = {4 * tile}
        row_blocks = {row_blocks} x_row_block = {tile} blocks = 2 x_block = {2 * tile} out_block = {slots * tile}"""
    run_both(text, target, {"p": 16 * np.eye(mlen)}).assert_equal()


@with_broadcast
@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize(("tiles", "slices"), [(2, 0), (1, 2), (0, 1)])
def test_broadcast_products(tiles: int, slices: int, transposed: int, target: Target) -> None:
    tile, slots = target.tile, target.broadcast_amount
    text = f"""
    %x = tile.buffer @x [{3 * slots * tile}] : !tile.buffer<vector>
    %w = tile.buffer @w [{6 * tile}] : !tile.buffer<matrix>
    %out = tile.buffer @out [{2 * slots * tile}] : !tile.buffer<vector>
    tile.broadcast_matmul out(%out : vector) x(%x : vector) w(%w : matrix) k_tiles = {tiles} slices = {slices}
        n_tiles = 2 transposed = {transposed} x_block = {slots * tile} w_k = {tile} w_n = {3 * tile}
        out_block = {slots * tile}"""
    run_both(text, target).assert_equal()


@with_broadcast
def test_a_sum_can_stay_open(target: Target) -> None:
    tile, slots = target.tile, target.broadcast_amount
    text = f"""
    %x = tile.buffer @x [{slots * tile}] : !tile.buffer<vector>
    %y = tile.buffer @y [{slots * tile}] : !tile.buffer<vector>
    %w = tile.buffer @w [{2 * tile}] : !tile.buffer<matrix>
    %one = loop.affine {tile}
    %second = tile.view %w[%one] : !tile.buffer<matrix>
    %out = tile.buffer @out [{slots * tile}] : !tile.buffer<vector>
    tile.broadcast_matmul out(%out : vector) x(%x : vector) w(%w : matrix) k_tiles = 1 n_tiles = 1 transposed = 1
        partial = 1
    tile.broadcast_matmul out(%out : vector) x(%y : vector) w(%second : matrix) k_tiles = 1 n_tiles = 1
        transposed = 1"""
    run_both(text, target).assert_equal()


@with_broadcast
@pytest.mark.parametrize("vectors", [1, 3])
def test_packing_of_vectors(vectors: int, target: Target) -> None:
    mlen, tile, slots = target.mlen, target.tile, target.broadcast_amount
    text = f"""
    %x = tile.buffer @x [{16 * mlen}] : !tile.buffer<vector>
    %p = tile.buffer @p [{tile}] : !tile.buffer<matrix>
    %out = tile.buffer @out [{2 * slots * mlen}] : !tile.buffer<vector>
    tile.pack_vectors out(%out : vector) x(%x : vector) p(%p : matrix) vectors = {min(vectors, slots)}
        x_vector = {2 * mlen} blocks = 2 x_block = {8 * mlen} out_block = {slots * mlen}"""
    run_both(text, target, {"p": 16 * np.eye(mlen)}).assert_equal()


@with_broadcast
@pytest.mark.parametrize(("tiles", "slices"), [(2, 0), (1, 2), (0, 1)])
def test_vector_products(tiles: int, slices: int, target: Target) -> None:
    mlen, tile, slots = target.mlen, target.tile, target.broadcast_amount
    text = f"""
    %x = tile.buffer @x [{3 * slots * mlen}] : !tile.buffer<vector>
    %w = tile.buffer @w [{6 * tile}] : !tile.buffer<matrix>
    %out = tile.buffer @out [{2 * slots * mlen}] : !tile.buffer<vector>
    tile.vector_matmul out(%out : vector) x(%x : vector) w(%w : matrix) k_tiles = {tiles} slices = {slices}
        n_tiles = 2 x_block = {slots * mlen} w_k = {tile} w_n = {3 * tile} out_block = {slots * mlen}"""
    run_both(text, target).assert_equal()


@with_broadcast
def test_a_sum_of_vector_products_can_stay_open(target: Target) -> None:
    mlen, tile, slots = target.mlen, target.tile, target.broadcast_amount
    text = f"""
    %x = tile.buffer @x [{slots * mlen}] : !tile.buffer<vector>
    %y = tile.buffer @y [{slots * mlen}] : !tile.buffer<vector>
    %w = tile.buffer @w [{2 * tile}] : !tile.buffer<matrix>
    %one = loop.affine {tile}
    %second = tile.view %w[%one] : !tile.buffer<matrix>
    %out = tile.buffer @out [{slots * mlen}] : !tile.buffer<vector>
    tile.vector_matmul out(%out : vector) x(%x : vector) w(%w : matrix) k_tiles = 1 n_tiles = 1 partial = 1
    tile.vector_matmul out(%out : vector) x(%y : vector) w(%second : matrix) slices = 2 n_tiles = 1"""
    run_both(text, target).assert_equal()
