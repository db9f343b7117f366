"""Layers of routed experts on the emulator: what transformers has of every kind, and edge cases of the choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import plena
from plena.api.program import Program
from plena.machine.target import Target
from tests.models.accuracy import QUANTIZED

transformers = pytest.importorskip("transformers")

TOKENS, HIDDEN, EXPERTS, CHOSEN = 7, 64, 4, 2


class Layer(nn.Module):
    """SiLU-gated experts, softmax over the scores of the chosen ones."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.router = nn.Linear(HIDDEN, EXPERTS, bias=False)
        self.gate_up = nn.Parameter(torch.randn(EXPERTS, 2 * HIDDEN, HIDDEN) / 8)
        self.down = nn.Parameter(torch.randn(EXPERTS, HIDDEN, HIDDEN) / 8)

    def forward(self, x: Tensor) -> Tensor:
        scores, ids = self.router(x).topk(CHOSEN)
        rows, flat = x.repeat_interleave(CHOSEN, 0), ids.flatten()
        gate, up = torch.bmm(self.gate_up[flat], rows.unsqueeze(-1)).squeeze(-1).chunk(2, -1)
        out = torch.bmm(self.down[flat], (nn.functional.silu(gate) * up).unsqueeze(-1)).squeeze(-1)
        return (out * scores.softmax(-1).view(-1, 1)).view(-1, CHOSEN, HIDDEN).sum(1)


@pytest.fixture(scope="module")
def layer() -> Program:
    return plena.compile(Layer(), (torch.randn(TOKENS, HIDDEN),))


def test_any_choice_is_that_of_the_references(layer: Program) -> None:
    """Tokens that choose what they like; all of them the same, so that some experts have none."""
    torch.manual_seed(1)
    different = torch.randn(TOKENS, HIDDEN)
    for x in (different, different[:1].expand(TOKENS, -1).clone()):
        report = layer.check(x, quiet=True)
        assert report.passed and report.machine is not None and report.machine.relative_rms == 0, str(report)
        assert report.quantized is not None and report.quantized.relative_rms < 0.01, str(report)


def test_of_equal_scores_the_first_are_chosen() -> None:
    """Rows of which the router makes zeros: experts 0 and 1, half of each."""
    module = Layer()
    x = torch.zeros(TOKENS, HIDDEN)
    x[:, 0] = torch.linspace(-2, 2, TOKENS)
    with torch.no_grad():
        module.router.weight[:, 0] = 0
        wanted = torch.zeros(TOKENS, HIDDEN)
        for e in (0, 1):
            gate, up = (x @ module.gate_up[e].T).chunk(2, -1)
            wanted += 0.5 * (nn.functional.silu(gate) * up) @ module.down[e].T
    found = plena.compile(module, (x,)).run(x)
    assert float((found - wanted).norm() / wanted.norm()) < 0.1


class Narrow(nn.Module):
    """Two experts with long second products, for more tokens than M_BTMV takes at a time."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.router = nn.Linear(HIDDEN, 2, bias=False)
        self.up = nn.Parameter(torch.randn(2, inner, HIDDEN) / 8)
        self.down = nn.Parameter(torch.randn(2, HIDDEN, inner) / 64)

    def forward(self, x: Tensor) -> Tensor:
        weights, ids = self.router(x).softmax(-1).topk(1)
        rows = torch.bmm(self.up[ids.flatten()], x.unsqueeze(-1)).relu()
        return torch.bmm(self.down[ids.flatten()], rows).squeeze(-1) * weights


@pytest.mark.parametrize("tiles", [12, 30])
def test_each_weight_of_an_expert_is_read_once(tiles: int) -> None:
    """Matrix SRAM of 16 tiles: it holds the second matrix of one expert in a loop over them, or a part of it."""
    target = Target(matrix_sram_size=16 * 64)
    x = torch.randn(6, HIDDEN)
    program = plena.compile(Narrow(tiles * 64), (x,), target=target, matmul="vector")
    report = program.check(x, quiet=True)
    assert report.passed and report.machine is not None and report.machine.relative_rms == 0, str(report)
    elements = 2 * 2 * tiles * 64 * HIDDEN
    traffic = program.stats().hbm_traffic
    assert elements * 1.125 <= traffic["weights"] + traffic["experts"] <= elements * 1.125 * 1.15


class Chosen(nn.Module):
    """Tables of experts, weighted by a router."""

    def __init__(self, router: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.router = router
        self.scores = nn.Linear(HIDDEN, EXPERTS)
        self.table = nn.Parameter(torch.randn(EXPERTS, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.router(self.scores(x))
        total = torch.zeros_like(x)
        for e in range(EXPERTS):
            total = total + weights[..., e, None] * (x * self.table[e]).relu()
        return total


def best(scores: Tensor) -> Tensor:
    weights, ids = scores.softmax(-1).max(-1)
    return nn.functional.one_hot(ids, EXPERTS) * weights.unsqueeze(-1)


def renormalised(scores: Tensor) -> Tensor:
    weights, ids = scores.sigmoid().topk(CHOSEN)
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.zeros_like(scores).scatter(-1, ids, weights)


def renormalised_behind_a_mask(scores: Tensor) -> Tensor:
    shares = scores.sigmoid()
    kept = shares * torch.zeros_like(shares).scatter(-1, shares.topk(CHOSEN)[1], 1.0)
    return kept / kept.sum(-1, keepdim=True)


def test_sums_of_sigmoids_are_never_zero() -> None:
    """Far below what float32 has sigmoids for, PyTorch's row is NaN; the machine's exponential ends at e^88."""
    module = Chosen(renormalised)
    with torch.no_grad():
        module.scores.weight.zero_()
        module.scores.weight[:, 0] = 50.0
        module.scores.bias[:] = torch.tensor([0.0, -0.5, -1.0, -1.5])
    x = torch.randn(TOKENS, HIDDEN)
    x[:, 0] = 0
    x[2, 0] = -40.0
    found = plena.compile(module, (x,)).run(x)
    wanted = module(x).detach()
    wanted[2] = 0.5 * ((x[2] * module.table[0]).relu() + (x[2] * module.table[1]).relu()).detach()
    assert bool(module(x)[2].isnan().all())
    assert float((found - wanted).norm() / wanted.norm()) < 0.1


@pytest.mark.parametrize("router", [best, renormalised, renormalised_behind_a_mask])
@pytest.mark.parametrize("shape", [(TOKENS,), (2, 3)])
def test_routers_by_hand(router: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    """Of one axis of tokens or two; sums of sigmoids as divisors are 0 in rows alone that are NaN as a whole."""
    require_right(Chosen(router), torch.randn(*shape, HIDDEN), QUANTIZED)


class Close(nn.Module):
    """Experts 1 and 2 have scores that differ by less than bf16 tells; what they compute differs much."""

    def __init__(self, ids: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.ids = ids
        self.table = nn.Parameter(torch.tensor([[1.0] * 64, [4.0] * 64, [-4.0] * 64, [2.0] * 64]))
        self.offsets = nn.Parameter(torch.tensor([0.0, 0.0, 2.0**-10, -4.0]))

    def forward(self, x: Tensor) -> Tensor:
        scores = x[:, :4] + self.offsets
        chosen = torch.zeros_like(scores).scatter(1, self.ids(scores), 1.0)
        return x + chosen @ self.table


BEST: dict[str, Callable[[Tensor], Tensor]] = {
    "topk": lambda scores: scores.topk(1)[1],
    "max": lambda scores: scores.max(-1, keepdim=True)[1],
    "argmax": lambda scores: scores.argmax(-1, keepdim=True),
    "sort": lambda scores: scores.sort(-1, descending=True)[1][:, :1],
    "argsort": lambda scores: scores.argsort(dim=-1, descending=True, stable=True)[..., :1],
}


@pytest.mark.parametrize("name", BEST)
def test_at_near_ties_the_references_choose_what_the_program_chose(name: str) -> None:
    x = torch.ones(3, HIDDEN)
    x[:, 0] = -1.0
    x[1, 1] = 3.0
    report = plena.compile(Close(BEST[name]), (x,)).check(x, quiet=True)
    assert report.passed, str(report)
    assert [(tie.token, tie.expert, tie.instead) for tie in report.choices] == [(0, 1, 2), (2, 1, 2)]
    assert all(0 < tie.gap < 0.001 for tie in report.choices)
    assert "token 2 of" in str(report)
    assert type(report).from_json(report.to_json(), "report").choices == report.choices


class Undefined(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        scores = x[:, :4] / x[:, 4:8]
        weights, _ = scores.topk(2)
        return x * weights.sum(-1, keepdim=True)


def test_scores_that_are_nan_are_named() -> None:
    x = torch.ones(3, HIDDEN)
    program = plena.compile(Undefined(), (x,))
    x[1, [0, 4]] = 0
    with pytest.raises(plena.PlenaError, match="the scores of token 1 are NaN"):
        program.check(x)


SMALL: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "num_experts_per_tok": 2,
}
SHARED = {"moe_intermediate_size": 64, "n_shared_experts": 1, "first_k_dense_replace": 0}
LATENT = {
    **{"kv_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32},
    **{"num_key_value_heads": 2, "topk_group": 2, "q_lora_rank": None},
}

FAMILIES: dict[str, dict[str, Any]] = {
    "Mixtral": {"num_local_experts": 4},
    "Qwen2Moe": {"num_experts": 4, "moe_intermediate_size": 64, "shared_expert_intermediate_size": 64},
    "Qwen3Moe": {"num_experts": 8, "moe_intermediate_size": 64, "head_dim": 32},
    "GptOss": {
        "num_local_experts": 4,
        "head_dim": 32,
        "layer_types": ["sliding_attention"],
        "sliding_window": 4,
    },
    "Olmoe": {"num_experts": 4},
    "GraniteMoe": {"num_local_experts": 4},
    "DeepseekV2": {"n_routed_experts": 8, "n_group": 4, "topk_method": "group_limited_greedy"} | SHARED | LATENT,
    "DeepseekV3": {"n_routed_experts": 8, "n_group": 4} | SHARED | LATENT,
    "Glm4Moe": {"n_routed_experts": 8, "head_dim": 32, "n_group": 1, "topk_group": 1} | SHARED,
    "Llama4": {
        "num_local_experts": 4,
        "head_dim": 32,
        "intermediate_size_mlp": 64,
        "num_experts_per_tok": 1,
        "moe_layers": [0],
    },
    "Phimoe": {"num_local_experts": 4},
}  # fmt: skip


class Logits(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(ids, use_cache=False).logits


class Mixture(nn.Module):
    """The routed layer of a model's only decoder layer."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        layer = model.model.layers[0]
        names = ("mlp", "block_sparse_moe", "feed_forward")
        self.layer = next(getattr(layer, name) for name in names if hasattr(layer, name))

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        return out[0] if isinstance(out, tuple) else out


def model(family: str, implementation: str) -> Any:
    """A reduced model with random weights."""
    torch.manual_seed(0)
    kind = f"{family}TextConfig" if family == "Llama4" else f"{family}Config"
    config = getattr(transformers, kind)(**SMALL | FAMILIES[family])
    config._attn_implementation = "eager" if family in ("GptOss", "Llama4") else "sdpa"
    built = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    built.config._experts_implementation = implementation
    for parameter in built.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.15)
    return built


def require_right(module: nn.Module, x: Tensor, bound: float) -> None:
    report = plena.compile(module, (x,)).check(x, quiet=True)
    assert report.passed and report.machine is not None and report.machine.relative_rms == 0, str(report)
    assert report.quantized is not None and report.quantized.relative_rms <= bound, str(report)


@pytest.mark.parametrize(
    ("family", "implementation"),
    [("GptOss", "grouped_mm"), ("DeepseekV3", "grouped_mm"), ("Phimoe", "batched_mm"), ("Llama4", "grouped_mm")],
)  # fmt: skip
def test_routed_layers_of_transformers(family: str, implementation: str) -> None:
    torch.manual_seed(1)
    require_right(Mixture(model(family, implementation)), torch.randn(1, TOKENS, HIDDEN), QUANTIZED / 2)


class Wide(nn.Module):
    """Experts that are several times as wide as a row of vector SRAM, in a loop."""

    def __init__(self, inner: int, experts: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.router = nn.Linear(HIDDEN, experts, bias=False)
        self.up = nn.Parameter(torch.randn(experts, inner, HIDDEN) / 8)
        self.down = nn.Parameter(torch.randn(experts, HIDDEN, inner) / inner**0.5)

    def forward(self, x: Tensor) -> Tensor:
        shares = self.router(x).sigmoid()
        weights, ids = shares.topk(2)
        weights = torch.zeros_like(shares).scatter(-1, ids, weights / weights.sum(-1, keepdim=True))
        total = torch.zeros_like(x)
        for e in range(len(self.up)):
            total = total + weights[..., e, None] * (nn.functional.silu(x @ self.up[e].T) @ self.down[e].T)
        return total


@pytest.mark.parametrize("tokens", [8, 20])
def test_weights_meet_wide_experts_without_matrices_that_repeat_them(tokens: int) -> None:
    """What is read beside the experts' matrices is the router's."""
    module, x = Wide(192, 16), torch.randn(tokens, HIDDEN)
    program = plena.compile(module, (x,))
    report = program.check(x, quiet=True)
    assert report.passed and report.machine is not None and report.machine.relative_rms == 0, str(report)
    elements = 2 * 16 * 192 * HIDDEN
    traffic = program.stats().hbm_traffic
    assert elements * 1.125 <= traffic["experts"] <= elements * 1.125 * 1.02
    assert traffic["weights"] < 0.1 * traffic["experts"]


def test_one_token_moves_the_bytes_of_its_expert() -> None:
    """Llama 4 has all experts in products with an axis of them, and weights on their input side."""
    module, x = Mixture(model("Llama4", "grouped_mm")), torch.randn(1, 1, HIDDEN)
    program = plena.compile(module, (x,))
    assert program.check(x, quiet=True).passed
    elements = sum(p.numel() for name, p in module.named_parameters() if "experts." in name)
    assert program.stats().hbm_traffic["experts"] == elements * 1.125 / EXPERTS


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["grouped_mm", "batched_mm"])
@pytest.mark.parametrize("family", FAMILIES)
def test_models_with_routed_experts(family: str, implementation: str) -> None:
    """From ids to logits: a layer and the head."""
    module = Logits(model(family, implementation))
    require_right(module, torch.arange(TOKENS)[None] * 3, 2 * QUANTIZED)
