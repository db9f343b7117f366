"""plena.evaluate: a program against PyTorch on samples, with labels, loaded, and what it cannot be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import plena
from plena.errors import PlenaError
from tests.levels import SMALL


def samples(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(8, 16, generator=generator) for _ in range(count)]


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10)).eval()


@pytest.fixture(scope="module")
def program(module: nn.Module) -> plena.Program:
    return plena.compile(module, (samples(1)[0],), target=SMALL, formats="mixed")


def test_figures_are_those_of_the_results(module: nn.Module, program: plena.Program) -> None:
    given = samples(3)
    labels = [torch.arange(8) % 10 for _ in given]
    report = plena.evaluate(program, given, labels=labels)
    assert list(report.judgements) == ["bfloat16", "quantized", "emulator"]
    with torch.no_grad():
        wanted = torch.cat([module(x) for x in given]).double().log_softmax(-1)
    found = torch.cat([program.run(x) for x in given]).double().log_softmax(-1)
    assert report.kl.value == pytest.approx(float((wanted.exp() * (wanted - found)).sum(-1).mean()), rel=1e-3)
    assert report.agreement.value == float((wanted.argmax(-1) == found.argmax(-1)).double().mean())
    index = torch.cat(labels)[:, None]
    grown = float((wanted.gather(1, index) - found.gather(1, index)).mean().exp())
    assert report.perplexity_ratio.value == pytest.approx(grown, rel=1e-6)
    assert 0.99 < report.cosine.low <= report.cosine.value <= report.cosine.high <= 1
    assert report.judgements["quantized"].kl.value < 2 * report.kl.value
    coarse = plena.compile(module, (given[0],), target=SMALL)
    assert plena.evaluate(coarse, given).kl.value > report.kl.value


def test_loaded_programs_need_their_module(module: nn.Module, program: plena.Program, tmp_path: Path) -> None:
    program.save(tmp_path)
    loaded = plena.Program.load(tmp_path)
    with pytest.raises(PlenaError, match="nothing to compare with"):
        plena.evaluate(loaded, samples(1))
    reports = plena.evaluate(loaded, samples(2), module=module), plena.evaluate(program, samples(2))
    # Without labels a ratio is NaN, which makes dataclasses differ from Python 3.13 on.
    assert repr(reports[0]) == repr(reports[1])


@pytest.mark.parametrize(
    ("given", "labels", "message"),
    [
        ([], None, "nothing to evaluate"),
        ("text", None, "nothing to evaluate"),
        ([torch.zeros(4, 16)], None, r"was given as float32\[4, 16\]"),
        ([torch.zeros(8, 16)], [], "0 labels for 1 samples"),
        ([torch.zeros(8, 16)], [[1, 2]], "2 labels for 8 rows"),
        ([torch.zeros(8, 16)], [[10] * 8], "8 labels for 8 rows of 10"),
    ],
)
def test_bad_samples(program: plena.Program, given: Any, labels: Any, message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        plena.evaluate(program, given, labels=labels)


def test_what_is_no_program() -> None:
    with pytest.raises(PlenaError, match="a Linear is no program"):
        plena.evaluate(nn.Linear(2, 2), samples(1))
