"""Logits of a language model token by token: by the emulator, by its quantised reference, by PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from plena.errors import PlenaError
from plena.hf.cached_texts import CachedTexts
from plena.hf.language_programs import DECODE, LanguagePrograms
from plena.hf.step_module import CachedStep
from plena.hf.step_references import step_references

if TYPE_CHECKING:
    from plena.program.data import Reference, SourceReferences

_WHERE = "evaluate"


@torch.no_grad()
def judged_prompts(
    texts: CachedTexts, prompts: Sequence[Any], module: Any, tokenizer: Any
) -> Iterator[Mapping[str, torch.Tensor]]:
    """Of every prompt the logits [n, vocabulary] by kind of result, and the next tokens as "labels".

    The quantised reference goes on from the cache that the emulator has filled. Nothing of a text before stays.

    Args:
        prompts: token ids, or texts for the tokenizer.
        module: the model, for programs that were loaded from a folder; the programs know their own.

    Raises:
        PlenaError: no model, or a prompt that is no list of tokens of its vocabulary.
    """
    programs = texts.programs
    sources = {n: _source(programs, n, module) for n in programs.programs if n.startswith(DECODE)}
    model = next(iter(sources.values())).module.model if module is None else module  # type: ignore[attr-defined]
    narrow = copy.deepcopy(model).to(torch.bfloat16).eval()
    simulated: dict[str, Reference] = {}
    vocabulary = len(model.get_input_embeddings().weight)
    for number, prompt in enumerate(prompts):
        ids = _ids(prompt, tokenizer, f"{_WHERE}, prompt {number}", vocabulary, programs.length)
        emulator, quantized = list[torch.Tensor](), list[torch.Tensor]()
        texts.reset()
        for position in range(len(ids)):
            text = ids[: position + 1]
            name, *given = texts.next_step({0: text})
            texts.show(name)
            if name not in simulated:
                simulated[name] = sources[name].simulated()
            quantized.append(simulated[name](*given)[0][0])
            (found,) = texts.logits([text])
            assert found is not None
            emulator.append(found)
        batch = torch.tensor([ids])
        yield {
            "float32": model(batch, use_cache=False).logits[0].float(),
            "bfloat16": narrow(batch, use_cache=False).logits[0].float(),
            "quantized": torch.stack(quantized),
            "emulator": torch.stack(emulator),
            "labels": torch.tensor([*ids[1:], -1]),
        }


def _source(programs: LanguagePrograms, name: str, module: Any) -> SourceReferences:
    """The step that a program was made from.

    Raises:
        PlenaError: there is none.
    """
    program = programs.programs[name]
    if program.source is not None:
        return program.source
    if module is None:
        raise PlenaError(
            "there is nothing to compare with",
            _WHERE,
            "Give the model: plena.evaluate(lm, prompts, module=model).",
        )
    bucket = int(name.rpartition("-")[2])
    step = CachedStep(module, programs.length, programs.batch, bucket=bucket)
    return step_references(program, step.eval())


def _ids(prompt: Any, tokenizer: Any, where: str, vocabulary: int, length: int) -> list[int]:
    """The tokens of a prompt.

    Raises:
        PlenaError: it is none.
    """
    if isinstance(prompt, str):
        if tokenizer is None:
            raise PlenaError("a text needs a tokenizer", where, "Give tokenizer=, or token ids.")
        prompt = tokenizer(prompt)["input_ids"]
    ids = torch.as_tensor(prompt).reshape(-1)
    if ids.is_floating_point() or not 0 < len(ids) <= length:
        raise PlenaError(
            f"{len(ids)} tokens of type {str(ids.dtype).removeprefix('torch.')}",
            where,
            f"Give 1 to {length} token ids.",
        )
    if not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
        raise PlenaError(f"tokens must be 0 to {vocabulary - 1}", where)
    return [int(n) for n in ids]
