"""formats="auto": what it chooses is simulated, kept within the budget, and what the emulator says of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import plena
from plena.api.choosing_formats import FormatChoice, choose_formats
from plena.errors import PlenaError
from plena.machine.formats import Formats
from tests.levels import SMALL


class Tokens(nn.Module):
    """Logits of a few tokens: an embedding, attention over computed keys and values, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(40, 16)
        self.qkv, self.head = nn.Linear(16, 48), nn.Linear(16, 40)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.table(ids)
        q, k, v = (p.reshape(1, 16, 1, 16).transpose(1, 2) for p in self.qkv(x).split(16, -1))
        return self.head(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)[0, 0] + x)


FAST: dict[str, Any] = {"matmul": "mm", "attention": "rows", "objective": "size"}
"""Options with little to search."""


def samples() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 40, (16,), generator=generator) for _ in range(3)]


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return Tokens().eval()


@pytest.fixture(scope="module")
def programs(module: nn.Module) -> dict[Formats, plena.Program]:
    return {}


def choice(module: nn.Module, programs: dict[Formats, plena.Program], traffic: float) -> FormatChoice:
    def compiled(target: plena.Target) -> plena.Program:
        if target.formats not in programs:
            programs[target.formats] = plena.compile(module, (samples()[0],), target=target, **FAST)
        return programs[target.formats]

    return choose_formats(compiled, SMALL, samples(), traffic)


def test_choices_under_a_budget(module: nn.Module, programs: dict[Formats, plena.Program]) -> None:
    errors: list[float] = []
    for traffic in (1.0, 1.4, 2.0):
        found = choice(module, programs, traffic)
        assert found.measure == "KL" and found.chosen.traffic <= traffic
        moved = found.program.stats().hbm_bytes
        before = programs[Formats()].stats().hbm_bytes
        assert sum(moved.values()) <= found.chosen.traffic * sum(before.values()) * 1.01
        assert found.chosen.error and found.chosen.emulator
        assert 0.5 * found.chosen.error < found.chosen.emulator < 2 * found.chosen.error + 1e-5
        judged = plena.evaluate(found.program, samples())
        assert judged.kl.value == pytest.approx(found.chosen.emulator, rel=1e-6)
        errors.append(judged.kl.value)
    assert errors[0] < plena.evaluate(programs[Formats()], samples()).kl.value / 1.3
    assert errors[2] < errors[1] < errors[0]
    assert choice(module, programs, 2.0).formats == Formats.of("bf16")


def test_compile_says_what_it_chose(module: nn.Module) -> None:
    program = plena.compile(
        module, (samples()[0],), target=SMALL, formats="auto", traffic=1.0, samples=samples(), **FAST
    )
    assert program.target.formats != Formats() and program.target.mlen == SMALL.mlen
    chosen = f"formats {program.target.formats}: KL"
    assert any(line.startswith(chosen) and "times the shipped bytes" in line for line in program.decisions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": None}, "formats are chosen for samples"),
        ({"samples": []}, "formats are chosen for samples"),
        ({"traffic": 0}, "traffic must be a number above 0"),
        ({"traffic": 0.3}, "no formats move 0.3 times.*The least is 0.9"),
        ({"samples": [torch.zeros(3, dtype=torch.int64)]}, r"was given as int64\[3\]"),
        ({"formats": "mixed"}, 'traffic and samples are for formats="auto"'),
    ],
)
def test_what_cannot_be_chosen(module: nn.Module, options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"formats": "auto", "traffic": 1.0, "samples": samples(), **options}
    with pytest.raises(PlenaError, match=message):
        plena.compile(module, (samples()[0],), target=SMALL, **FAST, **given)
