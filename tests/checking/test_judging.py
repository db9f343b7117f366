"""What a judgement says of results whose distance from the reference is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from plena.checking.judging import Judge, judged


def test_known_distances() -> None:
    """Probabilities (3/4, 1/4) taken for (1/2, 1/2), and the same ones in another order."""
    wanted, found = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.75, 0.25]]).log()
    judge = Judge()
    judge.see(found, wanted, torch.tensor([1]))
    said = judge.judgement()
    kl = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert said.kl.value == pytest.approx(kl) and said.kl.low == said.kl.value == said.kl.high
    assert said.perplexity_ratio.value == pytest.approx(2)  # The label has half the probability.
    assert said.rows == 1
    turned = Judge()
    turned.see(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.tensor([[2.0, 1.0], [2.0, 1.0]]))
    assert turned.judgement().agreement.value == 0.5
    assert turned.judgement().cosine.value == pytest.approx((4 / 5 + 1) / 2)
    assert math.isnan(turned.judgement().perplexity_ratio.value)


def test_softmax_and_cosine_ignore_what_they_should() -> None:
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    judge = Judge()
    judge.see(x + 3.0, x)
    assert judge.judgement().kl.value == pytest.approx(0, abs=1e-12)
    judge = Judge()
    judge.see(2 * x, x)
    assert judge.judgement().cosine.value == pytest.approx(1)
    assert judge.judgement().kl.value > 0.01


@pytest.mark.parametrize("rows_of_a_call", [20, 200])
def test_intervals_hold_the_mean_as_often_as_they_say(rows_of_a_call: int) -> None:
    """Agreement of coin tosses: of 20 intervals of 95 % about one misses it, by rows as by whole calls."""
    generator = np.random.default_rng(3)
    missed = 0
    for _ in range(20):
        judge = Judge()
        for _ in range(200 // rows_of_a_call):
            right = torch.from_numpy(generator.random(rows_of_a_call) < 0.3).float()[:, None]
            judge.see(torch.cat([right, 1 - right], -1), torch.tensor([[1.0, 0.0]]).repeat(rows_of_a_call, 1))
        agreement = judge.judgement().agreement
        assert agreement.low < agreement.value < agreement.high and agreement.high - agreement.low < 0.25
        missed += not agreement.low <= 0.3 <= agreement.high
    assert missed <= 4


def test_report() -> None:
    call = {"float32": torch.eye(3), "bfloat16": torch.eye(3), "emulator": torch.eye(3).roll(1, 0)}
    report = judged([call])
    assert (report.agreement.value, report.judgements["bfloat16"].agreement.value) == (0.0, 1.0)
    text = str(report)
    assert "emulator" in text and "3 rows" in text and "nan" not in text
