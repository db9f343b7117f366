"""Placements and images: every element where the machine looks for it, and back."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import dataclass, replace
from math import prod
from types import SimpleNamespace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plena.errors import PlenaError
from plena.host.image import Preload, StagingWarning, quantized, stage, unstage
from plena.host.layout import (
    Source,
    TensorPlacement,
    chunks,
    matrices_of,
    padded_matrix,
    scale_plane,
)
from plena.host.view import Permute, Reshape, Slice
from plena.machine.number_formats import Mx, bf16_bits, bf16_from_bits, bf16_round
from plena.machine.target import Target

SMALL = Target().with_settings({"MLEN": 16, "VLEN": 16, "BLEN": 4, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
TARGETS = [
    SMALL,
    SMALL.with_settings({"HBM_M_Prefetch_Amount": 40, "HBM_V_Prefetch_Amount": 7}),
    SMALL.with_settings({"PRECISION.HBM_M_WEIGHT_TYPE.block": 16, "PRECISION.HBM_M_KV_TYPE.block": 4}),
    SMALL.with_settings({"PRECISION.HBM_M_KV_TYPE": Target().precision["MATRIX_SRAM_TYPE"].table()}),
    SMALL.with_settings({"MLEN": 8, "VLEN": 8, "HLEN": 2}),
]
FORMATS = ["HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE", "HBM_V_ACT_TYPE"]


def offset_of(p: TensorPlacement, target: Target, matrix: int, r: int, c: int) -> int:
    """The element offset of one element, by the formulas of plena_isa.md section 9 (an oracle)."""
    rows, columns = p.padded_matrix
    m, v = target.mlen, target.vlen
    start = matrix * p.pitch
    if p.layout == "words":
        return c
    if p.layout == "rows":
        return start + r * columns + c
    if p.layout == "column_blocks":
        return start + (c // v) * rows * v + r * v + c % v
    tile = (r // m) * (columns // m) + c // m if p.order == "rows" else (c // m) * (rows // m) + r // m
    return start + tile * m * m + (r % m) * m + c % m


@dataclass(frozen=True)
class Case:
    target: Target
    placement: TensorPlacement
    seed: int

    def values(self) -> npt.NDArray[np.float32]:
        return np.random.default_rng(self.seed).normal(size=self.placement.shape).astype(np.float32)

    def preload(self) -> Preload:
        p = self.placement
        hbm = p.scale_range(self.target)[1] if p.memory == "hbm" else 0
        hbm = max(hbm, p.hbm_range(self.target)[1]) if p.memory == "hbm" else 0
        vector = p.address + p.elements if p.memory == "vector" else 0
        return Preload.empty(hbm + 64, vector + self.target.vlen)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    target = draw(st.sampled_from(TARGETS))
    memory = draw(st.sampled_from(["hbm", "vector"]))
    layout = draw(st.sampled_from(["rows", "tiled", "column_blocks"]))
    batch = draw(st.sampled_from([(), (2,), (2, 3)]))
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    row_unit = target.mlen if layout == "tiled" else draw(st.sampled_from([1, target.blen]))
    padded_rows, padded_columns = padded_matrix((rows, columns), row_unit, target.vlen)
    padded = (
        padded_rows + row_unit * draw(st.integers(0, 2)),
        padded_columns + target.vlen * draw(st.integers(0, 1)),
    )
    placement = TensorPlacement(
        name="x",
        memory=memory,
        address=target.tile * draw(st.integers(0, 3)),
        shape=(*batch, rows, columns),
        layout=layout,
        format=draw(st.sampled_from(FORMATS)) if memory == "hbm" else "bf16",
        source=Source("input"),
        padded=padded,
        scale=draw(st.sampled_from([1.0, 16.0, 0.25])),
        order=draw(st.sampled_from(["rows", "columns"])),
        batch_pitch=draw(st.sampled_from([0, prod(padded) + 2 * target.vlen])),
    )
    if memory == "hbm":
        base = 64 * draw(st.integers(0, 2))
        end = placement.hbm_range(target)[1]
        placement = placement.at(placement.address, end + 64 * draw(st.integers(0, 2)), base)
    placement.verify(target)
    return Case(target, placement, draw(st.integers(0, 1 << 20)))


@given(cases(), st.integers(1, 500))
def test_every_element_is_where_the_formulas_say(case: Case, size: int) -> None:
    p, target = case.placement, case.target
    tensor = np.arange(1, 1 + prod(p.shape), dtype=np.int64).reshape(p.shape)
    memory = np.zeros(p.elements, np.int64)
    for offset, part in chunks(p, tensor, target, size):
        memory[offset : offset + part.size] = part
    assert np.count_nonzero(memory) == tensor.size, "the padding is zero"
    matrices = tensor.reshape(-1, *p.matrix)
    rng = np.random.default_rng(case.seed)
    for _ in range(20):
        b, r, c = (int(rng.integers(n)) for n in matrices.shape)
        assert memory[offset_of(p, target, b, r, c)] == matrices[b, r, c]
    np.testing.assert_array_equal(matrices_of(p, memory, target), tensor)


def section_5_1_row(
    hbm: npt.NDArray[np.uint8],
    target: Target,
    key: str,
    base: int,
    offset: int,
    scale: int,
    stride: int | None,
) -> list[npt.NDArray[np.float32]]:
    """Two rows of a transfer, literally: byte addresses as the DMA unit forms them (plena_isa.md section 5.1)."""
    t = target.precision[key]
    dim = target.mlen
    pitch = dim if stride is None else stride
    rows: list[npt.NDArray[np.float32]] = []
    for i in range(2):
        elem0 = base + offset + i * pitch
        elements = hbm[elem0 : elem0 + dim * t.element_bits // 8]
        if not isinstance(t, Mx):
            rows.append(bf16_from_bits(elements.view("<u2")))
            continue
        ratio = t.element_bits * t.block // t.scale.width
        scale0 = base + scale + offset // ratio + int(np.float32(i) * np.float32(pitch / ratio))
        scales = hbm[scale0 : scale0 + dim // t.block]
        row = np.empty(dim, np.float32)
        for lane in range(dim):
            code, factor = int(elements[lane]), int(scales[lane // t.block])
            exponent, mantissa = code >> 3 & 15, code & 7
            magnitude = (
                mantissa / 8 * 2.0**-7 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)
            )
            sign = -1.0 if code >> 7 else 1.0
            row[lane] = sign * magnitude * (0.0 if factor == 0 else 2.0 ** (factor - 127))
        rows.append(row)
    return rows


@given(cases())
def test_the_machine_reads_what_was_staged(case: Case) -> None:
    p, target = case.placement, case.target
    if p.memory != "hbm":
        return
    preload, values = case.preload(), case.values()
    stage(p, values, preload, target)
    seen = quantized(p, values, target).reshape(-1, *p.matrix) * np.float32(p.scale)
    rows, columns = p.padded_matrix
    padded = np.zeros((seen.shape[0], rows, columns), np.float32)
    padded[:, : p.matrix[0], : p.matrix[1]] = seen
    width = target.precision[p.format].element_bits // 8
    stride = {"rows": columns, "tiled": target.mlen, "column_blocks": target.vlen}[p.layout] * width
    rng = np.random.default_rng(case.seed)
    for _ in range(5):
        b = int(rng.integers(seen.shape[0]))
        block = int(rng.integers(columns // target.mlen))
        r = int(rng.integers(max(1, rows - 1)))
        if p.layout == "tiled" and r % target.mlen == target.mlen - 1:
            r -= 1
        offset = p.address + width * offset_of(p, target, b, r, block * target.mlen)
        found = section_5_1_row(preload.hbm, target, p.format, p.base, offset, p.scale_offset, stride)
        for i in range(min(2, rows - r)):
            want = padded[b, r + i, block * target.mlen : (block + 1) * target.mlen]
            np.testing.assert_array_equal(found[i], want)


@given(cases())
def test_stage_and_unstage_round_trip(case: Case) -> None:
    p, target = case.placement, case.target
    preload, values = case.preload(), case.values()
    stage(p, values, preload, target)
    memories = SimpleNamespace(
        vram_bits=preload.vector.reshape(-1, target.vlen)
        if p.memory == "vector"
        else np.zeros((1, target.vlen), np.uint16),
        hbm=preload.hbm.tobytes(),
        fp_sram_bits=np.zeros(0, np.uint16),
        int_sram=np.zeros(0, np.uint32),
    )
    back = unstage(p, memories, target)
    np.testing.assert_array_equal(back, quantized(p, values, target))
    if p.memory == "vector":
        np.testing.assert_array_equal(back, bf16_round(values))


@given(cases())
def test_prefetch_of_several_tiles_walks_the_tiles_in_order(case: Case) -> None:
    """H_PREFETCH_M in contiguous mode: tile k of the prefetch is the next tile of the layout (section 5.2)."""
    p, target = case.placement, case.target
    if p.memory != "hbm" or p.layout != "tiled" or target.precision[p.format].element_bits != 8:
        return
    preload, values = case.preload(), case.values()
    stage(p, values, preload, target)
    t = target.precision[p.format]
    ratio = t.ratio
    tiles = min(target.m_prefetch_tiles, prod(p.padded_matrix) // target.tile)
    rows: list[npt.NDArray[np.float32]] = []
    for row in range(tiles * target.mlen):
        at = p.base + p.address + row * target.mlen
        scale = p.base + p.scale_offset + p.address // ratio + row * target.mlen // ratio
        rows.append(
            t.decode(preload.hbm[at : at + target.mlen], preload.hbm[scale : scale + target.mlen // ratio])
        )
    seen = quantized(p, values, target).reshape(-1, *p.matrix)[0] * np.float32(p.scale)
    padded = np.zeros(p.padded_matrix, np.float32)
    padded[: seen.shape[0], : seen.shape[1]] = seen
    m = target.mlen
    for k in range(tiles):
        across = p.padded_matrix[1] // m if p.order == "rows" else p.padded_matrix[0] // m
        i, j = divmod(k, across) if p.order == "rows" else divmod(k, across)[::-1]
        want = padded[i * m : i * m + m, j * m : j * m + m]
        np.testing.assert_array_equal(np.stack(rows[k * m : k * m + m]), want)


@given(cases())
def test_text_round_trip(case: Case) -> None:
    p = replace(case.placement, view=(Reshape(case.placement.shape), Slice(0, 0, 1)))
    assert TensorPlacement.from_json(json.loads(json.dumps(p.to_json()))) == p


@pytest.mark.parametrize("used", [1, 64, 4096, 4097, 10**9])
def test_the_scale_plane_keeps_the_scales_of_a_row_in_one_word(used: int) -> None:
    for target in (Target(), *TARGETS):
        plane = scale_plane(used, target)
        assert used <= plane < used + max(64, target.tile)
        for row in range(0, 64 * target.mlen, target.mlen):
            first = plane + row // 8
            assert first // 64 == (first + target.mlen // 8 - 1) // 64


def plain(**changes: object) -> TensorPlacement:
    p = TensorPlacement("w", "hbm", 0, (4, 16), "rows", "HBM_M_WEIGHT_TYPE", Source("data", symbol="w"))
    return replace(p, **{"scale_offset": 64, **changes})


def test_words_in_the_scalar_memories() -> None:
    preload = Preload.empty(fp=4, integers=8)
    fp = TensorPlacement("eps", "fp", 1, (2,), "words", "bf16", Source("data", symbol="eps"))
    stage(fp, np.array([1.5, 1e-12], np.float32), preload, SMALL)
    np.testing.assert_array_equal(preload.fp, np.array([0, 1.5, 0, 0], np.float16))
    np.testing.assert_array_equal(
        quantized(fp, np.array([1e-6, 1e-12], np.float32), SMALL), bf16_round(np.array([1.0133e-6, 0]))
    )
    ids = TensorPlacement("ids", "int", 2, (2, 2), "words", "u32", Source("input"), scale=64, limit=100)
    stage(ids, np.array([[1, 2], [3, 99]]), preload, SMALL)
    assert preload.integers.tolist() == [0, 0, 64, 128, 192, 99 * 64, 0, 0]
    for bad in ([[1, 2], [3, 100]], [[1, 2], [3, -1]]):
        with pytest.raises(PlenaError, match="out of range"):
            stage(ids, np.array(bad), preload, SMALL)
    with pytest.raises(PlenaError, match="needs integers"):
        stage(ids, np.ones((2, 2)), preload, SMALL)


def test_views_and_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    weight = torch.randn(16, 4, dtype=torch.bfloat16)
    p = plain(view=(Permute((1, 0)),))
    from_torch, from_numpy = Preload.empty(128), Preload.empty(128)
    stage(p, torch.nn.Parameter(weight), from_torch, SMALL)
    stage(p, weight.float().numpy(), from_numpy, SMALL)
    np.testing.assert_array_equal(from_torch.hbm, from_numpy.hbm)
    with pytest.raises(PlenaError, match=r"\(16, 4\), not \(4, 16\)"):
        stage(replace(p, view=()), weight, from_torch, SMALL)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_do_not_survive_are_named(bad: float) -> None:
    values = np.ones((4, 16), np.float32)
    values[2, 3] = bad
    with pytest.warns(StagingWarning, match="w contains NaN or infinity"):
        stage(plain(), values, Preload.empty(128), SMALL)
    tiny = np.full((4, 16), 1e-41, np.float32)
    with pytest.warns(StagingWarning, match="every element of w becomes zero"):
        stage(plain(), tiny, Preload.empty(128), SMALL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"address": 3}, "multiple of 8 bytes"),
        ({"address": -8}, "must not be negative"),
        ({"shape": (0, 16)}, "empty shape"),
        ({"shape": (16,)}, "at least two dimensions"),
        ({"padded": (2, 16)}, "does not fit"),
        ({"padded": (4, 17), "layout": "column_blocks"}, "needs multiples of 1 x 16"),
        ({"padded": (4, 17)}, "whole number of blocks"),
        ({"batch_pitch": 8}, "smaller than a matrix"),
        ({"format": "HBM_X"}, "unknown number format"),
        ({"memory": "vector"}, "holds bf16"),
        ({"layout": "words", "padded": (4, 16)}, "no padding"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        plain(**changes).verify(SMALL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": "disk"}, "must be one of hbm"),
        ({"shape": "4"}, "list of integers"),
        ({"colour": 1}, "unknown part `colour`"),
        ({"source": {"weights": 1}}, "unknown source"),
        ({"address": "0"}, "must be int"),
        ({"view": [["turn"]]}, "unknown view step"),
    ],
)
def test_malformed_text_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        TensorPlacement.from_json({**plain().to_json(), **changes})
    with pytest.raises(PlenaError, match="incomplete"):
        TensorPlacement.from_json({"name": "w"})


def test_a_place_outside_the_memory_is_refused() -> None:
    with pytest.raises(PlenaError, match="outside the hbm memory of 64 units"):
        stage(plain(), np.ones((4, 16), np.float32), Preload.empty(64), SMALL)
    with pytest.raises(PlenaError, match="outside the vector memory"):
        memories = SimpleNamespace(vram_bits=np.zeros((1, 16), np.uint16))
        unstage(plain(memory="vector", format="bf16"), memories, SMALL)
    assert bf16_bits(np.float32(1.0)) == 0x3F80


@pytest.mark.parametrize("order", ["rows", "columns"])
def test_staging_needs_little_memory_beside_the_image(order: Literal["rows", "columns"]) -> None:
    weight = np.ones((4096, 2048), np.float32)
    p = plain(shape=weight.shape, layout="tiled", order=order, scale_offset=weight.size)
    target, preload = Target(), Preload.empty(weight.size + weight.size // 8)
    tracemalloc.start()
    stage(p, weight, preload, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48e6, "a few chunks, not copies of the tensor"
    assert (preload.hbm[: weight.size] == 0x38).all() and (preload.hbm[weight.size :] == 127).all()


def test_formats_without_scales_take_no_room_behind_the_plane() -> None:
    """The image of a program in bf16 ends where its elements do."""
    target = Target().with_formats("bf16")
    placement = TensorPlacement(
        "w",
        "hbm",
        4096,
        (64, 64),
        "tiled",
        "HBM_M_WEIGHT_TYPE",
        Source("data", symbol="w"),
        scale_offset=1 << 20,
    )
    assert placement.hbm_range(target) == (4096, 4096 + 2 * 4096)
    start, end = placement.scale_range(target)
    assert start == end <= placement.hbm_range(target)[1]
