"""Linear layers whose column blocks are made in pairs: the same numbers, coinciding addresses, fewer cycles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn
from xdsl.dialects.builtin import ModuleOp

import plena
from plena.compiler import search
from plena.kernels.schedule import Schedule

TILE = 4096


def pairs_everywhere(kernels: ModuleOp, schedule: Schedule) -> Iterator[Schedule]:
    yield replace(schedule, pairing=True)


@pytest.fixture
def paired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer that can be is made in pairs, whether or not it pays."""
    monkeypatch.setattr(search, "schedules", pairs_everywhere)


def compiled(module: nn.Module, x: torch.Tensor, **options: int) -> plena.Program:
    return plena.compile(module, (x,), timing="pipelined", matmul="mm", **options)


def largest_machine_error(program: plena.Program, x: torch.Tensor) -> float:
    """Largest difference of the emulated program from the interpreted tile level."""
    results, references = program.run(x), program.machine_reference(x)
    results = results if isinstance(results, tuple) else (results,)
    return max(float((a - b).abs().max()) for a, b in zip(results, references, strict=True))


class Shared(nn.Module):
    """Two layers of one input, one layer of what the first makes; odd and even numbers of column blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(128, 192, bias=False)
        self.b = nn.Linear(128, 128, bias=False)
        self.c = nn.Linear(192, 320, bias=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.c(torch.relu(self.a(x))), self.b(x)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(128, 256, bias=False)
        self.down = nn.Linear(256, 128, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(x)))


@pytest.mark.usefixtures("paired")
@pytest.mark.parametrize("rows", [64, 62])
@pytest.mark.parametrize("columns", [128, 192, 200])
def test_same_numbers(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(rows, 128)
    program = compiled(nn.Linear(128, columns, bias=False), x, max_instructions=150)
    assert any("in pairs" in line for line in program.decisions)
    assert largest_machine_error(program, x) == 0
    assert program.check(x).passed


@pytest.mark.usefixtures("paired")
@pytest.mark.parametrize(
    "module", [Shared(), nn.Sequential(*[Residual() for _ in range(3)])], ids=["shared", "layers"]
)
def test_several_layers(module: nn.Module) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 128)
    program = compiled(module, x)
    assert largest_machine_error(program, x) == 0


@pytest.mark.usefixtures("paired")
def test_an_input_is_copied_once() -> None:
    x = torch.randn(64, 128)
    program = compiled(Shared(), x)
    assert sum(region.name.startswith("second_copy") for region in program.memory_map) == 2


@pytest.mark.usefixtures("paired")
def test_addresses_coincide() -> None:
    program = compiled(nn.Linear(192, 256, bias=False), torch.randn(64, 192))
    at = {region.name: region for region in program.memory_map}
    copy, tiles = at["second_copy"], at["paired_tiles"]
    (x,) = (r for r in program.memory_map if r.memory == "vector" and r.address == copy.address + 3 * TILE)
    assert (tiles.memory, tiles.address, tiles.size) == ("matrix", copy.address, 6 * TILE)
    assert x.name not in ("second_copy", "paired_tiles")


@pytest.mark.usefixtures("paired")
@pytest.mark.parametrize(
    ("rows", "k", "n"),
    [(68, 128, 256), (32, 128, 256), (64, 128, 64), (64, 2112, 128)],
    ids=["more rows", "fewer rows", "one column block", "two rows of tiles do not fit"],
)
def test_the_plain_schedule_where_nothing_can_be_paired(rows: int, k: int, n: int) -> None:
    program = compiled(nn.Linear(k, n, bias=False), torch.randn(rows, k))
    assert not any("in pairs" in line for line in program.decisions)


def test_pairs_are_made_where_they_pay() -> None:
    x = torch.randn(64, 384)
    wide, narrow = (compiled(nn.Linear(384, n, bias=False), x, max_instructions=80) for n in (640, 128))
    assert any("10 of 10 column blocks in pairs" in line for line in wide.decisions)
    assert not any("in pairs" in line for line in narrow.decisions)
