"""Comparisons, thresholds, reports."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plena.errors import PlenaError
from plena.program.comparison import CheckReport
from plena.program.thresholds import Comparison, Thresholds

LIMITS = Thresholds()


def compare(found: object, wanted: object, thresholds: Thresholds = LIMITS) -> Comparison:
    return Comparison.of([np.asarray(found)], [np.asarray(wanted)], thresholds)


@given(st.integers(0, 1000), st.floats(0.001, 0.5))
def test_relative_rms_is_the_size_of_the_error(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.normal(size=(8, 8))
    noise = rng.choice([-1.0, 1.0], size=(8, 8)) * np.sqrt(np.mean(wanted**2)) * size
    found = compare(wanted + noise, wanted)
    assert found.relative_rms == pytest.approx(size)
    assert found.max_error == pytest.approx(np.abs(noise).max())


def test_equal_results_pass() -> None:
    x = torch.randn(3, 4, dtype=torch.bfloat16)
    same = Comparison.of([x], [x.float()], LIMITS)
    assert same == Comparison(0.0, pytest.approx(1.0), 1.0, 0.0, 1.0, True, 0.0)
    assert CheckReport(same, same, same, LIMITS).passed
    zeros = compare(np.zeros(4), np.zeros(4))
    assert zeros.relative_rms == 0 and zeros.cosine == 1


def test_the_worst_output_counts() -> None:
    good, bad = np.ones((2, 2)), np.array([[1.0, 1.0], [1.0, 3.0]])
    both = Comparison.of([good, bad], [good, good], LIMITS)
    assert both.relative_rms == pytest.approx(1.0)
    assert both.allclose_share == pytest.approx(7 / 8)
    assert both.top1 == pytest.approx(0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_fail(value: float) -> None:
    wanted = np.ones((2, 2))
    found = wanted.copy()
    found[0, 0] = value
    comparison = compare(found, wanted)
    report = CheckReport(comparison, None, comparison, LIMITS)
    assert not report.passed and not comparison.finite and comparison.worst_row == np.inf
    assert any("NaN or infinity" in failure for failure in report.failures)
    assert compare(found, found).finite


@pytest.mark.parametrize(("name", "factor"), [("machine", 1.003), ("quantized", 1.02), ("float32", 1.03)])
def test_every_threshold_can_fail(name: str, factor: float) -> None:
    wanted = np.linspace(1, 2, 16).reshape(4, 4)
    references = {part: [wanted] for part in ("machine", "quantized", "float32")}
    if name == "float32":
        references = {"machine": [wanted * factor], "quantized": [wanted], "float32": [wanted]}
    else:
        references[name] = [wanted * factor]
    result = wanted * factor if name == "float32" else wanted
    report = CheckReport.of(
        [result], **references, thresholds=Thresholds(quantized=0.015 if name != "float32" else None)
    )
    assert [failure.split(":")[0] for failure in report.failures] == [name] and "FAILED" in str(report)


def test_what_is_far_from_float32_by_the_formats_alone_passes() -> None:
    exact = np.array([[0.1, -0.1, 0.1, 2.0]])
    quantized = np.array([[0.4, 0.3, 0.0, 1.8]])
    report = CheckReport.of([quantized], None, [quantized], [exact], LIMITS)
    assert report.passed and report.float32 is not None and report.float32.relative_rms > 0.2
    assert "not available" in str(report)


def test_thresholds_by_kind_of_program() -> None:
    assert Thresholds.for_attention(1024).quantized == 0.015
    assert Thresholds.for_attention(1025).quantized == 0.025
    assert Thresholds.for_layers(1).quantized == 0.03
    assert Thresholds.for_layers(8).quantized == 0.045
    assert Thresholds.for_layers(8).machine == pytest.approx(0.016)
    document = json.loads(json.dumps(Thresholds.for_layers(2).to_json()))
    assert Thresholds.from_json(document, "here") == Thresholds.for_layers(2)


def test_shapes_must_agree() -> None:
    with pytest.raises(PlenaError, match="shapes"):
        compare(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(PlenaError, match="nothing to compare"):
        compare(np.ones((0,)), np.ones((0,)))


def test_a_trace_beside_an_exact_zero_is_no_error() -> None:
    zeros, traces = np.zeros((3, 4)), np.full((3, 4), 1e-31)
    assert CheckReport.of([traces], [zeros], [zeros], [zeros], Thresholds()).passed
    assert not CheckReport.of([traces * 1e10], [zeros], [zeros], [zeros], Thresholds()).passed
    assert not CheckReport.of([zeros], [traces], [traces], [traces], Thresholds()).passed
    assert not CheckReport.of([zeros * np.nan], [zeros], [zeros], [zeros], Thresholds()).passed
