"""Transfers between HBM and the SRAMs leave what the tile level says, on several machines."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena.machine.target import Target
from tests.harness_tile import SMALL, TARGETS, run_both

targets = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@targets
@pytest.mark.parametrize("rows", [1, 4, 7, 16])
def test_rows_are_loaded(rows: int, target: Target) -> None:
    vlen = target.vlen
    text = f"""
    %src = tile.buffer @src [{rows * 3 * vlen}] : !tile.buffer<hbm>
    %dst = tile.buffer @dst [{(2 * rows + 8) * vlen}] : !tile.buffer<vector>
    tile.load_rows dst(%dst : vector) src(%src : hbm) rows = {rows} blocks = 2 dst_block = {(rows + 8) * vlen}
        src_row = {3 * vlen} src_block = {vlen}"""
    both = run_both(text, target, surplus=True)
    both.assert_equal(skip=["dst"])
    for first in (0, (rows + 8) * vlen):
        block = slice(first, first + rows * vlen)
        assert (both.interpreted["dst"][block] == both.emulated["dst"][block]).all()


@targets
def test_blocks_that_follow_each_other_are_loaded_in_one_loop(target: Target) -> None:
    vlen, amount = target.vlen, target.hbm_v_prefetch_amount
    rows = 2 * amount
    text = f"""
    %src = tile.buffer @src [{rows * 2 * vlen}] : !tile.buffer<hbm>
    %dst = tile.buffer @dst [{2 * rows * vlen}] : !tile.buffer<vector>
    tile.load_rows dst(%dst : vector) src(%src : hbm) rows = {rows} blocks = 2 dst_block = {rows * vlen}
        src_row = {vlen} src_block = {rows * vlen}"""
    both = run_both(text, target)
    both.assert_equal()
    assert both.result.counters.get("C_LOOP_START", 0) == 1


@targets
@pytest.mark.parametrize("kv", [0, 1])
def test_rows_are_stored_as_the_writeback_rounds_them(kv: int, target: Target) -> None:
    vlen, rows = target.vlen, 2 * target.hbm_v_writeback_amount
    text = f"""
    %dst = tile.buffer @dst [{rows * 2 * vlen}] : !tile.buffer<hbm>
    %src = tile.buffer @src [{2 * rows * vlen}] : !tile.buffer<vector>
    tile.store_rows dst(%dst : hbm) src(%src : vector) rows = {rows} blocks = 2 src_block = {rows * vlen}
        dst_row = {2 * vlen} dst_block = {vlen} kv = {kv}"""
    run_both(text, target).assert_equal()


@targets
def test_tiles_of_contiguous_and_strided_weights_are_loaded(target: Target) -> None:
    mlen, tile = target.mlen, target.tile
    text = f"""
    %w = tile.buffer @w [{4 * tile}] : !tile.buffer<hbm>
    %rows = tile.buffer @rows [{2 * tile}] : !tile.buffer<hbm>
    %m = tile.buffer @m [{4 * tile}] : !tile.buffer<matrix>
    %n = tile.buffer @n [{2 * tile}] : !tile.buffer<matrix>
    tile.load_tiles dst(%m : matrix) src(%w : hbm) outer = 2 inner = 2 dst_outer = {2 * tile} dst_inner = {tile}
        src_outer = {2 * tile} src_inner = {tile}
    tile.load_tiles dst(%n : matrix) src(%rows : hbm) outer = 1 inner = 2 dst_inner = {tile}
        src_inner = {mlen} src_row = {2 * mlen} kv = 1"""
    run_both(text, target).assert_equal(skip=["n"] if target.m_prefetch_tiles > 1 else ())


@settings(max_examples=15)
@given(
    rows=st.integers(1, 9),
    blocks=st.integers(1, 3),
    amount=st.sampled_from([1, 2, 3, 4, 8]),
    pitch=st.integers(1, 3),
)
def test_any_panel_is_loaded(rows: int, blocks: int, amount: int, pitch: int) -> None:
    target = SMALL.with_settings({"HBM_V_Prefetch_Amount": amount})
    vlen = target.vlen
    block = -(-rows // amount) * amount * vlen
    text = f"""
    %src = tile.buffer @src [{(blocks * block + 8 * vlen) * pitch}] : !tile.buffer<hbm>
    %dst = tile.buffer @dst [{blocks * block}] : !tile.buffer<vector>
    tile.load_rows dst(%dst : vector) src(%src : hbm) rows = {rows} blocks = {blocks} dst_block = {block}
        src_row = {pitch * vlen} src_block = {block * pitch}"""
    both = run_both(text, target, surplus=True)
    for b in range(blocks):
        panel = slice(b * block, b * block + rows * vlen)
        assert (both.interpreted["dst"][panel] == both.emulated["dst"][panel]).all()
