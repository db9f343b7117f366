"""torch.compile(module, backend="plena"): programs on the emulator against PyTorch, and what falls back to eager."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed
from torch.nn.functional import scaled_dot_product_attention as sdpa

import plena
from plena import torch_backend as backend
from plena.api.program import Program
from plena.torch_backend import CapturedGraph, CompiledGraph

FORMATS = 0.09
"""Relative RMS error that weights, K and V in MX E4M3 may cause in a small block."""


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """Every program that the backend compiles; each one's last_run is set once it ran on the emulator."""
    made: list[Program] = []
    of = CompiledGraph.of

    def recorded(*args: Any) -> CompiledGraph:
        compiled = of(*args)
        made.append(compiled.program)
        return compiled

    monkeypatch.setattr(CompiledGraph, "of", staticmethod(recorded))
    return made


class SelfAttention(nn.Module):
    """Projections, heads, attention, output projection."""

    def __init__(self, heads: int = 4, kv_heads: int = 4, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.causal = heads, kv_heads, causal
        self.q, self.k, self.v = (nn.Linear(64, 16 * n) for n in (heads, kv_heads, kv_heads))
        self.o = nn.Linear(16 * heads, 64)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, length, _ = x.shape
        heads = (self.heads, self.kv_heads, self.kv_heads)
        q, k, v = (
            f(x).view(batch, length, n, 16).transpose(1, 2)
            for f, n in zip((self.q, self.k, self.v), heads, strict=True)
        )
        allowed = None if mask is None else mask[:, None, None, :]
        y = sdpa(q, k, v, attn_mask=allowed, is_causal=self.causal, enable_gqa=True)
        return self.o(y.transpose(1, 2).reshape(batch, length, -1))


def compiled(what: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return torch.compile(what, backend="plena", options=options)


def agree(what: Callable[..., Any], on_machine: Callable[..., Any], *inputs: Tensor) -> None:
    """PyTorch and the emulator say the same, and nothing ran eagerly."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        expected, found = what(*inputs), on_machine(*inputs)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    error = (found - expected).norm() / expected.norm()
    assert 0 < error <= FORMATS, f"relative error {error:.3%}"


def test_registered() -> None:
    assert "plena" in torch._dynamo.list_backends()


@pytest.mark.parametrize(
    ("kv_heads", "causal"),
    [(4, False), (4, True), (2, True), (1, False)],
    ids=["mha", "causal", "gqa", "mqa"],
)
def test_attention(kv_heads: int, causal: bool, programs: list[Program]) -> None:
    module = SelfAttention(4, kv_heads, causal).eval()
    agree(module, compiled(module), torch.randn(2, 17, 64))
    assert len(programs) == 1 and programs[0].last_run is not None


def test_key_padding_mask(programs: list[Program]) -> None:
    module = SelfAttention().eval()
    on_machine = compiled(module)
    for lengths in ([17, 5], [3, 17]):
        mask = torch.arange(17)[None] < torch.tensor(lengths)[:, None]
        agree(module, on_machine, torch.randn(2, 17, 64), mask)
    assert len(programs) == 1, "the mask is an input of the program"


def test_new_shapes_and_the_first_again(programs: list[Program]) -> None:
    module = SelfAttention(causal=True).eval()
    on_machine = compiled(module)
    for length in (9, 20, 33, 20, 9):
        agree(module, on_machine, torch.randn(1, length, 64))
    lengths = [program.inputs[0].shape[1] for program in programs]
    assert set(lengths) == {9, 20, 33} and len(lengths) <= 4


class Scaled(nn.Module):
    """A linear layer whose weight is computed from parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.gain = nn.Parameter(torch.randn(64, 64) / 8), nn.Parameter(torch.ones(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.gain)


@pytest.mark.parametrize("name", ["weight", "gain"])
def test_parameter_changes(name: str) -> None:
    module, x = Scaled().eval(), torch.randn(5, 64)
    on_machine = compiled(module)
    agree(module, on_machine, x)
    with torch.no_grad():
        getattr(module, name).mul_(-1)
    agree(module, on_machine, x)
    setattr(module, name, nn.Parameter(torch.randn_like(getattr(module, name))))
    agree(module, on_machine, x)
    getattr(module, name).data = torch.randn_like(getattr(module, name))
    agree(module, on_machine, x)


def test_modules_that_share_code() -> None:
    """Dynamo captures one graph for both: it takes their parameters as inputs."""
    first, second, x = nn.Linear(64, 64).eval(), nn.Linear(64, 64).eval(), torch.randn(5, 64)

    def call(module: nn.Module, x: Tensor) -> Tensor:
        return module(x)

    on_machine = compiled(call)
    for module in (first, second, first):
        agree(lambda x, m=module: m(x), lambda x, m=module: on_machine(m, x), x)


def encoder_layer(**options: bool) -> nn.Module:
    return nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, **options)


class MultiHead(nn.Module):
    """Attention whose weights nobody looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x + self.attention(x, x, x, key_padding_mask=mask)[0]


@pytest.mark.parametrize(
    ("make", "masked"),
    [
        (MultiHead, None),
        (MultiHead, "keys"),
        (encoder_layer, None),
        (encoder_layer, "causal"),
        (lambda: encoder_layer(norm_first=True), "keys"),
    ],
)
def test_layers_of_torch(make: Callable[[], nn.Module], masked: str | None, programs: list[Program]) -> None:
    """In eval mode they take torch's own fast path: one operator for everything."""
    module, x = make().eval(), torch.randn(2, 17, 64)
    masks: dict[str | None, tuple[Any, ...]] = {
        None: (),
        "keys": (torch.arange(17)[None] >= torch.tensor([[17], [5]]),),
        "causal": (nn.Transformer.generate_square_subsequent_mask(17),),
    }
    mask = masks[masked]
    if masked == "keys" and not isinstance(module, MultiHead):
        mask = (None, *mask)
    agree(module, compiled(module), x, *mask)
    assert len(programs) == 1


def test_graph_break(programs: list[Program]) -> None:
    """What Python does between two graphs is done, once a call."""
    seen: list[int] = []

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.out = SelfAttention(), nn.Linear(64, 32)

        def forward(self, x: Tensor) -> Tensor:
            y = self.attention(x)
            torch._dynamo.graph_break()
            seen.append(y.shape[1])
            return self.out(y)

    module, x = Broken().eval(), torch.randn(1, 12, 64)
    agree(module, compiled(module), x)
    assert seen == [12, 12] and all(program.last_run is not None for program in programs)
    assert [program.outputs[0].shape for program in programs] == [(1, 12, 64), (1, 12, 32)]


def test_several_results_some_not_computed() -> None:
    def function(x: Tensor) -> tuple[Tensor, int, Tensor]:
        return x * 2, x.shape[0], x.softmax(-1)

    x = (2.0 ** torch.randint(-2, 3, (3, 64))).bfloat16()  # the formats hold it exactly
    double, rows, weights = compiled(function)(x)
    assert torch.equal(double, x * 2) and rows == 3 and double.dtype == torch.bfloat16
    assert torch.allclose(weights.float(), x.float().softmax(-1), atol=0.01)


def test_fallback_warns_once_and_names_the_operator(programs: list[Program]) -> None:
    def function(x: Tensor) -> Tensor:
        return torch.logcumsumexp(x, 1) * 2

    on_machine = compiled(function)
    with pytest.warns(RuntimeWarning) as caught:
        for rows in (3, 3, 4, 5):
            x = torch.randn(rows, 5)
            assert torch.equal(on_machine(x), function(x))
    (warning,) = (w for w in caught if issubclass(w.category, RuntimeWarning))
    text = str(warning.message)
    assert (
        text.startswith("plena runs a graph eagerly")
        and "aten.logcumsumexp.default" in text
        and "[3, 5]" in text
    )
    assert "test_torch_backend.py" in text, "the line of the user's function"
    assert not programs


def test_every_compilation_warns() -> None:
    for _ in range(2):
        torch._dynamo.reset()
        with pytest.warns(RuntimeWarning, match="logcumsumexp"):
            compiled(lambda x: torch.logcumsumexp(x, 1))(torch.randn(3, 5))


def test_one_graph_falls_back_the_other_runs(programs: list[Program]) -> None:
    attention = SelfAttention().eval()

    def function(x: Tensor) -> Tensor:
        y = attention(x)
        torch._dynamo.graph_break()
        return torch.logcumsumexp(y, 1)

    x = torch.randn(1, 8, 64)
    with torch.no_grad(), pytest.warns(RuntimeWarning, match=r"aten\.logcumsumexp"):
        found = compiled(function)(x)
        expected = function(x)
    assert 0 < (found - expected).norm() / expected.norm() < 2 * FORMATS
    assert len(programs) == 1 and programs[0].last_run is not None


def test_gradients_and_changed_inputs_are_eager(programs: list[Program]) -> None:
    x = torch.randn(3, 64, requires_grad=True)
    double = compiled(lambda x: x * 2)
    with pytest.warns(RuntimeWarning, match="computes? none.*no_grad"):
        double(x).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 2.0))  # type: ignore[arg-type]
    with torch.no_grad():
        double(x)
    assert len(programs) == 1, "without gradients it is a program"

    def change(x: Tensor) -> Tensor:
        x.add_(1)
        return x * 2

    y = torch.zeros(3, 64)
    with pytest.warns(RuntimeWarning, match="in place"):
        compiled(change)(y)
    assert torch.equal(y, torch.ones(3, 64))


def test_operator_with_effects() -> None:
    with torch.library._scoped_library("plena_test", "FRAGMENT") as library:
        library.define("noted(Tensor x) -> Tensor")
        library.impl("noted", torch.clone, "CompositeExplicitAutograd")
        torch.library.register_fake("plena_test::noted", torch.clone, lib=library)
        torch.library._register_effectful_op("plena_test::noted", torch._library.effects.EffectType.ORDERED)
        x = torch.randn(3, 64)
        with pytest.warns(RuntimeWarning, match=r"plena_test.noted"):
            found = compiled(lambda x: torch.ops.plena_test.noted(x) + 1)(x)
        assert torch.equal(found, x + 1)


def test_options_reach_the_compiler(programs: list[Program]) -> None:
    module, x = SelfAttention().eval(), torch.randn(1, 20, 64)
    target = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "BLEN": 4, "HLEN": 4})
    for options in ({}, {"target": target}, {"objective": "size", "matmul": "mm"}):
        torch._dynamo.reset()
        agree(module, compiled(module, **options), x)
    default, small_machine, small_program = programs
    assert small_machine.target == target and default.target == plena.Target()
    assert small_program.stats().static < default.stats().static


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objectiv": "size"}, "no option 'objectiv'.*objective"),
        ({"objective": "beauty"}, "objective must be one of cycles, size, not 'beauty'"),
        ({"target": "plena_settings.toml"}, "target must be a plena.Target, not str"),
        ({"max_instructions": 0}, "max_instructions must be positive"),
        ({"max_instructions": 1.5}, "max_instructions must be a whole number"),
    ],
)
def test_wrong_options_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendCompilerFailed, match=message):
        compiled(lambda x: x * 2, **options)(torch.randn(3, 64))


def test_modes_are_errors() -> None:
    with pytest.raises(BackendCompilerFailed, match="no mode 'max-autotune'"):
        torch.compile(lambda x: x * 2, backend="plena", mode="max-autotune")(torch.randn(3, 64))


def test_unmet_budget_is_eager() -> None:
    with pytest.warns(RuntimeWarning, match="max_instructions|instructions"):
        compiled(lambda x: x.softmax(-1), max_instructions=3)(torch.randn(3, 64))


def test_a_graph_keeps_its_programs() -> None:
    graph = torch.fx.symbolic_trace(lambda x: (x * 2,))
    captured = backend.plena_backend(graph, [torch.randn(2, 64)])
    assert isinstance(captured, CapturedGraph)
    graph.graph.find_nodes(op="placeholder")[0].meta["example_value"] = torch.randn(2, 64)
    x = torch.randn(2, 64).bfloat16().float()
    with pytest.warns(RuntimeWarning, match="no tensor"):
        assert torch.equal(captured(x)[0], x * 2)
