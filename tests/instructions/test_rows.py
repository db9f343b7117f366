"""Row programs leave what the tile level says. Sums of exponentials may differ by their order: a bf16 step or two."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena.machine.number_formats import bf16_round
from plena.machine.target import Target
from tests.harness_tile import SMALL, TARGETS, run_both

targets = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@targets
def test_splat_and_zero(target: Target) -> None:
    vlen = target.vlen
    text = f"""
    %words = tile.buffer @words [{vlen + 3}] : !tile.buffer<fp>
    %x = tile.buffer @x [{6 * vlen}] : !tile.buffer<vector>
    %y = tile.buffer @y [{3 * vlen}] : !tile.buffer<vector>
    %three = loop.affine 3
    %some = tile.view %words[%three] : !tile.buffer<fp>
    tile.splat dst(%x : vector) values(%some : fp) rows = 3 dst_row = {2 * vlen}
    tile.zero dst(%y : vector) rows = 3"""
    infinite = np.resize([np.inf, np.nan, -np.inf, 1.0], 3 * vlen)
    run_both(text, target, {"y": infinite}).assert_equal()


@targets
@pytest.mark.parametrize("scratch", ["", "scratch(%scratch : vector)"])
@pytest.mark.parametrize(("blocks", "sink"), [(1, 0), (3, 0), (2, 1)])
def test_softmax_over_whole_rows(blocks: int, sink: int, scratch: str, target: Target) -> None:
    vlen, rows = target.vlen, 5
    text = f"""
    %floor = tile.constant [-1.0]
    %x = tile.buffer @x [{blocks * rows * vlen}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{vlen}] : !tile.buffer<vector>
    tile.softmax_rows x(%x : vector) floor(%floor : fp) {scratch} rows = {rows} blocks = {blocks}
        block = {rows * vlen} sink = {sink}"""
    both = run_both(text, target)
    both.assert_equal({"x": 2}, skip=["scratch"])
    sums = both.emulated["x"].reshape(blocks, rows, vlen).sum(axis=(0, 2))
    assert (abs(sums - 1) < 0.02).all() or sink


@targets
@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("together", [1, 2])
def test_exponentials_that_nobody_divides(blocks: int, together: int, target: Target) -> None:
    vlen, rows = target.vlen, 4
    text = f"""
    %floor = tile.constant [-1.0]
    %x = tile.buffer @x [{blocks * rows * vlen}] : !tile.buffer<vector>
    tile.softmax_rows x(%x : vector) floor(%floor : fp) rows = {rows} blocks = {blocks}
        block = {rows * vlen} undivided = 1 together = {together}"""
    both = run_both(text, target)
    both.assert_equal({"x": 2})
    assert both.emulated["x"].max() <= 1


@targets
@pytest.mark.parametrize(("blocks", "chunk"), [(4, 2), (5, 2), (7, 4), (3, 3), (8, 3)])
def test_softmax_in_chunks(blocks: int, chunk: int, target: Target) -> None:
    vlen, rows = target.vlen, 3
    text = f"""
    %floor = tile.constant [-1.0]
    %x = tile.buffer @x [{blocks * rows * vlen}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{2 * vlen}] : !tile.buffer<vector>
    tile.softmax_rows x(%x : vector) floor(%floor : fp) scratch(%scratch : vector) rows = {rows} blocks = {blocks}
        block = {rows * vlen} chunk = {chunk}"""
    run_both(text, target).assert_equal({"x": 2}, skip=["scratch"])


@targets
@pytest.mark.parametrize("sink", [0, 1])
def test_online_softmax(sink: int, target: Target) -> None:
    vlen, rows = target.vlen, 6
    text = f"""
    %floor = tile.constant [-0.5]
    %maximum = tile.buffer @maximum [{rows}] : !tile.buffer<fp>
    %total = tile.buffer @total [{rows}] : !tile.buffer<fp>
    %correction = tile.buffer @correction [{rows}] : !tile.buffer<fp>
    %x = tile.buffer @x [{6 * rows * vlen}] : !tile.buffer<vector>
    %o = tile.buffer @o [{2 * rows * vlen}] : !tile.buffer<vector>
    tile.reset_state maximum(%maximum : fp) total(%total : fp) floor(%floor : fp) rows = {rows} sink = {sink}
    loop.for %i = 0 to 3 {{
      %offset = loop.affine 0 + {2 * rows * vlen} * %i
      %part = tile.view %x[%offset] : !tile.buffer<vector>
      tile.online_softmax x(%part : vector) maximum(%maximum : fp) total(%total : fp) correction(%correction : fp)
          rows = {rows} blocks = 2 block = {rows * vlen}
      tile.scale_rows x(%o : vector) factors(%correction : fp) rows = {rows} blocks = 2 block = {rows * vlen}
    }}
    tile.scale_rows x(%o : vector) factors(%total : fp) rows = {rows} blocks = 2 block = {rows * vlen} invert = 1"""
    both = run_both(text, target)
    both.assert_equal({"total": 1, "o": 2})


@targets
@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize(("mask", "summing"), [("", 0), ("", 1), ("mask(%mask : vector)", 0)])
@pytest.mark.parametrize(("blocks", "chunk"), [(1, 0), (2, 0), (3, 0), (5, 2), (6, 2), (8, 3)])
def test_norms_of_rows(blocks: int, chunk: int, mask: str, summing: int, kind: str, target: Target) -> None:
    vlen, rows = target.vlen, 3
    features = (blocks - 1) * vlen + (vlen // 2 if mask else vlen)
    text = f"""
    %eps = tile.constant [{features * 1e-3}]
    %inverse = tile.constant [{1 / features}]
    %x = tile.buffer @x [{blocks * rows * vlen}] : !tile.buffer<vector>
    %out = tile.buffer @out [{blocks * rows * vlen}] : !tile.buffer<vector>
    %mask = tile.buffer @mask [{vlen}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{3 * vlen}] : !tile.buffer<vector>
    tile.normalize_rows kind = "{kind}" out(%out : vector) scratch(%scratch : vector) x(%x : vector)
        eps(%eps : fp) inverse(%inverse : fp) {mask} rows = {rows} blocks = {blocks}
        x_block = {rows * vlen} out_block = {rows * vlen} summing = {summing} chunk = {chunk}"""
    ones = np.arange(vlen) < vlen // 2
    both = run_both(text, target, {"mask": ones})
    both.assert_equal({"out": 1 if kind == "layer" else 0}, skip=["scratch"])


@targets
@pytest.mark.parametrize("rows", [1, 3, 6])
@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_rms_norms_of_rows_in_turns(blocks: int, rows: int, target: Target) -> None:
    """Whole groups of rows and those that are left, to the bit as rows alone."""
    vlen, features = target.vlen, blocks * target.vlen
    text = f"""
    %eps = tile.constant [{features * 1e-3}]
    %inverse = tile.constant [{1 / features}]
    %x = tile.buffer @x [{blocks * rows * vlen}] : !tile.buffer<vector>
    %out = tile.buffer @out [{blocks * rows * vlen}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{6 * vlen}] : !tile.buffer<vector>
    tile.normalize_rows kind = "rms" out(%out : vector) scratch(%scratch : vector) x(%x : vector)
        eps(%eps : fp) inverse(%inverse : fp) rows = {rows} blocks = {blocks}
        x_block = {rows * vlen} out_block = {rows * vlen} together = 3"""
    run_both(text, target).assert_equal({"out": 0}, skip=["scratch"])


@targets
@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_norms_of_lane_groups(groups: int, kind: str, target: Target) -> None:
    vlen, rows, width = target.vlen, 3, target.vlen // 4
    text = f"""
    %eps = tile.constant [{width * 1e-3}]
    %inverse = tile.constant [{1 / width}]
    %x = tile.buffer @x [{2 * rows * vlen}] : !tile.buffer<vector>
    %out = tile.buffer @out [{2 * rows * vlen}] : !tile.buffer<vector>
    %masks = tile.buffer @masks [{groups * vlen}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{3 * vlen}] : !tile.buffer<vector>
    tile.normalize_lane_groups kind = "{kind}" out(%out : vector) scratch(%scratch : vector) x(%x : vector)
        masks(%masks : vector) eps(%eps : fp) inverse(%inverse : fp) rows = {rows} blocks = 2
        x_block = {rows * vlen} out_block = {rows * vlen} groups = {groups}"""
    masks = np.arange(vlen) // width == np.arange(groups)[:, None]
    run_both(text, target, {"masks": masks}).assert_equal({"out": 1}, skip=["scratch"])


@targets
def test_softmax_of_lane_groups(target: Target) -> None:
    vlen, rows, width = target.vlen, 3, target.vlen // 4
    text = f"""
    %floor = tile.constant [-100.0]
    %x = tile.buffer @x [{2 * rows * vlen}] : !tile.buffer<vector>
    %hide = tile.buffer @hide [{3 * vlen}] : !tile.buffer<vector>
    %masks = tile.buffer @masks [{3 * vlen}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{2 * vlen}] : !tile.buffer<vector>
    tile.softmax_lane_groups x(%x : vector) scratch(%scratch : vector) hide(%hide : vector)
        masks(%masks : vector) floor(%floor : fp) rows = {rows} blocks = 2 block = {rows * vlen} groups = 3"""
    masks = np.arange(vlen) // width == np.arange(3)[:, None]
    both = run_both(text, target, {"masks": masks, "hide": np.where(masks, 0, -128)})
    both.assert_equal({"x": 2}, skip=["scratch"])


@targets
@pytest.mark.parametrize("kind", ["sum", "max"])
@pytest.mark.parametrize("mask", ["", "mask(%mask : vector)"])
@pytest.mark.parametrize(("blocks", "chunk"), [(1, 0), (2, 0), (4, 0), (5, 2), (6, 2), (8, 3)])
def test_reductions_along_rows(blocks: int, chunk: int, mask: str, kind: str, target: Target) -> None:
    vlen, rows = target.vlen, 5
    text = f"""
    %floor = tile.constant [-1.5]
    %x = tile.buffer @x [{blocks * rows * vlen}] : !tile.buffer<vector>
    %mask = tile.buffer @mask [{vlen}] : !tile.buffer<vector>
    %words = tile.buffer @words [{3 * rows}] : !tile.buffer<fp>
    %scratch = tile.buffer @scratch [{2 * vlen}] : !tile.buffer<vector>
    tile.reduce_rows kind = "{kind}" scalars(%words : fp) scratch(%scratch : vector) x(%x : vector) {mask}
        floor(%floor : fp) rows = {rows} blocks = {blocks} block = {rows * vlen} scalars_row = 3 chunk = {chunk}"""
    lanes = np.arange(vlen) < vlen // 2
    both = run_both(text, target, {"mask": lanes if kind == "sum" else np.where(lanes, 0, -128)})
    both.assert_equal(skip=["scratch"])


@targets
@pytest.mark.parametrize(("blocks", "chunk"), [(1, 0), (3, 0), (5, 2)])
@pytest.mark.parametrize("lanes", [1, 3])
def test_sums_of_first_lanes_whatever_the_others_hold(
    lanes: int, blocks: int, chunk: int, target: Target
) -> None:
    vlen, rows = target.vlen, 4
    text = f"""
    %x = tile.buffer @x [{blocks * rows * vlen}] : !tile.buffer<vector>
    %words = tile.buffer @words [{rows}] : !tile.buffer<fp>
    %scratch = tile.buffer @scratch [{2 * vlen}] : !tile.buffer<vector>
    tile.reduce_rows kind = "sum" scalars(%words : fp) scratch(%scratch : vector) x(%x : vector)
        rows = {rows} blocks = {blocks} block = {rows * vlen} scalars_row = 1 lanes = {lanes} chunk = {chunk}"""
    x = np.ones((blocks, rows, vlen), np.float32)
    x[-1, :, lanes:] = np.resize([np.nan, np.inf, -np.inf], vlen - lanes)
    x[-1, 1, 0] = -np.inf
    both = run_both(text, target, {"x": x.reshape(-1)})
    both.assert_equal(skip=["scratch"])
    whole = bf16_round(np.float32((blocks - 1) * vlen + lanes))
    np.testing.assert_array_equal(both.emulated["words"].reshape(-1), [whole, -np.inf, whole, whole])


@targets
@pytest.mark.parametrize("rows", [1, 2, 7, 8])
@pytest.mark.parametrize("chunk", [1, 4, 8])
def test_sums_over_rows(chunk: int, rows: int, target: Target) -> None:
    vlen = target.vlen
    text = f"""
    %x = tile.buffer @x [{2 * rows * vlen}] : !tile.buffer<vector>
    %out = tile.buffer @out [{2 * vlen}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{8 * vlen}] : !tile.buffer<vector>
    tile.sum_rows out(%out : vector) scratch(%scratch : vector) x(%x : vector) rows = {rows} blocks = 2
        x_block = {rows * vlen} out_block = {vlen} chunk = {chunk}"""
    run_both(text, target).assert_equal(skip=["scratch"])


@targets
@pytest.mark.parametrize("rows", [1, 5])
def test_maxima_over_rows(rows: int, target: Target) -> None:
    vlen = target.vlen
    text = f"""
    %scale = tile.constant [32768.0]
    %one = tile.constant [1.0]
    %x = tile.buffer @x [{2 * rows * vlen}] : !tile.buffer<vector>
    %out = tile.buffer @out [{2 * vlen}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{2 * vlen}] : !tile.buffer<vector>
    tile.max_rows out(%out : vector) scratch(%scratch : vector) x(%x : vector) scale(%scale : fp) one(%one : fp)
        rows = {rows} blocks = 2 x_block = {rows * vlen} out_block = {vlen}"""
    both = run_both(text, target)
    both.assert_equal(skip=["scratch"])
    maxima = both.interpreted["x"].reshape(2, rows, vlen).max(axis=1)
    assert np.array_equal(both.emulated["out"].reshape(2, vlen), maxima)


@targets
@pytest.mark.parametrize("least", ["", "least(%least : fp)"])
def test_square_roots(least: str, target: Target) -> None:
    """Of numbers far above `most`, and below `least` if there is one."""
    vlen, rows = target.vlen, 3
    text = f"""
    %half = tile.constant [0.5]
    %most = tile.constant [1024.0]
    %least = tile.constant [0.0009765625]
    %x = tile.buffer @x [{2 * rows * vlen}] : !tile.buffer<vector>
    %out = tile.buffer @out [{2 * rows * vlen}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{vlen}] : !tile.buffer<vector>
    tile.sqrt_rows out(%out : vector) scratch(%scratch : vector) x(%x : vector) half(%half : fp) most(%most : fp)
        {least} rows = {rows} blocks = 2 x_block = {rows * vlen} out_block = {rows * vlen} steps = 12"""
    numbers = np.exp2(np.random.default_rng(0).uniform(-28 if least else -8, 28, 2 * rows * vlen))
    both = run_both(text, target, {"x": numbers})
    both.assert_equal(skip=["scratch"])
    assert np.allclose(both.emulated["out"], np.sqrt(numbers), rtol=0.01)


@targets
@pytest.mark.parametrize("lanes", [0, 1, 5])
def test_shifts(lanes: int, target: Target) -> None:
    vlen, rows = target.vlen, 2
    text = f"""
    %x = tile.buffer @x [{2 * rows * vlen}] : !tile.buffer<vector>
    %out = tile.buffer @out [{2 * rows * vlen}] : !tile.buffer<vector>
    tile.shift out(%out : vector) x(%x : vector) rows = {rows} blocks = 2 x_block = {rows * vlen}
        out_block = {rows * vlen} lanes = {lanes}"""
    run_both(text, target).assert_equal()


UNARY, BINARY = ("exp", "reciprocal", "sqrt", "copy"), ("add", "sub", "mul", "max")


@pytest.mark.parametrize("kind", [*UNARY, *BINARY])
@pytest.mark.parametrize("b_step", [0, 2])
def test_words_are_computed_with(b_step: int, kind: str) -> None:
    b = "b(%b : fp)" if kind in BINARY else ""
    text = f"""
    %a = tile.buffer @a [21] : !tile.buffer<fp>
    %b = tile.buffer @b [14] : !tile.buffer<fp>
    %out = tile.buffer @out [7] : !tile.buffer<fp>
    tile.map_scalars kind = "{kind}" out(%out : fp) a(%a : fp) {b} count = 7 out_step = 1 a_step = 3
    b_step = {b_step}"""
    rng = np.random.default_rng(0)
    both = run_both(text, SMALL, {"a": rng.random(21) * 4 + 0.1, "b": rng.random(14) * 4})
    both.assert_equal()


@targets
@pytest.mark.parametrize("groups", [0, 1, 3])
def test_words_are_spread_over_lanes(groups: int, target: Target) -> None:
    vlen, rows = target.vlen, 4
    masks = "masks(%masks : vector)" if groups else ""
    text = f"""
    %words = tile.buffer @words [{4 * rows}] : !tile.buffer<fp>
    %out = tile.buffer @out [{rows * vlen}] : !tile.buffer<vector>
    %masks = tile.buffer @masks [{3 * vlen}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{vlen}] : !tile.buffer<vector>
    tile.spread_scalars out(%out : vector) scratch(%scratch : vector) scalars(%words : fp) {masks} rows = {rows}
        groups = {groups} scalars_row = 4"""
    lanes = np.arange(vlen) * 3 // vlen == np.arange(3)[:, None]
    run_both(text, target, {"masks": lanes}).assert_equal(skip=["scratch"])


@targets
def test_rows_are_gathered_by_offsets_known_at_run_time(target: Target) -> None:
    vlen, amount = target.vlen, target.hbm_v_prefetch_amount
    text = f"""
    %table = tile.buffer @table [{48 * vlen}] : !tile.buffer<hbm>
    %offsets = tile.buffer @offsets [6] : !tile.buffer<int>
    %dst = tile.buffer @dst [{2 * (6 + amount) * vlen}] : !tile.buffer<vector>
    tile.gather_rows dst(%dst : vector) table(%table : hbm) offsets(%offsets : int) rows = 6 blocks = 2
        dst_block = {(6 + amount) * vlen} table_block = {24 * vlen}"""
    offsets = [vlen * row for row in (7, 0, 7, 15, 3, 1)]
    both = run_both(text, target, {"offsets": offsets}, surplus=True)
    for first in (0, (6 + amount) * vlen):
        panel = slice(first, first + 6 * vlen)
        assert (both.interpreted["dst"][panel] == both.emulated["dst"][panel]).all()


@settings(max_examples=15)
@given(rows=st.integers(1, 6), blocks=st.integers(1, 4), extra=st.integers(0, 2), seed=st.integers(0, 99))
def test_any_softmax(rows: int, blocks: int, extra: int, seed: int) -> None:
    vlen, block = SMALL.vlen, (rows + extra) * SMALL.vlen
    text = f"""
    %floor = tile.constant [-128.0]
    %x = tile.buffer @x [{blocks * block}] : !tile.buffer<vector>
    %scratch = tile.buffer @scratch [{vlen}] : !tile.buffer<vector>
    tile.softmax_rows x(%x : vector) floor(%floor : fp) scratch(%scratch : vector) rows = {rows} blocks = {blocks}
        block = {block}"""
    run_both(text, SMALL, seed=seed).assert_equal({"x": 2}, skip=["scratch"])
