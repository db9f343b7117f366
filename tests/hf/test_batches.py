"""Several sequences in one program: each is the text that it would be alone, whatever the others do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import plena
from plena import Target
from plena.hf import PlenaForCausalLM
from plena.hf.step_module import CachedStep
from tests.hf.small_models import exact_machine, prompt, small
from tests.kernels.checking import machine

pytest.importorskip("transformers")

GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None}


@pytest.fixture(scope="module")
def four(model: Any) -> PlenaForCausalLM:
    return PlenaForCausalLM.from_pretrained(
        model, max_length=40, target=exact_machine(), batch=4, prefill=(8,), buckets=(16, 40)
    )


def _texts(*lengths: int) -> list[Tensor]:
    return [prompt(length, seed=number) for number, length in enumerate(lengths)]


def _padded(texts: list[Tensor]) -> dict[str, Tensor]:
    longest = max(text.shape[1] for text in texts)
    gaps = [longest - text.shape[1] for text in texts]
    rows = [torch.nn.functional.pad(text, (gap, 0)) for text, gap in zip(texts, gaps, strict=True)]
    mask = torch.stack([(torch.arange(longest) >= gap).long() for gap in gaps])
    return {"input_ids": torch.cat(rows), "attention_mask": mask}


@torch.no_grad()
def _require_logits(lm: PlenaForCausalLM, model: Any, texts: list[Tensor]) -> None:
    """Those of PyTorch on each text alone."""
    logits = lm(**_padded(texts)).logits
    assert logits is not None
    found = logits[:, -1]
    for row, text in zip(found, texts, strict=True):
        wanted = model(text).logits[0, -1]
        assert (row - wanted).norm() < 0.05 * wanted.norm()


@pytest.mark.parametrize("lengths", [(9, 1, 25, 14), (1, 2, 3, 4), (40, 7), (33,)])
def test_lengths(four: PlenaForCausalLM, model: Any, lengths: tuple[int, ...]) -> None:
    four.reset()
    _require_logits(four, model, _texts(*lengths))


def test_one_run_for_all(four: PlenaForCausalLM, model: Any) -> None:
    """Prompts of 6 to 14 tokens: the longest crosses a bucket in the middle, and takes the others along."""
    four.reset()
    texts = _padded(_texts(9, 6, 14, 12))
    found = four.generate(**texts, max_new_tokens=5, **GREEDY)
    assert four.report().tokens == 20
    assert four.report().runs == {"prefill-8": 5, "decode-16": 6, "decode-40": 2}, (
        "chunks of 8, 5, 8 and 5, 8; four tokens behind the last one, the first with all others; positions 14 to 17"
    )
    with torch.no_grad():
        wanted = model.generate(**texts, max_new_tokens=5, **GREEDY)
    assert torch.equal(found, wanted), "the model is sure, and everything is in bf16"


def test_what_texts_have_in_common_is_read_once(four: PlenaForCausalLM, model: Any) -> None:
    """Several answers to a prompt, and texts that part in the middle."""
    four.reset()
    settings: dict[str, Any] = {"do_sample": True, "num_return_sequences": 4, "eos_token_id": None}
    found = four.generate(prompt(14), max_new_tokens=3, **settings)
    assert found.shape == (4, 17) and four.report().runs == {"prefill-8": 2, "decode-16": 3}
    whole = prompt(30)
    texts = [
        whole,
        torch.cat([whole[:, :19], prompt(8, seed=1)], 1),
        torch.cat([whole[:, :11], prompt(2)], 1),
    ]
    four.reset()
    four._programs.forget_runs()
    _require_logits(four, model, texts)
    assert four._programs.runs["prefill-8"] == 5, "29 tokens of the first, 7 of the second, none of the third"


def test_texts_that_wait(four: PlenaForCausalLM, model: Any) -> None:
    """Caches of sequences that nothing is asked of stay, also where one is full."""
    four.reset()
    texts = _texts(40, 13, 5)
    _require_logits(four, model, texts)
    cached = four._texts
    waiting = [list(known) for known in cached.tokens]
    for length in (6, 16, 23):
        cached.logits([None, None, prompt(length, seed=2)[0].tolist(), None])
    assert [cached.tokens[0], cached.tokens[1], cached.tokens[3]] == [waiting[0], waiting[1], []]
    four._programs.forget_runs()
    _require_logits(four, model, [texts[0], prompt(14, seed=1)])
    assert four._programs.runs == {"decode-40": 1}, "their last tokens alone were computed"


def test_an_interrupted_batch_leaves_whole_tokens(
    four: PlenaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    four.reset()
    texts = _padded(_texts(9, 6, 9))
    expected = four.generate(**texts, max_new_tokens=5, **GREEDY)
    four.reset()
    program, left = four.programs["decode-16"], [2]
    execute = program.execute

    def interrupted(*args: Any) -> Any:
        result = execute(*args)
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setitem(program.__dict__, "execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            four.generate(**texts, max_new_tokens=5, **GREEDY)
    rows = [expected[0, :10], expected[1, 3:10], expected[2, :10]]
    assert four._texts.tokens == [*(row.tolist() for row in rows), []]
    assert torch.equal(four.generate(**texts, max_new_tokens=5, **GREEDY), expected)
    assert four.report().runs == {"decode-16": 5}, "what was whole is not computed again"


@pytest.mark.parametrize(
    "target",
    [Target(), machine(16), machine(16).with_settings({"BLEN": 2, "HLEN": 2, "BROADCAST_AMOUNT": 8})],
    ids=["shipped", "16", "narrow heads"],
)
def test_a_step_of_four(target: Target) -> None:
    """At positions of their own, after some tokens, against the model and the references."""
    torch.manual_seed(0)
    step = CachedStep(small(num_hidden_layers=1), 40, 4).eval()
    ids = torch.randint(3, 97, (3, 4, 1))
    positions = torch.tensor([[3, 0, 38, 17], [4, 1, 39, 18], [5, 2, 39, 19]])[..., None]
    program = plena.compile(step, (ids[0], positions[0]), target=target)
    for given in zip(ids, positions, strict=True):
        report = program.check(*given, quiet=True)
        assert report.passed, str(report)
        program.run(*given)
