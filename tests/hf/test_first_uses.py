"""What users do first with a compiled language model: batches, long answers, pipelines, Ctrl-C, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import plena
from plena import PlenaError
from plena.hf import PlenaForCausalLM
from tests.hf.small_models import exact_machine, prompt, words

GREEDY: dict[str, Any] = {"do_sample": False, "eos_token_id": None}


def _padded(*texts: Tensor) -> tuple[Tensor, Tensor]:
    """Texts [1, n] of different lengths, padded on the left, and their mask."""
    longest = max(text.shape[1] for text in texts)
    gaps = [longest - text.shape[1] for text in texts]
    rows = [torch.nn.functional.pad(text, (gap, 0)) for text, gap in zip(texts, gaps, strict=True)]
    mask = torch.stack([(torch.arange(longest) >= gap).long() for gap in gaps])
    return torch.cat(rows), mask


def test_a_bucket_is_crossed_in_the_middle_of_an_answer(lm: PlenaForCausalLM) -> None:
    found = lm.generate(prompt(12), max_new_tokens=8, **GREEDY)
    assert lm.report().runs == {"prefill-8": 1, "decode-16": 8, "decode-40": 3}, "positions 8 to 15, 16 to 18"
    lm.reset()
    for length in range(12, 20):
        assert int(lm(found[:, :length]).logits[0, -1].argmax()) == int(found[0, length])


@pytest.mark.parametrize("batch", [1, 2])
def test_all_programs_have_one_cache(batch: int, lm: PlenaForCausalLM, model: Any) -> None:
    """A prefill takes one sequence: with several it says whose rows it reads and writes."""
    if batch == 1:
        lm = PlenaForCausalLM.from_pretrained(
            model, max_length=40, target=exact_machine(), prefill=(8,), buckets=(16, 40)
        )
    assert lm.batch == batch
    shapes = {program.state["keys_0"].shape for program in lm.programs.values()}
    assert shapes == {(batch * 40, *next(iter(shapes))[1:])}
    found = lm.generate(prompt(12), max_new_tokens=8, **GREEDY)
    assert lm.report().runs == {"prefill-8": 1, "decode-16": 8, "decode-40": 3}
    _require_one_image(lm, found)


def _require_one_image(lm: PlenaForCausalLM, text: Tensor) -> None:
    """One memory that holds all weights and the cache runs all programs; between runs only their inputs are staged.

    The text is that of the last sequence; the others stand at their first token.
    """
    programs, last = lm.programs, lm.batch - 1
    hbm = torch.zeros(max(p.hbm_bytes for p in programs.values()), dtype=torch.uint8).numpy()
    memories = {name: program.empty_image(hbm) for name, program in programs.items()}
    for name, program in programs.items():
        program.stage_data(memories[name])
    lm.reset()
    steps = [
        ("prefill-8", range(8)),
        *((f"decode-{16 if n < 16 else 40}", [n]) for n in range(8, text.shape[1])),
    ]
    for name, positions in steps:
        program, preload, at = programs[name], memories[name], torch.tensor([[*positions]])
        given: tuple[Tensor, ...] = (text[:, at[0]], at)
        if name.startswith("decode"):
            others = torch.zeros(last, 1, dtype=torch.int64)
            given = tuple(torch.cat([others, part]) for part in given)
        elif last:
            given = (*given, torch.tensor([last]))
        program.stage_inputs(given, preload)
        result = plena.emulate(
            program.words, hbm=hbm, fp_sram=preload.fp, int_sram=preload.integers, target=program.target
        )
        hbm[:] = result.hbm[: hbm.size]
        if name.startswith("decode"):
            found = program.results(result)
            assert torch.equal(found[last], lm(text[:, : int(at[0, -1]) + 1]).logits[0, -1])


def test_a_batch_of_different_lengths(lm: PlenaForCausalLM) -> None:
    texts = prompt(9), prompt(5, seed=1)
    alone = [lm.generate(text, max_new_tokens=5, **GREEDY)[0, text.shape[1] :] for text in texts]
    lm.reset()
    ids, mask = _padded(*texts)
    together = lm.generate(ids, attention_mask=mask, max_new_tokens=5, **GREEDY)
    assert torch.equal(together[:, 9:], torch.stack(alone))
    assert lm.report().tokens == 10 and lm.report().runs == {"prefill-8": 2, "decode-16": 5}


def test_a_sequence_that_ends_early_is_not_computed_on(lm: PlenaForCausalLM) -> None:
    """Also where its padding would not fit the cache: 34 tokens and 8 new ones in 40 positions."""
    texts = prompt(34, seed=2), prompt(5, seed=1)
    first, second = (lm.generate(text, max_new_tokens=6, **GREEDY)[0, text.shape[1] :] for text in texts)
    stop = int(first[1])
    lm.reset()
    ids, mask = _padded(*texts)
    found = lm.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False, eos_token_id=stop)
    wanted = second.tolist()
    assert stop not in wanted, "the second sequence goes on"
    assert found[0, 34:36].tolist() == first[:2].tolist() and set(found[0, 36:].tolist()) <= {0, stop}
    assert found[1, 34:40].tolist() == wanted
    assert lm.report().tokens == 2 + 8


def test_several_answers_to_one_prompt(lm: PlenaForCausalLM) -> None:
    found = lm.generate(
        prompt(4), max_new_tokens=3, do_sample=True, num_return_sequences=2, eos_token_id=None
    )
    assert found.shape == (2, 7) and torch.equal(found[0, :4], found[1, :4])


def test_more_sequences_than_caches(lm: PlenaForCausalLM) -> None:
    with pytest.raises(PlenaError, match=r"input_ids of shape \[3, 4\].*caches for 2 sequences"):
        lm.generate(prompt(12).view(3, 4), max_new_tokens=2, do_sample=False)


def test_pipelines(lm: PlenaForCausalLM) -> None:
    from transformers import pipeline

    tokenizer = words()
    tokenizer.pad_token = "<unk>"
    generator = pipeline("text-generation", model=lm, tokenizer=tokenizer)
    settings = {"max_new_tokens": 4, "return_full_text": False, **GREEDY}
    (found,) = generator("w5 w6 w7 w8 w9", **settings)
    expected = lm.generate(torch.tensor([[5, 6, 7, 8, 9]]), max_new_tokens=4, **GREEDY)
    assert found["generated_text"].split() == tokenizer.decode(expected[0, 5:]).split()
    pair = generator(["w5 w6 w7 w8 w9", "w11 w12"], batch_size=2, **settings)
    assert pair[0] == [found] and len(pair[1][0]["generated_text"].split()) == 4


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_interrupted_answer_leaves_whole_tokens(
    after: int, lm: PlenaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = prompt(9)
    expected = lm.generate(ids, max_new_tokens=5, **GREEDY)
    lm.reset()
    program, left = lm.programs["decode-16"], [after]
    execute = program.execute

    def interrupted(*args: Any) -> Any:
        result = execute(*args)
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return result

    with monkeypatch.context() as patch:
        patch.setitem(program.__dict__, "execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lm.generate(ids, max_new_tokens=5, **GREEDY)
    assert lm._texts.tokens[0] == expected[0, : 8 + after].tolist(), "the prefill's eight, and one a decode"
    assert torch.equal(lm.generate(ids, max_new_tokens=5, **GREEDY), expected)
    assert lm.report().runs == {"decode-16": 5}, "what was whole is not computed again"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 2}, "num_beams=2 needs several continuations"),
        (
            {"num_return_sequences": 3, "do_sample": True},
            "num_return_sequences=3 needs 3 caches, there are 2",
        ),
        ({"prompt_lookup_num_tokens": 2}, "prompt_lookup_num_tokens asks for logits of several tokens"),
        ({"assistant_model": object()}, "assistant_model asks for logits of several tokens"),
        ({"guidance_scale": 1.5}, "guidance_scale=1.5 runs the model on a second text"),
        ({"cache_implementation": "static"}, "cache_implementation names a cache of transformers"),
        ({"output_attentions": True}, "output_attentions=True asks for what the programs do not return"),
        ({"custom_generate": print}, "custom_generate is another generate"),
    ],
)
def test_what_generate_cannot_do(lm: PlenaForCausalLM, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlenaError, match=message):
        lm.generate(prompt(4), max_new_tokens=2, **settings)


def test_what_forward_would_ignore(lm: PlenaForCausalLM) -> None:
    with pytest.raises(PlenaError, match="the argument labels would be ignored"):
        lm(prompt(4), labels=prompt(4))
    with pytest.raises(PlenaError, match=r"attention_mask of shape \[1, 5\] for input_ids \[1, 4\]"):
        lm(prompt(4), attention_mask=torch.ones(1, 5))
