"""Inputs of linear layers that the machine turns: the same function, a product for each tile of them, other bytes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as sdpa
from torch.nn.functional import silu

import plena
from plena.calibrating.online import BlockHadamard, TurnedInput, TurnedLinear
from plena.errors import CompileError

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})
X = torch.randn(1, 8, 32, generator=torch.Generator().manual_seed(0))


class Gated(nn.Module):
    """A gated layer; a few of its inner features are much larger than the others."""

    def __init__(self, inner: int = 48) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gate, self.up, self.down = nn.Linear(32, inner), nn.Linear(32, inner), nn.Linear(inner, 32)
        with torch.no_grad():
            self.up.weight[::16] *= 30

    def forward(self, x: Tensor) -> Tensor:
        return self.down(silu(self.gate(x)) * self.up(x))


class Cached(nn.Module):
    """Attention over values that no weight can turn, since they are an input."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q, self.o = nn.Linear(32, 32), nn.Linear(32, 32, bias=False)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        q = self.q(x).unflatten(-1, (4, 8)).transpose(1, 2)
        return self.o(sdpa(q, keys, values).transpose(1, 2).flatten(2))


@pytest.mark.parametrize(("width", "size"), [(64, 64), (48, 16), (32, 32), (4, 4), (8, 8)])
def test_its_numbers_are_exact_in_every_format_and_a_layer_undoes_it(width: int, size: int) -> None:
    turn = BlockHadamard(width, size)
    numbers = turn.matrix[:size, :size].abs().unique()
    assert len(numbers) == 1 and float(torch.frexp(numbers).mantissa) == 0.5
    torch.testing.assert_close(turn.matrix @ turn.matrix.T, torch.eye(width) * float(numbers) ** 2 * size)
    layer = nn.Linear(2 * width, 5)
    x = torch.randn(3, 2 * width)
    torch.testing.assert_close(TurnedLinear(layer, width, size)(x), layer(x), rtol=1e-4, atol=1e-5)
    assert not turn.state_dict(), "a layer has the parameters that it had"


@pytest.mark.parametrize(("inner", "mlen", "size"), [(48, 16, 16), (48, 64, 16), (96, 64, 32), (128, 64, 64)])
def test_the_function_is_the_same(inner: int, mlen: int, size: int) -> None:
    module = Gated(inner)
    before = copy.deepcopy(module.state_dict())
    target = plena.Target().with_settings({"MLEN": mlen})
    found = plena.rotate(module, (X,), parts="online", target=target)
    assert found.inputs == (TurnedInput("down", inner, size),) and not found.sites and not found.skipped
    torch.testing.assert_close(found.module(X), module(X), rtol=1e-4, atol=1e-5)
    after = found.module.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["down.weight"]
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_a_program_turns_at_run_time_and_says_what_it_takes() -> None:
    module = Gated()
    program = plena.compile(module, (X,), target=SMALL, rotation="online", staging="nearest")
    assert program.check(quiet=True).passed
    plain = plena.compile(module, (X,), target=SMALL, staging="nearest")
    taken, before = (p.stats().cycles["transactional"] for p in (program, plain))
    assert taken > before
    assert f"rotation: {taken:,} cycles, {before:,} without (+{taken / before - 1:.1%})" in program.decisions
    assert (
        "rotation: inputs of 1 linear layers are turned at run time by Hadamard matrices of 16"
        in program.decisions
    )


def test_attention_over_a_cache_is_turned_behind_it() -> None:
    inputs = (X, torch.randn(1, 4, 16, 8), torch.randn(1, 4, 16, 8))
    assert not plena.rotate(Cached(), inputs, parts="values").turns
    found = plena.rotate(Cached(), inputs, parts="online")
    assert [site.layer for site in found.inputs] == ["o"]


def test_auto_takes_it_only_if_it_loses_less() -> None:
    module = Gated()
    errors: dict[str, float] = {}
    for rotation in ("none", "online", "auto"):
        program = plena.compile(module, (X,), target=SMALL, staging="nearest", rotation=rotation)  # type: ignore[arg-type]
        found = program.run(X)
        assert isinstance(found, Tensor)
        errors[rotation] = float((found - module(X).detach()).norm())
    assert errors["auto"] == min(errors["none"], errors["online"])


class Norm(Gated):
    def forward(self, x: Tensor) -> Tensor:
        return self.down(nn.functional.rms_norm(self.up(x), (48,)) * 1.5)


class Tied(Gated):
    def __init__(self) -> None:
        super().__init__(32)
        self.up.weight = self.down.weight


class Functional(Gated):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(torch.relu(self.up(x)), self.down.weight)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (Norm(), "no linear layer reads what an activation, a product or an attention gives"),
        (Tied(), "its weight has other readers"),
        (Functional(), "it is no torch.nn.Linear"),
        (Gated(42), "no power of two of at least 4 divides its 42 features"),
    ],
)
def test_what_cannot_be_turned_is_left_with_the_reason(module: nn.Module, why: str) -> None:
    found = plena.rotate(module, (X,), parts="online")
    assert found.module is module and not found.turns
    assert why in found.skipped[0]
    with pytest.raises(CompileError, match="there is nothing to turn"):
        plena.compile(module, (X,), target=SMALL, rotation="online")
