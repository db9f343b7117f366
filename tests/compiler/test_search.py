"""What a search leaves out because a prediction or a bound rules it out."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

import plena
from plena.compiler import candidate, loop_choice


class Layers(torch.nn.Module):
    """Two equal layers of four products each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (_layer() for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x) + x
        return self.second(x) + x


def _layer() -> torch.nn.Module:
    sizes = (128, 192, 128, 256, 128)
    products = (torch.nn.Linear(a, b) for a, b in pairwise(sizes))
    return torch.nn.Sequential(*(module for product in products for module in (product, torch.nn.ReLU())))


def compiled(limit: int) -> plena.Program:
    torch.manual_seed(0)
    return plena.compile(Layers(), (torch.randn(64, 128),), target=plena.Target(max_loop_instructions=limit))


def test_layers_that_no_choice_makes_short_enough_are_not_lowered_as_a_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = compiled(100_000)
    monkeypatch.setattr(candidate, "EXPANDABLE", 10)
    short = compiled(1_500)
    assert short.rationale is not None and all(attempt.runs for attempt in short.rationale.attempts)
    assert len(short.words) > len(whole.words)
    assert short.check(quiet=True).passed


def test_long_programs_too_are_expanded_where_the_watchdog_demands_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Expanding the loops of a long program is left out for time's sake only."""
    monkeypatch.setattr(loop_choice, "EXPANDABLE", 10)
    torch.manual_seed(0)
    convolutions = (torch.nn.Conv2d(16, 16, 3, padding=1, groups=n) for n in (8, 2))
    model, image = torch.nn.Sequential(*convolutions), torch.randn(1, 16, 8, 8)
    loose = plena.compile(model, (image,))
    program = plena.compile(model, (image,), target=plena.Target(max_loop_instructions=1_500))
    assert program.stats().static > loose.stats().static > loop_choice.EXPANDABLE
    assert program.check(quiet=True).passed


def test_a_budget_in_which_nothing_runs_is_told_the_smallest_that_does() -> None:
    """Loops that are too long for the watchdog run expanded, for which there is no room in the budget."""
    model = torch.nn.Sequential(torch.nn.Linear(128, 256), torch.nn.GELU(), torch.nn.Linear(256, 64))
    inputs, target = (torch.zeros(64, 128),), plena.Target(max_loop_instructions=200)
    with pytest.raises(plena.PlenaError, match=r"no program of at most 120 .*The smallest has \d+") as caught:
        plena.compile(model, inputs, target=target, max_instructions=120)
    smallest = int(str(caught.value).rstrip(".").rpartition(" ")[2])
    assert plena.compile(model, inputs, target=target, max_instructions=smallest).stats().static == smallest
