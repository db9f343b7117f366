"""roll-layers: equal layers become a loop that computes the same, others stay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import plena
from plena.dialects.plena import RepeatOp
from plena.driver import run_pipeline
from plena.errors import CompileError
from plena.frontend import ImportedProgram
from tests.covering import in_turn
from tests.levels import SMALL
from tests.passes.tensor_pipeline import close, lowered, operations, references


class Block(nn.Module):
    """A residual layer."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.RMSNorm(size), nn.Linear(size, hidden), nn.Linear(hidden, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


def stack(*hidden: int, size: int = 16) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(Block(size, h) for h in hidden))


def rolled(module: nn.Module, x: torch.Tensor) -> ImportedProgram:
    """At the plena level, layers rolled; it computes what the module computes."""
    program = lowered(module, x)
    run_pipeline(program.module, ("roll-layers",))
    program.module.verify()
    close(program, (x,), references(module, (x,)))
    return program


def repeats(program: ImportedProgram) -> list[RepeatOp]:
    return [op for op in operations(program) if isinstance(op, RepeatOp)]


@pytest.mark.parametrize("layers", [2, 3, 7])
def test_equal_layers_become_one_loop(layers: int) -> None:
    program = rolled(stack(*[32] * layers), torch.randn(4, 16))
    (repeat,) = repeats(program)
    assert repeat.times.value.data == layers
    assert len(operations(program)) < 12


@pytest.mark.parametrize("hidden", [(32,), (32, 48), (32, 48, 64)])
def test_unequal_layers_stay(hidden: tuple[int, ...]) -> None:
    assert not repeats(rolled(stack(*hidden), torch.randn(4, 16)))


def test_only_the_equal_layers_are_rolled() -> None:
    (repeat,) = repeats(rolled(stack(48, 32, 32, 32, 64), torch.randn(4, 16)))
    assert repeat.times.value.data == 3


def test_shared_parameters_stay_outside() -> None:
    """A layer that is applied again and again has nothing to step through."""
    block = Block(16, 32)
    (repeat,) = repeats(rolled(nn.Sequential(block, block, block), torch.randn(4, 16)))
    assert repeat.times.value.data == 3


@pytest.mark.parametrize("layers", [2, 5])
def test_more_layers_cost_hardly_more_instructions(layers: int) -> None:
    x = torch.randn(4, 16)
    options = {"target": SMALL, "objective": "size"}
    few = plena.compile(stack(32, 32), (x,), **options)
    program = plena.compile(stack(*[32] * layers), (x,), **options)
    assert program.check(x, quiet=True).passed
    assert program.stats().static <= few.stats().static + 4


def test_a_layer_longer_than_the_watchdog_allows_is_not_looped() -> None:
    x = torch.randn(4, 16)
    target = SMALL.with_settings({"MAX_LOOP_INSTRUCTIONS": 150})
    program = plena.compile(stack(32, 32, 32), (x,), target=target, objective="size")
    assert program.check(x, quiet=True).passed
    assert all(loop.dynamic // loop.trip_count <= 150 for loop in program.stats().loops if loop.depth == 0)


def test_a_budget_below_the_smallest_program() -> None:
    with pytest.raises(CompileError, match="The smallest has"):
        plena.compile(
            stack(32, 32), (torch.randn(4, 16),), target=SMALL, objective="size", max_instructions=20
        )


class Reread(nn.Module):
    """Layers that read, beside what they carry, what the first one starts from."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x
        for layer in self.layers:
            h = layer(h) + x
        return h


class SharedWeight(nn.Module):
    """Layers that have a matrix of their own, and that of the first one."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16, bias=False) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x).relu() + self.layers[0](x).tanh()
        return x


class SharedRow(nn.Module):
    """Layers that have a row of their own, and that of the first one."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.rows = nn.ParameterList(nn.Parameter(torch.randn(16)) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for row in self.rows:
            x = torch.tanh(x * row) + self.rows[0]
        return x


class Cubed(nn.Module):
    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        for _ in range(self.power - 1):
            y = y * (x + 1)
        return y


class Residual(nn.Module):
    """What a layer makes last can lie where the next one looks for it: its input is not read any more."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.sigmoid()
        for layer in self.layers:
            y = layer(x)
            x = y.relu() + y
        return x


class Crossed(nn.Module):
    """One of two carried tensors is replaced before the other one reads it."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.sigmoid(), x.tanh()
        for layer in self.layers:
            y = layer(a)
            a, b = y.relu() + y, b * a
        return a + b


CARRIED = [Reread, SharedWeight, SharedRow, Cubed, Residual, Crossed]


@pytest.mark.parametrize(("module", "layers"), in_turn(CARRIED, [2, 3, 5], 2))
def test_what_the_first_layer_starts_from_is_not_what_is_carried(
    module: type[nn.Module], layers: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 16) / 2
    model = module(layers)
    rolled(model, x)
    program = plena.compile(model, (x,), target=SMALL)
    exact, rounded = model(x), program.quantized_reference(x)[0]  # type: ignore[misc]
    assert (program.run(x) - rounded).norm() <= 0.02 * exact.norm()
