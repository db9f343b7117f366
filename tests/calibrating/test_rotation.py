"""Values that are turned in the weights around attentions: the same function, the same program, other bytes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as sdpa

import plena
from plena.calibrating.hadamard import hadamard, matrix_of
from plena.errors import CompileError

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
X = torch.randn(1, 8, 48, generator=torch.Generator().manual_seed(0))


class Attention(nn.Module):
    """Heads on fewer heads of keys; a few features of the values are much larger than the others."""

    def __init__(self, heads: int = 4, kv_heads: int = 2, size: int = 16, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heads, self.kv_heads, self.size = heads, kv_heads, size
        self.q, self.k = nn.Linear(48, heads * size), nn.Linear(48, kv_heads * size)
        self.v = nn.Linear(48, kv_heads * size, bias=bias)
        self.o = nn.Linear(heads * size, 48)
        with torch.no_grad():
            self.v.weight[::16] *= 30

    def split(self, x: Tensor, heads: int) -> Tensor:
        return x.view(*x.shape[:2], heads, self.size).transpose(1, 2)

    def attend(self, x: Tensor, values: Tensor) -> Tensor:
        q, k = self.split(self.q(x), self.heads), self.split(self.k(x), self.kv_heads)
        y = sdpa(q, k, self.split(values, self.kv_heads), enable_gqa=True)
        return y.transpose(1, 2).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.attend(x, self.v(x)))


class Normed(Attention):
    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.attend(x, torch.relu(self.v(x))))


class ReadTwice(Attention):
    def forward(self, x: Tensor) -> Tensor:
        y = self.attend(x, self.v(x))
        return self.o(y) + y[..., :48]


class ValuesRead(Attention):
    def forward(self, x: Tensor) -> Tensor:
        values = self.v(x)
        return self.o(self.attend(x, values)) + values.mean()


class Scaled(Attention):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.attend(x, self.v(x)), self.o.weight * 2, self.o.bias)


@pytest.mark.parametrize("size", [1, 2, 16, 64])
def test_hadamard_matrices_are_orthogonal_and_their_own_inverse(size: int) -> None:
    matrix = hadamard(size)
    torch.testing.assert_close(matrix @ matrix, torch.eye(size, dtype=torch.float64))
    assert torch.equal(matrix, matrix.T) and matrix.abs().unique().numel() == 1


@pytest.mark.parametrize("features", [1, 2, 16, 48, 77, 576])
def test_other_sizes_have_orthogonal_matrices_that_spread(features: int) -> None:
    matrix = matrix_of(features)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(features, dtype=torch.float64))
    assert torch.equal(matrix, matrix_of(features))
    assert float(matrix.abs().max()) <= 1.5 / features**0.5


@pytest.mark.parametrize(("size", "bias"), [(16, True), (16, False), (24, True), (8, True)])
def test_the_function_is_the_same(size: int, bias: bool) -> None:
    module = Attention(size=size, bias=bias)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    found = plena.rotate(module, (X,))
    (site,) = found.sites
    assert site.features == size and site.size == {16: 16, 24: 8, 8: 8}[size]
    assert site.values == (("v.weight", "v.bias") if bias else ("v.weight",)) and site.result == "o.weight"
    torch.testing.assert_close(found.module(X), module(X), rtol=1e-4, atol=1e-5)
    assert found.error < 1e-5
    after = found.module.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        *site.values,
        "o.weight",
    }
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (Normed(), "its values are no result of a linear layer alone"),
        (ReadTwice(), "its result is read by something else"),
        (ValuesRead(), "its values are read by something else, too"),
        (Scaled(), "a weight is computed"),
        (Attention(size=6), "no power of two of at least 4 divides its 6 features"),
    ],
)
def test_what_cannot_be_turned_is_left_with_the_reason(module: nn.Module, why: str) -> None:
    found = plena.rotate(module, (X,))
    assert found.module is module and not found.sites
    (reason,) = found.skipped
    assert why in reason and reason in str(found) and not found.turns
    with pytest.raises(CompileError, match="there are no values to turn"):
        plena.compile(module, (X,), target=SMALL, rotation="values")


def test_shared_weights_are_not_turned_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Attention()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x))

    found = plena.rotate(Twice(), (X,))
    assert not found.sites and "other readers" in found.skipped[0]


def test_a_layout_that_the_graph_does_not_show_is_found_out() -> None:
    """Heads that lie between the features of others: turning the wrong ones changes the function."""

    class Interleaved(Attention):
        def split(self, x: Tensor, heads: int) -> Tensor:
            return x.view(*x.shape[:2], self.size, heads).permute(0, 3, 1, 2)

    module = Interleaved(kv_heads=4)
    found = plena.rotate(module, (X,))
    assert found.module is module and not found.sites
    assert "none is turned, that gives other results" in found.skipped[0]


def test_the_program_is_the_same_and_loses_less_of_outliers() -> None:
    module = Attention()
    options: dict[str, Any] = {"target": SMALL, "staging": "nearest"}
    plain = plena.compile(module, (X,), **options)
    turned = plena.compile(module, (X,), rotation="values", **options)
    auto = plena.compile(module, (X,), rotation="auto", **options)
    assert (plain.words == turned.words).all() and turned.check(quiet=True).passed
    assert any("1 attentions are turned by Hadamard matrices of 16" in line for line in turned.decisions)
    wanted = module(X).detach()

    def lost(program: plena.Program) -> float:
        found = program.run(X)
        assert isinstance(found, Tensor)
        return float((found - wanted).norm() / wanted.norm())

    better = min((plain, turned), key=lost)
    assert lost(auto) == lost(better)
    said = [line for line in auto.decisions if "with turned values in" in line or "without in" in line]
    assert len(said) == 2 and all(
        f"{plain.stats().cycles['transactional']:,} cycles" in line for line in said
    )
    assert auto.rationale is not None
    assert auto.rationale.options["rotation"] == ("values" if better is turned else "none")


def test_a_turned_module_is_calibrated_and_chosen_formats_for_as_any_other() -> None:
    samples = [torch.randn(1, 8, 48, generator=torch.Generator().manual_seed(n)) for n in range(10)]
    program = plena.compile(
        Attention(), (X,), target=SMALL, rotation="auto", formats="auto", traffic=1.2, samples=samples
    )
    assert any("times the shipped bytes" in line for line in program.decisions)
    assert any("with turned values" in line for line in program.decisions)
    turned = plena.rotate(Attention(), (X,)).module
    calibration = plena.calibrate(turned, samples)
    options: dict[str, Any] = {"staging": "calibrated", "calibration": calibration}
    assert plena.compile(turned, (X,), **options).check(quiet=True).passed
    with pytest.raises(CompileError, match="a calibration has the weights of its module"):
        plena.compile(Attention(), (X,), rotation="values", **options)


def test_bad_options() -> None:
    for options, message in (
        (
            {"rotation": "keys"},
            "rotation must be one of none, values, residual, all, online, auto, not 'keys'",
        ),
        ({"rotation": "values", "samples": [X]}, 'samples for rotation="auto"'),
        ({"rotation": "auto", "traffic": 1.0}, "traffic and samples are for"),
    ):
        with pytest.raises(CompileError, match=message):
            plena.compile(Attention(), (X,), target=SMALL, **options)  # type: ignore[arg-type]
    exported = torch.export.export(Attention(), (X,))
    with pytest.raises(CompileError, match=r"rotation takes a torch.nn.Module, not ExportedProgram"):
        plena.rotate(exported)
    with pytest.raises(CompileError, match="a module is rotated beforehand"):
        plena.tune(Attention(), (X,), tuning="t.db", rotation="values")
