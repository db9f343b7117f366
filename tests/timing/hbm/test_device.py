"""The compiled device against its rules, the published figures and the public emulator's own times."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plena.errors import SettingsError
from plena.machine.target import Target
from plena.timing.hbm import memory, serial
from plena.timing.hbm.device import Device, new_device
from tests.timing.hbm.oracle import Oracle

I64 = NDArray[np.int64]


@numba.njit
def load(d: Device, words: I64, start: int) -> int:
    return serial.load(d, words, start)


@numba.njit
def load_known(d: Device, m: memory.Memory, words: I64, start: int) -> int:
    return memory.load_known(d, m, words, start)


@numba.njit
def store(d: Device, words: I64, start: int) -> int:
    return serial.store_word_by_word(d, words, start)


@numba.njit
def store_after(d: Device, m: memory.Memory, words: I64, start: int) -> int:
    return memory.store_after(d, m, words, start)


@numba.njit
def at_once(d: Device, words: I64, is_write: int, start: int) -> int:
    return serial.at_once(d, words, is_write, start)


def rows(count: int, dim: int, pitch: int, scale: int, block: int = 8) -> I64:
    """Words of rows of one-byte elements, then one word of scales each."""
    words: list[int] = []
    for i in range(count):
        words += range(i * pitch // 64, (i * pitch + dim - 1) // 64 + 1)
        words.append((scale + i * pitch // block) // 64)
    return np.array(words, np.int64)


PUBLISHED = {
    (4, 64, 64, 4096): ((32, 25), (26, 19), (32, 25), (26, 19), (46, 39)),
    (16, 64, 1024, 1 << 20): ((84, 55), (85, 57), (45, 51), (45, 51), (96, 89)),
    (64, 64, 64, 4096): ((122, 105), (59, 49), (95, 81), (33, 25), (214, 199)),
    (64, 64, 256, 65536): ((114, 74), (93, 58), (44, 33), (37, 25), (147, 136)),
    (64, 64, 512, 1 << 18): ((155, 128), (138, 115), (57, 34), (53, 34), (170, 169)),
    (64, 64, 4096, 1 << 22): ((216, 190), (199, 179), (111, 92), (102, 82), (219, 203)),
    (128, 128, 128, 16384): ((248, 202), (190, 154), (83, 73), (59, 49), (400, 392)),
}
"""Two equal loads, far apart: word by word on 8 channels, each word once on 8, the same on 32, the first on HBM3."""

WAYS = ((8, "HBM2", False), (8, "HBM2", True), (32, "HBM2", False), (32, "HBM2", True), (8, "HBM3", False))


@pytest.mark.parametrize("shape", PUBLISHED)
def test_published_times(shape: tuple[int, int, int, int]) -> None:
    words = rows(*shape)
    for (channels, generation, coalesced), expected in zip(WAYS, PUBLISHED[shape], strict=True):
        device = new_device(channels, generation, coalesced)
        took = []
        for start in (10, 2000):
            if coalesced:
                took.append(at_once(device, np.unique(words), 0, start) - start)
            else:
                took.append(load(device, words, start) - start)
        assert tuple(took) == expected


def test_published_times_of_stores() -> None:
    words = rows(4, 64, 64, 4096)
    device = new_device(8, "HBM2", False)
    assert [store(device, words, at) - at for at in (10, 2000)] == [158, 149]
    device, took = new_device(8, "HBM2", True), []
    for start in (10, 2000):
        read = at_once(device, np.array([64]), 0, start)
        took.append(at_once(device, np.unique(words), 1, read) - start)
    assert took == [33, 21]


def test_a_word_by_the_state_of_its_row() -> None:
    device = new_device(8, "HBM2", False)
    took = [load(device, np.array([word]), at) - at for word, at in ((0, 10), (0, 100), (131072, 200))]
    assert took == [18, 11, 25]


word_lists = st.lists(st.integers(0, 60) | st.integers(0, 1 << 16), min_size=1, max_size=12)
transfers = st.lists(
    st.tuples(st.sampled_from(["load", "store", "repeat"]), word_lists, st.integers(0, 40)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40)
@given(transfers, st.sampled_from([1, 2, 8, 32]), st.sampled_from(["HBM2", "HBM3"]))
def test_equals_the_rules(
    program: Sequence[tuple[str, list[int], int]], channels: int, generation: str
) -> None:
    """Also from memory, and when a transfer starts while the writes of the one before still wait."""
    device, oracle = new_device(channels, generation, False), Oracle(channels, generation, False)
    with_memory, known = new_device(channels, generation, False), memory.new_memory(channels)
    now, words = 0, [0]
    for kind, drawn, gap in program:
        words = words if kind == "repeat" else drawn
        array = np.array(words, np.int64)
        now += gap
        if kind == "store":
            expected = oracle.store(words, now)
            assert store(device, array, now) == expected
            assert store_after(with_memory, known, array, now) == expected
        else:
            expected = oracle.load(words, now)
            assert load(device, array, now) == expected
            assert load_known(with_memory, known, array, now) == expected
        now = expected


@settings(max_examples=30)
@given(transfers, st.sampled_from([1, 4, 8]))
def test_equals_the_rules_each_word_once(
    program: Sequence[tuple[str, list[int], int]], channels: int
) -> None:
    device, oracle = new_device(channels, "HBM2", True), Oracle(channels, "HBM2", True)
    now = 0
    for kind, drawn, gap in program:
        words = sorted(set(drawn))
        now += gap
        writes = kind == "store"
        expected = oracle.at_once(words, "WR" if writes else "RD", now)
        assert at_once(device, np.array(words, np.int64), int(writes), now) == expected
        now = expected


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 30)), min_size=10, max_size=60)
)
def test_memory_changes_nothing(stream: Sequence[tuple[int, int, int]]) -> None:
    """Tiles of few shapes at moving places, close together: most are known from before."""
    plain, remembered, known = (
        new_device(8, "HBM2", False),
        new_device(8, "HBM2", False),
        memory.new_memory(8),
    )
    now = 0
    for shape, place, gap in stream:
        words = rows(8, 64, 64 << shape, 1 << 18) + place * 4096
        now += gap
        expected = load(plain, words, now)
        assert load_known(remembered, known, words, now) == expected
        now = expected
    np.testing.assert_array_equal(plain.open_row, remembered.open_row)


def test_channels_are_a_power_of_two() -> None:
    with pytest.raises(SettingsError, match=r"power of two, not 12.*HBM_CHANNELS|HBM_CHANNELS.*not 12"):
        new_device(12, "HBM2", False)


def test_settings_of_the_device() -> None:
    target = Target().with_settings({"HBM_CHANNELS": 32, "HBM_GEN": "HBM3"})
    assert (target.hbm_channels, target.hbm_generation) == (32, "HBM3")
    assert Target().with_settings(target.settings()) == target
    with pytest.raises(SettingsError, match="HBM2 or HBM3, not 'HBM4'"):
        Target().with_settings({"HBM_GEN": "HBM4"})
