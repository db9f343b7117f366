"""Matrices of entries are the dense ones, tile by tile."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plena.kernels.lane_moves import Band


@given(st.sampled_from([4, 8]), st.integers(1, 4), st.integers(1, 4), st.data())
def test_tiles_from_the_first_to_the_last_that_is_not_zero(
    vlen: int, rows: int, columns: int, data: st.DataObject
) -> None:
    matrix = np.zeros((rows * vlen, columns * vlen), np.float32)
    entry = st.tuples(st.integers(0, rows * vlen - 1), st.integers(0, columns * vlen - 1))
    for n, place in enumerate(data.draw(st.lists(entry, max_size=9, unique=True))):
        matrix[place] = n + 1
    band, wanted = Band.of(matrix), list[np.ndarray]()
    for n, (first, count) in enumerate(band.tiles_of_columns(vlen)):
        tiles = matrix[:, n * vlen : (n + 1) * vlen].reshape(rows, vlen, vlen)
        used = [k for k in range(rows) if tiles[k].any()] or [0]
        assert (first, count) == (used[0], used[-1] - used[0] + 1)
        wanted.extend(tile.T for tile in tiles[first : first + count])
    np.testing.assert_array_equal(band.tiles(vlen), np.concatenate(wanted))
