"""Staging expressions evaluate to what they say, without copying where nothing is computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from xdsl.dialects.builtin import StringAttr, SymbolRefAttr

from plena.dialects import plena
from plena.dialects.plena import symbols_of
from plena.errors import CompileError
from plena.frontend import materialize

W = SymbolRefAttr("w")
G = SymbolRefAttr("g")
M = SymbolRefAttr("m")
TENSORS = {
    "w": torch.randn(6, 4),
    "g": torch.randn(4),
    "m": torch.tensor([[True, False], [True, True]]),
}
w, g = TENSORS["w"], TENSORS["g"]

CASES = {
    "symbol": (W, w),
    "full": (plena.FullAttr(0.5, (2, 3)), torch.full((2, 3), 0.5)),
    "number": (plena.FullAttr(2.0, ()), torch.tensor(2.0)),
    "reshaped": (plena.reshaped(W, (3, 8)), w.reshape(3, 8)),
    "transposed": (plena.rearranged(W, (6, 4), (1, 0), (4, 6)), w.T),
    "halves of rows to pairs": (
        plena.rearranged(W, (2, 3, 4), (1, 0, 2), (6, 4)),
        torch.stack([w[:3], w[3:]], 1).reshape(6, 4),
    ),
    "sliced": (plena.sliced(W, 1, 1, 4, 2), w[:, 1:4:2]),
    "concatenated": (plena.ConcatAttr([W, W], 1), torch.cat([w, w], 1)),
    "expanded": (plena.expanded(G, (3, 4)), g.expand(3, 4)),
    "scaled columns": (plena.ProductAttr(W, G), w * g),
    "gain with offset": (plena.SumAttr(G, plena.FullAttr(1.0, ())), g + 1),
    "bias of a norm": (plena.SumAttr(plena.MatvecAttr(W, G), plena.FullAttr(2.0, (6,))), w @ g + 2),
    "mask": (plena.AdditiveMaskAttr(M), torch.tensor([[0.0, float("-inf")], [0.0, 0.0]])),
}


@pytest.mark.parametrize("name", CASES)
def test_expression(name: str) -> None:
    expression, expected = CASES[name]
    torch.testing.assert_close(materialize(expression, TENSORS), expected)


def test_moving_elements_copies_nothing() -> None:
    for name in ("symbol", "reshaped", "transposed", "sliced", "expanded"):
        value = materialize(CASES[name][0], TENSORS)
        assert any(np.shares_memory(value.numpy(), tensor.numpy()) for tensor in TENSORS.values())


def test_other_dtypes_are_widened_and_gradients_left_behind() -> None:
    parameter = torch.nn.Parameter(torch.randn(2, 2).bfloat16())
    value = materialize(W, {"w": parameter})
    assert value.dtype == torch.float32 and not value.requires_grad
    assert materialize(M, TENSORS).dtype == torch.bool


def test_unknown_symbol_and_no_expression() -> None:
    with pytest.raises(CompileError, match="no tensor named w"):
        materialize(W, {})
    with pytest.raises(CompileError, match="not a staging expression"):
        materialize(StringAttr("w"), TENSORS)


@pytest.mark.parametrize("axis", [7, -1])
def test_a_view_that_does_not_fit(axis: int) -> None:
    with pytest.raises(CompileError, match=r"does not fit \[6, 4\]"):
        materialize(plena.sliced(W, axis, 0, 2), TENSORS)


def test_symbols_in_order() -> None:
    expression = plena.ConcatAttr([plena.ProductAttr(W, G), plena.sliced(W, 0, 0, 2)], 0)
    assert list(symbols_of(expression)) == ["w", "g", "w"]
