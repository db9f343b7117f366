"""Residual streams that are turned in the weights around them: the same function, whatever the graph looks like."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.functional import scaled_dot_product_attention as sdpa

import plena
from plena.calibrating.residual import streams_of
from plena.calibrating.turned_stream import TurnedStream, turn_stream
from plena.errors import CompileError
from tests.hf.small_models import small

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
IDS = torch.randint(0, 50, (2, 8), generator=torch.Generator().manual_seed(0))


class Norm(nn.Module):
    """An RMS norm in operators, as models write it; `form` says how."""

    def __init__(self, size: int, form: str) -> None:
        super().__init__()
        self.weight, self.form = nn.Parameter(torch.rand(size) + 0.5), form

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "pow":
            return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))
        if self.form == "product":
            return x / ((x * x).sum(-1, keepdim=True) / x.shape[-1] + 1e-6).sqrt() * self.weight
        if self.form == "layer":
            return nn.functional.layer_norm(x, x.shape[-1:], self.weight)
        return nn.functional.rms_norm(x, x.shape[-1:], self.weight, 1e-6)


class Layer(nn.Module):
    def __init__(self, size: int, form: str, bias: bool) -> None:
        super().__init__()
        self.first, self.second = Norm(size, form), Norm(size, form)
        self.qkv, self.o = nn.Linear(size, 3 * 16, bias=bias), nn.Linear(16, size, bias=bias)
        self.up, self.down = nn.Linear(size, 32, bias=bias), nn.Linear(32, size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.first(x)).chunk(3, -1)
        x = x + self.o(sdpa(q, k, v, is_causal=True))
        return x + self.down(torch.relu(self.up(self.second(x)))) * 0.5


class Model(nn.Module):
    """Token ids to logits; a few features of the stream are much larger than the others."""

    def __init__(self, size: int = 48, form: str = "rms", bias: bool = False, tied: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(50, size)
        self.layers = nn.ModuleList(Layer(size, form, bias) for _ in range(2))
        self.norm, self.head = Norm(size, form), nn.Linear(size, 50, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        with torch.no_grad():
            self.embed.weight[:, ::16] *= 8

    def stream(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) * 1.5
        for layer in self.layers:
            x = layer(x)
        return x

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.stream(ids))[:, -4:])


class Gated(Model):
    def forward(self, ids: Tensor) -> Tensor:
        x = self.stream(ids)
        return self.head(self.norm(x)) + torch.relu(x).sum()


class Returned(Model):
    def forward(self, ids: Tensor) -> Any:
        x = self.stream(ids)
        return self.head(self.norm(x)), x


class NormedOnly(Model):
    def forward(self, ids: Tensor) -> Tensor:
        return self.norm(self.stream(ids))


class Scaled(Model):
    def forward(self, ids: Tensor) -> Tensor:
        return linear(self.norm(self.stream(ids)), self.head.weight * 2)


class WeightRead(Model):
    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.stream(ids))) + self.head.weight.sum()


class Moved(Model):
    """Positions and features change places before the head."""

    def __init__(self) -> None:
        super().__init__(size=8)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.stream(ids)).transpose(1, 2))


def turned(module: nn.Module, *inputs: Tensor) -> tuple[nn.Module, list[TurnedStream | str]]:
    """A copy with every stream turned, and what was found."""
    exported = torch.export.export(module, inputs, strict=False)
    found = copy.deepcopy(module)
    return found, [s if isinstance(s, str) else turn_stream(found, s) for s in streams_of(exported)]


@pytest.mark.parametrize("form", ["rms", "pow", "product"])
@pytest.mark.parametrize(("size", "bias", "tied"), [(48, True, False), (64, False, True), (36, True, True)])
def test_the_function_is_the_same_in_float64(form: str, size: int, bias: bool, tied: bool) -> None:
    module = Model(size, form, bias, tied).double().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    found, (stream,) = turned(module, IDS)
    assert isinstance(stream, TurnedStream)
    assert (stream.features, stream.writers, stream.readers, stream.norms) == (size, 5, 5, 5)
    assert stream.untied == (("embed.weight", "head.weight") if tied else ())
    torch.testing.assert_close(found(IDS), module(IDS), rtol=1e-11, atol=1e-11)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    after = found.state_dict()
    assert all(
        torch.equal(after[name], torch.ones_like(after[name]))
        for name in after
        if "norm" in name or "first" in name
    )
    spread = after["embed.weight"].abs().amax() / before["embed.weight"].abs().amax()
    assert spread < 0.7, "outliers of features are spread"
    inner = {"layers.0.up.bias", "layers.0.qkv.bias", "layers.1.up.bias", "layers.1.qkv.bias"} & before.keys()
    assert {name for name in before if torch.equal(before[name], after[name])} == inner


def test_shared_weights_stay_shared_where_both_readers_need_the_same() -> None:
    class Plain(Model):
        def forward(self, ids: Tensor) -> Tensor:
            x = self.stream(ids)
            return self.head(x)

    module = Plain(tied=True).double()
    found, (stream,) = turned(module, IDS)
    assert isinstance(stream, TurnedStream) and not stream.untied
    assert found.head.weight is found.embed.weight
    torch.testing.assert_close(found(IDS), module(IDS), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (Gated(), r"relu.* reads it"),
        (Returned(), r"output \(output\) reads it"),
        (NormedOnly(), r"output \(output\) reads what .* has normed"),
        (Scaled(), "a weight of linear.* is computed"),
        (WeightRead(), "sum.* reads head.weight too"),
        (Moved(), r"transpose.* reads what .* has normed"),
        (Model(form="layer"), r"layer_norm.* reads it"),
    ],
)
def test_what_cannot_be_turned_is_left_with_the_reason(module: nn.Module, why: str) -> None:
    found = plena.rotate(module, (IDS,), parts="residual")
    assert found.module is module and not found.turns
    assert re.search(f"the stream of embedding is left as it is: .*{why}", str(found)), str(found)
    with pytest.raises(CompileError, match="there is no residual stream to turn"):
        plena.compile(module, (IDS,), target=SMALL, rotation="residual")


def test_a_module_without_a_stream_says_so() -> None:
    found = plena.rotate(nn.Linear(8, 8), (torch.ones(2, 8),), parts="residual")
    assert "no residual stream between embeddings or linear layers and RMS norms" in str(found)
    with pytest.raises(CompileError, match="parts must be one of values, residual, all, online, not 'keys'"):
        plena.rotate(nn.Linear(8, 8), (torch.ones(2, 8),), parts="keys")  # type: ignore[arg-type]


def test_a_language_model_of_transformers_with_both_parts() -> None:
    pytest.importorskip("transformers")

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = small(num_hidden_layers=2, tie_word_embeddings=True)

        def forward(self, ids: Tensor) -> Tensor:
            return self.model(ids, use_cache=False).logits

    module = Whole().eval()
    found = plena.rotate(module, (IDS[:1],), parts="all")
    (stream,) = found.streams
    assert len(found.sites) == 2 and (stream.writers, stream.readers, stream.norms) == (5, 11, 5)
    assert found.error < 1e-5 and "2 attentions are turned" in str(found)
    torch.testing.assert_close(found.module(IDS), module(IDS), rtol=1e-3, atol=1e-4)
    again = plena.rotate(found.module, (IDS[:1],), parts="all")
    assert again.turns, "a turned module is a module as any other"


def test_compiling_takes_what_loses_least() -> None:
    module = Model(form="rms").eval()
    options: dict[str, Any] = {"target": SMALL, "staging": "nearest"}
    plain = plena.compile(module, (IDS,), **options)
    turned = plena.compile(module, (IDS,), rotation="residual", **options)
    assert len(turned.words) == len(plain.words) and turned.check(quiet=True).passed
    assert any(
        "a residual stream of 48 features, written by 5 layers, read by 5" in line
        for line in turned.decisions
    )
    auto = plena.compile(module, (IDS,), rotation="auto", samples=[IDS, IDS.flip(1)], **options)
    errors = {
        line.split("KL ")[1].partition(" in ")[0].partition(" ")[2]: float(line.split()[2])
        for line in auto.decisions
        if line.startswith("rotation: KL")
    }
    names = {
        "without": "none",
        "with turned residual stream": "residual",
        "with turned inputs of linear layers": "online",
    }
    assert set(errors) == set(names)
    least = min(errors, key=lambda what: errors[what])
    assert auto.rationale is not None
    assert auto.rationale.options["rotation"] == names[least]
