"""Modules that magnify roundings: right programs pass, wrong ones do not, and what cannot be judged is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import plena
from plena.checking.reference import as_tensors
from plena.errors import PlenaError
from plena.program.comparison import CheckReport
from plena.program.magnified import Magnified
from plena.program.thresholds import Thresholds


class NearlyConstant(nn.Module):
    """Norms of rows that are nearly constant."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.tanh(x) * 0.03 + 1.0)


class NearlyEqual(nn.Module):
    """A difference below the last digit of its operands."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 20.0) - (x * 1.01 + 20.0)


def examined(module: nn.Module) -> tuple[plena.Program, CheckReport, Tensor]:
    torch.manual_seed(0)
    program = plena.compile(module, (torch.randn(4, 16),))
    report = program.check(quiet=True)
    assert program.example_inputs is not None
    (result,) = as_tensors(program.run(*program.example_inputs, progress=False))
    return program, report, result


def judged(program: plena.Program, result: Tensor) -> CheckReport:
    """The verdict on a result without a machine reference."""
    source, inputs = program.source, program.example_inputs
    assert source is not None and inputs is not None
    references = source.quantized(*inputs), source.float32(*inputs)
    return CheckReport.of(
        [result], None, *references, program.thresholds, rounded=[lambda: source.rounded(*inputs)]
    )


def test_a_right_program_passes_and_a_wrong_one_does_not() -> None:
    program, report, result = examined(NearlyConstant())
    assert report.passed and report.quantized is not None and report.magnified is not None
    assert report.quantized.relative_rms > 0.05, "the module magnifies roundings"
    assert "magnifies roundings" in str(report)
    assert judged(program, result).passed
    for wrong in (result.flip(0), result * 1.5, result.roll(1, -1)):
        assert not judged(program, wrong).passed
    one = result.clone()
    one[2] = result[1]
    assert not judged(program, one).passed, "one row"
    assert not judged(program, result / 0).passed


def test_the_report_says_why_the_bound_does_not_apply_and_where() -> None:
    program, report, result = examined(NearlyConstant())
    assert report.growth is not None and report.why_farther is not None
    assert report.why_farther.startswith("the bound of 1.50% does not apply")
    assert report.growth.where.startswith("aten.layer_norm.default at ") and "(norm)" in report.growth.where
    assert report.growth.after > 10 * report.growth.before > 0
    wrong = judged(program, result.flip(0))
    assert wrong.why_farther is not None and "does not apply" not in wrong.why_farther
    assert examined(nn.Linear(16, 16))[1].why_farther is None


def test_the_output_that_roundings_excuse_is_named() -> None:
    """Not one that is nearer to its bound and meets what is usual."""
    exact = np.linspace(1, 2, 16).reshape(4, 4)
    noisy, results = [exact * 1.001, exact * 1.2], [exact * 1.002, exact * 1.2]
    found = CheckReport.of(results, None, [exact, exact], None, Thresholds(), rounded=[lambda: [noisy]])
    assert found.passed and found.magnified is not None and found.magnified.output == 1
    single = CheckReport.of(
        [exact, exact[0, 0] * 1.2], None, [exact, exact[0, 0]], None, Thresholds(),
        rounded=[lambda: [[exact, exact[0, 0] * 1.2]]],
    )  # fmt: skip
    assert [failure.split(":")[0] for failure in single.failures] == ["nothing was judged"]


def test_where_roundings_change_everything_only_the_machine_reference_judges() -> None:
    program, report, result = examined(NearlyEqual())
    assert report.passed and "only the machine reference can judge" in str(report)
    alone = judged(program, result)
    assert [failure.split(":")[0] for failure in alone.failures] == ["nothing was judged"]


def test_modules_that_magnify_nothing_are_judged_as_usual() -> None:
    program, report, result = examined(nn.Linear(16, 16))
    assert report.passed and report.magnified is None
    wrong = judged(program, result * 1.03)
    assert not wrong.passed and wrong.magnified is not None and not wrong.magnified.explains
    assert wrong.magnified.cost < 0.01


def test_one_output_does_not_excuse_another() -> None:
    exact = np.linspace(1, 2, 16).reshape(4, 4)
    noisy = [exact * 1.2, exact]
    found = CheckReport.of(noisy, None, [exact, exact], None, Thresholds(), rounded=[lambda: [noisy]])
    assert found.passed
    for wrong in ([exact, exact * 1.2], [exact * 1.2, exact * 1.02]):
        assert not CheckReport.of(
            wrong, None, [exact, exact], None, Thresholds(), rounded=[lambda: [noisy]]
        ).passed


def test_round_trip() -> None:
    _, report, _ = examined(NearlyConstant())
    document = json.loads(json.dumps(report.to_json()))
    assert CheckReport.from_json(document, "here") == report
    with pytest.raises(PlenaError, match="magnified"):
        Magnified.from_json({**document["magnified"], "cost": "much"}, "here")


def test_scores_lost_beside_a_bias_are_no_rounding() -> None:
    """A program keeps them by taking the largest of each row off the biases: that it may."""

    class Weights(nn.Module):
        def forward(self, x: Tensor, bias: Tensor) -> Tensor:
            return (x + bias).softmax(-1)

    torch.manual_seed(0)
    program = plena.compile(Weights(), (torch.randn(4, 16), torch.full((4, 16), -1e4)))
    assert program.example_inputs is not None and program.source is not None
    assert program.check(quiet=True).passed
    inputs = program.example_inputs
    q, f = program.source.quantized(*inputs), program.source.float32(*inputs)
    lost = [torch.full((4, 16), 1 / 16)]
    source = program.source
    assert not CheckReport.of(
        lost, None, q, f, program.thresholds, rounded=[lambda: source.rounded(*inputs)]
    ).passed
