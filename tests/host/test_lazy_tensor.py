"""Weights staged part by part are what they are as a whole, and never exist as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Attribute

from plena.dialects.plena.staging import FullAttr, ProductAttr, SumAttr, permuted
from plena.host.expressions import materialize
from plena.host.image import Preload, stage
from plena.host.layout import Source, TensorPlacement
from plena.host.lazy_tensor import LazyTensor
from plena.host.staged_data import StagedData, checksum
from plena.host.view import Permute
from plena.machine.target import Target

TARGET = Target().with_settings({"MLEN": 16, "VLEN": 16, "HBM_M_Prefetch_Amount": 16})
ROWS, COLUMNS = 120, 48
CHUNK = 1024
"""Elements that the tests stage at a time."""

WEIGHT, GAIN, BIAS = (SymbolRefAttr(name) for name in ("weight", "gain", "bias"))


def tensors(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"weight": (ROWS, COLUMNS), "gain": (COLUMNS,), "bias": (ROWS, 1), "ids": (4,)}
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def placed(**parts: Any) -> TensorPlacement:
    shape = (ROWS, COLUMNS)
    chosen: dict[str, Any] = {"layout": "tiled", "format": "HBM_M_WEIGHT_TYPE", "padded": (128, 48), **parts}
    return TensorPlacement(
        "w", "hbm", 64, shape, source=Source("data", symbol="w"), scale_offset=8192, **chosen
    )


def image(placement: TensorPlacement, values: Any) -> np.ndarray:
    preload = Preload.empty(hbm=32768)
    stage(placement, values, preload, TARGET)
    assert preload.hbm.any()
    return preload.hbm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "expression",
    [WEIGHT, ProductAttr(WEIGHT, GAIN), SumAttr(BIAS, ProductAttr(WEIGHT, SumAttr(GAIN, GAIN)))],
    ids=["weight", "gain folded", "sums"],
)
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"order": "columns"},
        {"layout": "column_blocks", "padded": (124, 48)},
        {"layout": "rows", "padded": ()},
        {"residual": True},
        {"scale": 0.25},
    ],
    ids=str,
)
def test_the_bytes_are_those_of_the_whole(
    expression: Attribute, dtype: torch.dtype, parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, placement = tensors(dtype), placed(**parts)
    expected = image(placement, materialize(expression, known))
    lazy = LazyTensor.of(expression, known)
    assert lazy is not None and lazy.shape == (ROWS, COLUMNS)
    asked: list[int] = []
    take = LazyTensor.__getitem__

    def watched(self: LazyTensor, key: Any) -> np.ndarray:
        asked.append(take(self, key).size)
        return take(self, key)

    monkeypatch.setattr(LazyTensor, "whole", None)
    monkeypatch.setattr(LazyTensor, "__getitem__", watched)
    monkeypatch.setattr("plena.host.layout.chunks.__defaults__", (CHUNK,))
    assert np.array_equal(image(placement, lazy), expected)
    assert sum(asked) == ROWS * COLUMNS and max(asked) <= 2 * CHUNK


def test_other_expressions_are_wholes() -> None:
    known = tensors(torch.float32)
    for expression in (
        permuted(WEIGHT, (1, 0)),
        ProductAttr(WEIGHT, FullAttr(1.0, (COLUMNS,))),
        GAIN,
        SymbolRefAttr("nobody"),
    ):
        assert LazyTensor.of(expression, known) is None
    data = StagedData({"w": WEIGHT, "g": GAIN}, known)
    assert isinstance(data.lazy("w"), LazyTensor) and isinstance(data.lazy("g"), torch.Tensor)


def test_views_take_the_whole() -> None:
    known = tensors(torch.float32)
    placement = TensorPlacement(
        "w",
        "hbm",
        0,
        (COLUMNS, ROWS),
        "rows",
        "HBM_V_ACT_TYPE",
        Source("data", symbol="w"),
        view=(Permute((1, 0)),),
    )
    lazy = LazyTensor.of(WEIGHT, known)
    preload, expected = Preload.empty(hbm=32768), Preload.empty(hbm=32768)
    stage(placement, lazy, preload, TARGET)
    stage(placement, known["weight"], expected, TARGET)
    assert np.array_equal(preload.hbm, expected.hbm)


def test_checksums_tell_changes_and_copy_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    known = tensors(torch.bfloat16)
    data = StagedData({"w": ProductAttr(WEIGHT, GAIN), "b": BIAS}, known)
    whole = data.marks("w", {})
    monkeypatch.setattr("plena.host.staged_data.CHUNK", 100)
    assert data.marks("w", {}) == whole, "in whatever parts"
    assert data.marks("w", {"weight": 1, "gain": 2}) == (2, 1), "each tensor once"
    before = data.marks("b", {})
    known["gain"][3] = 7.0
    assert data.marks("w", {}) != whole and data.marks("b", {}) == before
    assert checksum(torch.ones(1).expand(50, 300)) == checksum(torch.ones(50, 300))
