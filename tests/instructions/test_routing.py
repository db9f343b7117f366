"""The choice of experts leaves what the tile level says, in both scalar memories and in rows."""

from __future__ import annotations

import numpy as np
import pytest

from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.machine.target import Target
from tests.harness_tile import SMALL, TARGETS, run_both

ONE_ROW = TARGETS["64x4"]


def scores(count: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Equal numbers, zeros of both signs, infinities and NaN among them."""
    found = np.resize(np.array([1.5, 3.0, -0.0, 0.0, np.nan, 3.0, -np.inf], np.float32), count)
    found[1], found[5], found[9] = np.inf, -2.0, 3.5
    return found


@pytest.mark.parametrize("target", [SMALL, ONE_ROW], ids=["16", "64"])
@pytest.mark.parametrize("policy", TOPK_SHAPES)
def test_topk_and_marks(policy: int, target: Target) -> None:
    vlen, (experts, kept) = target.vlen, TOPK_SHAPES[policy]
    blocks = -(-experts // vlen)
    words = blocks * vlen
    text = f"""
    %one = tile.constant [1.0]
    %x = tile.buffer @x [{words}] : !tile.buffer<vector>
    %out = tile.buffer @out [{2 * words}] : !tile.buffer<vector>
    %row = tile.buffer @row [{words}] : !tile.buffer<fp>
    %weights = tile.buffer @weights [{kept}] : !tile.buffer<fp>
    %ids = tile.buffer @ids [{kept}] : !tile.buffer<int>
    tile.topk ids(%ids : int) weights(%weights : fp) x(%x : vector) policy = {policy}
    tile.mark_lanes out(%out : vector) row(%row : fp) ids(%ids : int) one(%one : fp) count = {kept - 1}
        blocks = {blocks} out_block = {2 * vlen}"""
    both = run_both(text, target, {"x": scores(words), "row": np.zeros(words)})
    both.assert_equal()
    marked = both.emulated["out"].reshape(blocks, 2, vlen)[:, 0].reshape(-1)
    assert set(np.flatnonzero(marked)) == set(both.emulated["ids"][: kept - 1].astype(int))
    assert not both.emulated["row"].any()


def test_ids_are_moved_and_looked_up() -> None:
    text = """
    %x = tile.buffer @x [4] : !tile.buffer<int>
    %table = tile.buffer @table [9] : !tile.buffer<int>
    %found = tile.buffer @found [3] : !tile.buffer<int>
    %five = loop.affine 5
    %end = tile.view %table[%five] : !tile.buffer<int>
    tile.offset_ids ids(%table : int) x(%x : int) count = 4 offset = 100
    tile.clear_ids ids(%end : int) count = 2
    tile.look_up_ids ids(%found : int) positions(%x : int) table(%table : int) count = 3"""
    both = run_both(text, SMALL, {"x": [3, 5, 0, 2], "table": np.arange(70, 79)})
    both.assert_equal()
    assert both.emulated["table"].tolist() == [103, 105, 100, 102, 74, 0, 0, 77, 78]
    assert both.emulated["found"].tolist() == [102, 0, 103]
