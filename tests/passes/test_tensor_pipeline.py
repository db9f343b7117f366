"""Operators through the passes of the tensor level: the values stay, the contract holds, movement
disappears."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plena.dialects import plena
from plena.frontend import materialize
from tests.frontend.test_import import OPERATORS, Apply
from tests.passes.tensor_pipeline import lowered, names, only, operations

NO_KERNEL = {"power of a power", "where", "filling", "comparisons"}


@pytest.mark.parametrize("name", sorted(OPERATORS.keys() - NO_KERNEL))
def test_operator_reaches_the_plena_level(name: str) -> None:
    torch.manual_seed(0)
    lowered(Apply(OPERATORS[name]), torch.randn(2, 3, 4))


def rms(x: Tensor, gain: Tensor | None = None) -> Tensor:
    normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)
    return normed if gain is None else gain * normed


NORMS: dict[str, Any] = {
    "rsqrt": lambda g, b, x: rms(x, g),
    "gain behind": lambda g, b, x: rms(x) * g,
    "division by the root": lambda g, b, x: g * (x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + 1e-5)),
    "gain first": lambda g, b, x: g * x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + 1e-5),
    "one over the root": lambda g, b, x: x * (1 / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-5)) * g,
    "with offset": lambda g, b, x: rms(x) * (1 + g),
    "operator": lambda g, b, x: F.rms_norm(x, (8,), g, 1e-5),
}
LAYER_NORMS: dict[str, Any] = {
    "operator": lambda g, b, x: F.layer_norm(x, (8,), g, b, 1e-5),
    "written": lambda g, b, x: (
        (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5) * g + b
    ),
    "centred first": lambda g, b, x: g * rms(x - x.mean(dim=-1, keepdim=True)) + b,
}


@pytest.mark.parametrize("name", NORMS)
def test_rms_norms(name: str) -> None:
    program = lowered(Apply(NORMS[name], g=torch.randn(8), b=torch.randn(8)), torch.randn(2, 3, 8))
    norm = only(program, plena.RmsNormOp)
    assert norm.gain is not None and norm.eps.value.data == pytest.approx(1e-5)
    assert names(program) == ["plena.reshape", "plena.rms_norm", "plena.reshape"]


@pytest.mark.parametrize("name", LAYER_NORMS)
def test_layer_norms(name: str) -> None:
    program = lowered(Apply(LAYER_NORMS[name], g=torch.randn(8), b=torch.randn(8)), torch.randn(2, 3, 8))
    norm = only(program, plena.LayerNormOp)
    assert norm.gain is not None and norm.bias is not None
    assert names(program) == ["plena.reshape", "plena.layer_norm", "plena.reshape"]


def test_a_norm_read_by_others_keeps_its_gain() -> None:
    def function(g: Tensor, w: Tensor, x: Tensor) -> Tensor:
        y = rms(x, g)
        return F.linear(y, w) + y

    program = lowered(Apply(function, g=torch.randn(8), w=torch.randn(8, 8)), torch.randn(3, 8))
    assert only(program, plena.RmsNormOp).gain is not None


def test_gain_and_bias_of_a_layer_norm_move_into_the_weights() -> None:
    module = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 6))
    nn.init.normal_(module[0].weight)
    nn.init.normal_(module[0].bias)
    program = lowered(module, torch.randn(3, 8))
    norm, linear = only(program, plena.LayerNormOp), only(program, plena.LinearOp)
    assert norm.gain is None and norm.bias is None
    weight = materialize(linear.weight.owner.value, program.tensors)
    torch.testing.assert_close(weight, module[1].weight * module[0].weight)


GATES: dict[str, tuple[Any, str]] = {
    "silu": (lambda g, u: F.silu(g) * u, "silu"),
    "silu, written": (lambda g, u: u * (g * torch.sigmoid(g)), "silu"),
    "gelu": (lambda g, u: u * F.gelu(g), "gelu_erf"),
    "gelu, tanh": (lambda g, u: F.gelu(g, approximate="tanh") * u, "gelu_tanh"),
    "gelu, erf written": (lambda g, u: g * 0.5 * (1.0 + torch.erf(g / 2**0.5)) * u, "gelu_erf"),
    "gelu, quick": (lambda g, u: g * torch.sigmoid(1.702 * g) * u, "gelu_quick"),
    "gelu, tanh written": (
        lambda g, u: 0.5 * g * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (g + 0.044715 * g**3))) * u,
        "gelu_tanh",
    ),
    "gelu, tanh factored": (
        lambda g, u: 0.5 * g * (1 + torch.tanh(g * 0.7978845608 * (1 + 0.044715 * g * g))) * u,
        "gelu_tanh",
    ),
    "sigmoid": (lambda g, u: torch.sigmoid(g) * u, "sigmoid"),
    "relu": (lambda g, u: torch.relu(g) * u, "relu"),
}


@pytest.mark.parametrize("name", GATES)
def test_gates(name: str) -> None:
    function, kind = GATES[name]
    program = lowered(Apply(function), torch.randn(3, 8), torch.randn(3, 8))
    assert names(program) == ["plena.gate"] and only(program, plena.GateOp).kind.data == kind


def test_activations_without_a_gate() -> None:
    for name, (function, kind) in GATES.items():
        program = lowered(Apply(lambda x, f=function: f(x, 1.0)), torch.randn(3, 8))
        assert only(program, plena.ActivationOp).kind.data == kind, name


def test_an_activation_read_twice_is_no_gate() -> None:
    def function(g: Tensor, u: Tensor) -> Tensor:
        y = F.silu(g)
        return y * u + y

    assert "plena.gate" not in names(lowered(Apply(function), torch.randn(3, 8), torch.randn(3, 8)))


def tables(length: int, width: int) -> tuple[Tensor, Tensor]:
    angles = torch.arange(length)[:, None] * 0.5 ** torch.arange(width)[None]
    return angles.cos(), angles.sin()


def half_turned(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([-b, a], dim=-1)


def pairs_turned(x: Tensor) -> Tensor:
    return torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)


def whole(x: Tensor) -> Tensor:
    cos, sin = (torch.cat([t, t], -1)[None, None] for t in tables(x.shape[2], x.shape[3] // 2))
    return x * cos + half_turned(x) * sin


def sequence_first(x: Tensor) -> Tensor:
    x = x.transpose(1, 2)
    cos, sin = (torch.cat([t, t], -1)[None, :, None] for t in tables(x.shape[1], x.shape[3] // 2))
    return (half_turned(x) * sin + cos * x).transpose(1, 2)


def interleaved(x: Tensor) -> Tensor:
    cos, sin = (t.repeat_interleave(2, -1) for t in tables(x.shape[2], x.shape[3] // 2))
    return x * cos + pairs_turned(x) * sin


def of_halves(x: Tensor) -> Tensor:
    cos, sin = tables(x.shape[2], x.shape[3] // 2)
    a, b = x[..., : x.shape[3] // 2], x[..., x.shape[3] // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def of_pairs(x: Tensor) -> Tensor:
    cos, sin = tables(x.shape[2], x.shape[3] // 2)
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def of_reshaped_pairs(x: Tensor) -> Tensor:
    cos, sin = tables(x.shape[2], x.shape[3] // 2)
    even, odd = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def of_complex_numbers(x: Tensor) -> Tensor:
    cos, sin = tables(x.shape[2], x.shape[3] // 2)
    angles = torch.complex(cos, sin)
    numbers = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(numbers * angles[None, None]).flatten(3).type_as(x)


def partial(x: Tensor) -> Tensor:
    return torch.cat([whole(x[..., :4]), x[..., 4:]], dim=-1)


ROTARIES = {
    whole: "half",
    sequence_first: "half",
    interleaved: "interleaved",
    of_halves: "half",
    of_pairs: "interleaved",
    of_reshaped_pairs: "interleaved",
    of_complex_numbers: "interleaved",
    partial: "half",
}


class Heads(nn.Module):
    """A projection cut into heads, something done to them, joined again."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.project, self.function = nn.Linear(16, 24), function

    def forward(self, x: Tensor) -> Tensor:
        heads = self.project(x).view(*x.shape[:2], 3, 8).transpose(1, 2)
        return self.function(heads).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("function", ROTARIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("batch", [1, 2])
def test_rotary_embeddings(function: Any, batch: int) -> None:
    program = lowered(Heads(function), torch.randn(batch, 5, 16))
    rotary = only(program, plena.RotaryOp)
    assert rotary.style.data == ROTARIES[function] and rotary.heads.value.data == 3
    assert names(program) == ["plena.reshape", "plena.linear", "plena.rotary", "plena.reshape"]
    assert tuple(rotary.cos.type.get_shape()) == (5, 4 if function is partial else 8)


def test_a_rotation_of_positions_per_sample() -> None:
    angles = torch.randn(2, 1, 5, 8)
    program = lowered(
        Heads(lambda x: x * angles.cos() + half_turned(x) * angles.sin()), torch.randn(2, 5, 16)
    )
    assert only(program, plena.RotaryOp).cos.type.get_shape() == (10, 8)


HEADWISE: dict[str, Any] = {
    "scaled": (lambda h: h * 2 + 1, ["plena.mul_scalar", "plena.add_scalar"]),
    "activated": (torch.tanh, ["plena.activation"]),
    "normed": (lambda h: F.rms_norm(h, (8,), eps=1e-5), ["plena.rms_norm"]),
    "softmax": (lambda h: h.softmax(-1), ["plena.softmax"]),
    "l2": (
        lambda h: F.normalize(h, dim=-1),
        ["plena.mul", "plena.reduce", "plena.activation", "plena.clamp", "plena.div"],
    ),
    "joined": (
        lambda h: torch.cat([h, h.abs()], -1)[..., 4:],
        ["plena.activation", "plena.concat", "plena.slice"],
    ),
    "added": (lambda h: h + h.abs(), ["plena.activation", "plena.add"]),
    "gains": (lambda h: h.abs() * torch.arange(8.0), ["plena.activation", "plena.mul"]),
    "gains of heads": (
        lambda h: h.abs() * torch.arange(24.0).view(3, 1, 8),
        ["plena.activation", "plena.mul"],
    ),
    "gains of the linear layer": (lambda h: h * torch.arange(8.0), []),
}


@pytest.mark.parametrize("name", HEADWISE)
def test_kernels_between_heads_leave_them_where_they_are(name: str) -> None:
    function, kernels = HEADWISE[name]
    program = lowered(Heads(function), torch.randn(2, 5, 16))
    assert names(program) == ["plena.reshape", "plena.linear", *kernels, "plena.reshape"]


def test_rows_in_another_order_pass_through_layers() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 8))
    program = lowered(Apply(lambda x: module(x.transpose(0, 1)).transpose(0, 1)), torch.randn(2, 5, 8))
    assert "plena.rearrange" not in names(program)


def test_linears_of_one_input_are_shared_unless_biases_differ() -> None:
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(8, 4), nn.Linear(8, 6), nn.Linear(8, 2, bias=False)

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return self.a(x), self.b(x), self.c(x)

    program = lowered(Three(), torch.randn(3, 8))
    projections = only(program, plena.ProjectionsOp)
    assert len(projections.weights) == len(projections.biases) == 2
    assert projections.attributes["plena.module"].data == "{a,b}"
    assert names(program).count("plena.linear") == 1


def test_embeddings_with_positions_take_one_addition() -> None:
    class Embeddings(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places, self.kinds = nn.Embedding(11, 8), nn.Embedding(16, 8), nn.Embedding(2, 8)

        def forward(self, ids: Tensor) -> Tensor:
            places = torch.arange(ids.shape[1])[None]
            return self.words(ids) + self.places(places) + self.kinds(torch.zeros_like(ids))

    program = lowered(Embeddings(), torch.tensor([[3, 1, 4], [1, 5, 9]]))
    assert names(program) == ["plena.embedding", "plena.add", "plena.reshape"]


def test_patches_of_any_kernel() -> None:
    convolution = nn.Conv2d(3, 16, kernel_size=(3, 5), stride=(3, 5))
    program = lowered(Apply(lambda x: convolution(x).flatten(2).transpose(1, 2)), torch.randn(2, 3, 11, 12))
    assert names(program) == ["plena.patch_embedding", "plena.reshape"]


def test_last_token_and_class_token() -> None:
    program = lowered(Apply(lambda x: torch.stack([x[:, 0], x[:, -1]], 1)), torch.randn(3, 5, 8))
    assert names(program).count("plena.slice") == 2


def test_masks_of_the_input_as_numbers() -> None:
    def function(x: Tensor, mask: Tensor) -> Tensor:
        kept = x.masked_fill(~mask.bool()[..., None], 0.0)
        return kept.sum(1) / (mask != 0).float().sum(1, keepdim=True) + torch.where(
            mask[..., None] == 0, 1.0, x
        ).sum(1)

    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    program = lowered(Apply(function), torch.randn(2, 3, 4), mask)
    assert names(program).count("plena.reduce") == 2 and "plena.div" not in names(program)


def test_parameters_are_staged_not_computed() -> None:
    def function(w: Tensor, b: Tensor, x: Tensor) -> Tensor:
        return x @ torch.cat([w[:, :4], w[:, 4:] * 2], 1) + torch.cat([b, b])

    program = lowered(Apply(function, w=torch.randn(8, 8), b=torch.randn(4)), torch.randn(3, 8))
    assert names(program) == ["plena.linear"]
    assert all(not isinstance(op, plena.SliceOp | plena.ConcatOp) for op in operations(program))
