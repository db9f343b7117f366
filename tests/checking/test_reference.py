"""The quantised reference: parameters, inputs, keys and values as the machine sees them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Attribute

from plena.api.program import Program
from plena.checking.reference import ModuleReferences
from plena.checking.staged_values import choose, distribute, quantized_inputs, rounded_expressions
from plena.dialects.plena import staging
from plena.host.call_inputs import CallSignature
from plena.host.expressions import materialize
from plena.host.layout import Source, TensorPlacement
from plena.host.staged_data import StagedData, data_of_module, symbol_of
from plena.host.view import Slice
from tests.program_samples import SMALL, linear_program, weights

W = SymbolRefAttr("w")
MX = SMALL.precision["HBM_M_WEIGHT_TYPE"]


class Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.k = torch.nn.Linear(16, 16, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, self.k(x), value=x)


class HandWritten(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x @ self.k(x).transpose(-1, -2) / 4, -1) @ x


def references(program: Program, module: torch.nn.Module, *inputs: torch.Tensor) -> ModuleReferences:
    """Those of a program that was not compiled here."""
    return ModuleReferences.of(program, module, CallSignature.of(inputs, {}), inputs)


def staged(expression: Attribute, tensors: dict[str, torch.Tensor]) -> StagedData:
    return StagedData({symbol_of(expression): expression}, tensors)


@pytest.mark.parametrize(
    "expression",
    [
        W,
        staging.rearranged(W, (4, 4, 4, 4), (2, 0, 1, 3), (8, 32)),
        staging.ConcatAttr([W, SymbolRefAttr("v")], 0),
        staging.ProductAttr(W, SymbolRefAttr("g")),
        staging.ProductAttr(SymbolRefAttr("g"), W),
        staging.ProductAttr(
            staging.ConcatAttr([SymbolRefAttr("v"), W], 0),
            staging.SumAttr(SymbolRefAttr("g"), staging.FullAttr(1.0, (16,))),
        ),
        staging.sliced(W, 0, 4, 12),
        staging.expanded(W, (3, 16, 16)),
    ],
)
def test_distributed_values_give_the_expression_its_rounded_value(expression: Attribute) -> None:
    torch.manual_seed(0)
    tensors = {"w": torch.randn(16, 16), "v": torch.randn(8, 16), "g": torch.rand(16) + 0.5}
    before = materialize(expression, tensors)
    rounded = torch.from_numpy(MX.quantize(before.numpy()))
    into: dict[str, torch.Tensor] = {}
    distribute(expression, rounded, tensors, into)
    assert "g" not in into
    torch.testing.assert_close(materialize(expression, {**tensors, **into}), rounded, rtol=1e-6, atol=0)


def test_zero_gains_do_not_spoil_the_weight() -> None:
    tensors = {"w": torch.randn(16, 16), "g": torch.zeros(16)}
    into: dict[str, torch.Tensor] = {}
    distribute(staging.ProductAttr(W, SymbolRefAttr("g")), torch.zeros(16, 16), tensors, into)
    assert torch.equal(into["w"], tensors["w"])


def test_parameters_staged_in_parts_are_put_together() -> None:
    top, bottom = (staging.sliced(W, 0, start, start + 8) for start in (0, 8))
    tensors = {"w": torch.randn(16, 16)}
    program = linear_program(None)
    data = StagedData({"top": top, "bottom": bottom}, tensors)
    program.placements = tuple(
        TensorPlacement(n, "hbm", 0, (8, 16), "rows", "HBM_M_WEIGHT_TYPE", Source("data", symbol=n))
        for n in ("top", "bottom")
    )
    choice = choose(data.expressions, rounded_expressions(program, data), tensors)
    assert not choice.conflicts
    torch.testing.assert_close(
        choice.tensors["w"],
        torch.from_numpy(MX.quantize(tensors["w"].numpy())),
        rtol=0,
        atol=0,
    )


def test_inputs_staged_in_parts_are_put_together() -> None:
    program, x = linear_program(weights()), torch.randn(4, 16)
    whole = program.placements[1]
    program.placements = tuple(
        TensorPlacement(
            f"x{i}", "hbm", 0, (2, 16), "rows", whole.format, whole.source, view=(Slice(0, 2 * i, 2 * i + 2),)
        )
        for i in range(2)
    )
    np.testing.assert_array_equal(quantized_inputs(program, [x])[0].numpy(), MX.quantize(x.numpy()))


def test_the_linear_program_meets_its_quantized_reference() -> None:
    linear = torch.nn.Linear(16, 16, bias=False)
    program = linear_program(None, staged(SymbolRefAttr("weight"), {"weight": linear.weight}))
    report = program.check(torch.randn(4, 16), module=linear, quiet=True)
    assert report.quantized is not None and report.quantized.relative_rms < 0.004, "bf16 of the output only"
    assert report.float32 is not None and report.float32.relative_rms > 0.01
    assert report.formats is not None
    assert report.formats.relative_rms == pytest.approx(report.float32.relative_rms, rel=0.1)
    assert "not judged" in str(report)
    linear.weight.data *= 1.05
    assert not program.check(torch.randn(4, 16), module=linear, quiet=True).passed, (
        "the image has other weights"
    )


@pytest.mark.parametrize(
    "expression",
    [
        SymbolRefAttr("layers.0.weight"),
        staging.ProductAttr(SymbolRefAttr("layers.0.weight"), SymbolRefAttr("layers.1.weight")),
        staging.ConcatAttr([SymbolRefAttr("layers.0.weight"), staging.FullAttr(0.5, (1, 16))], 0),
    ],
)
def test_a_loaded_program_finds_its_parameters_in_the_module(expression: Attribute) -> None:
    class Layers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(16, 16, bias=False) for _ in range(2)])

    module = Layers()
    symbol = symbol_of(expression)
    data = data_of_module(
        dict(module.named_parameters()), [symbol, "a constant", "#plena.full<1.0 : f64, array<i64: 2>>"]
    )
    want = materialize(expression, dict(module.named_parameters()))
    assert torch.equal(data(symbol), want)
    assert "a constant" not in data.expressions


def test_keys_and_values_are_rounded_in_the_module() -> None:
    module, x = Attention(), torch.randn(1, 2, 8, 16)
    program = linear_program(None, staged(SymbolRefAttr("k.weight"), {"k.weight": module.k.weight}))
    program.placements = (
        TensorPlacement(
            "k", "hbm", 0, (16, 16), "tiled", "HBM_M_WEIGHT_TYPE", Source("data", symbol="k.weight")
        ),
        TensorPlacement("x", "hbm", 256, (1, 2, 8, 16), "rows", "HBM_V_ACT_TYPE", Source("input")),
    )
    seen = torch.from_numpy(MX.quantize(x.numpy()))
    key = seen @ torch.from_numpy(MX.quantize(module.k.weight.detach().numpy())).T
    rounded = torch.from_numpy(MX.quantize(key.detach().numpy(), machine=True))
    want = F.scaled_dot_product_attention(seen, rounded, seen)
    found = references(program, module, x)
    torch.testing.assert_close(found.quantized(x)[0], want)
    assert not torch.allclose(found.float32(x)[0], want, atol=1e-3)


def test_hand_written_attention_is_rounded_in_the_module() -> None:
    module, x = HandWritten(), torch.randn(16, 16)
    program = linear_program(None, staged(SymbolRefAttr("k.weight"), {"k.weight": module.k.weight}))
    program.placements = (
        TensorPlacement(
            "k", "hbm", 0, (16, 16), "tiled", "HBM_M_WEIGHT_TYPE", Source("data", symbol="k.weight")
        ),
    )
    rounded_weight = torch.from_numpy(MX.quantize(module.k.weight.detach().numpy()))
    rounded_key = torch.from_numpy(MX.quantize((x @ rounded_weight.T).numpy(), machine=True))
    want = torch.softmax(x @ rounded_key.T / 4, -1) @ x
    (found,) = references(program, module, x).quantized(x)
    torch.testing.assert_close(found, want)
    assert not torch.allclose(torch.softmax(x @ (x @ rounded_weight.T).T / 4, -1) @ x, want, atol=1e-3)


def test_a_scale_of_the_keys_is_left_out_where_they_are_stored() -> None:
    class Scaled(Attention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.softmax(x @ (self.k(x) * 0.3).transpose(-1, -2), -1) @ self.k(x)

    module, x = Scaled(), torch.randn(16, 16)
    program = linear_program(None, StagedData({}, {}))
    program.placements = ()
    computed = module.k(x).detach()
    key = torch.from_numpy(MX.quantize(computed.numpy(), machine=True))
    scaled = torch.from_numpy(MX.quantize((computed * 0.3).numpy(), machine=True))
    (found,) = references(program, module, x).quantized(x)
    torch.testing.assert_close(found, torch.softmax(x @ (key * 0.3).T, -1) @ key)
    assert not torch.allclose(found, torch.softmax(x @ scaled.T, -1) @ key, atol=1e-3)


def test_tied_weights_and_training_mode() -> None:
    embedding = torch.nn.Embedding(16, 16)

    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = embedding
            self.head = torch.nn.Linear(16, 16, bias=False)
            self.head.weight = embedding.weight
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.drop(self.head(self.embedding(ids)))

    module = Tied().train()
    program = linear_program(None, staged(SymbolRefAttr("head.weight"), {"head.weight": embedding.weight}))
    program.placements = (
        TensorPlacement(
            "h", "hbm", 0, (16, 16), "rows", "HBM_M_WEIGHT_TYPE", Source("data", symbol="head.weight")
        ),
    )
    ids = torch.arange(16)
    table = torch.from_numpy(MX.quantize(embedding.weight.detach().numpy()))
    torch.testing.assert_close(references(program, module, ids).quantized(ids)[0], table @ table.T)
    assert module.training and module.drop.training


def test_bf16_modules_are_compared_in_float32() -> None:
    linear = torch.nn.Linear(16, 16, bias=False).bfloat16()
    x = torch.randn(4, 16, dtype=torch.bfloat16)
    (y,) = references(linear_program(None), linear, x).float32(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, F.linear(x.float(), linear.weight.float()))
