"""One calibration of a language model serves its steps, which are other modules with the same weights."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import plena
from plena.hf.step_module import CachedStep
from tests.hf.small_models import exact_machine, small

pytest.importorskip("transformers")


class Whole(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(ids, use_cache=False).logits


def test_a_step_has_the_weights_of_the_whole_model() -> None:
    model = small(num_hidden_layers=1)
    generator = torch.Generator().manual_seed(0)
    samples = [torch.randint(3, 97, (1, 32), generator=generator) for _ in range(10)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # An embedding of 97 tokens has few different inputs.
        calibration = plena.calibrate(Whole(model).eval(), samples, "mixed")
    kept = sum(layer.kept for layer in calibration.layers)
    step = CachedStep(model, 16).eval()
    example = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64)
    options: Any = {
        "formats": "mixed",
        "staging": "calibrated",
        "calibration": calibration,
        "objective": "size",
        "matmul": "mm",
    }
    program = plena.compile(step, example, target=exact_machine(), **options)
    assert kept >= 4 and len(program.data.calibrated) == kept  # type: ignore[union-attr]
    report = program.check(quiet=True)
    assert report.passed, str(report)
