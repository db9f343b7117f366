"""`plena.evaluate`: how close a program or a language model comes to PyTorch, on inputs of the user's choice."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from plena.errors import PlenaError
from plena.program.data import ProgramData
from plena.progress import counting

if TYPE_CHECKING:
    import torch

    from plena.checking.judging import EvaluationReport

_WHERE = "evaluate"


@runtime_checkable
class LanguageModel(Protocol):
    """What reads a prompt token by token (plena.hf)."""

    def judged_prompts(
        self, prompts: Sequence[Any], module: Any, tokenizer: Any
    ) -> Iterator[Mapping[str, torch.Tensor]]:
        """Of every prompt: logits [tokens, vocabulary] by kind of result, and "labels" [tokens]."""
        ...


def evaluate(
    program_or_lm: Any,
    samples_or_prompts: Sequence[Any],
    *,
    labels: Sequence[Any] | None = None,
    module: Any = None,
    tokenizer: Any = None,
    progress: bool | None = None,
) -> EvaluationReport:
    """Compares the emulator, the quantised reference and PyTorch in bfloat16 with PyTorch in float32.

    Args:
        program_or_lm: a `Program`, or a `PlenaForCausalLM`.
        samples_or_prompts: inputs of calls (tensors, or tuples of positional arguments); of a language model token ids
            [n], or texts for the `tokenizer`. Prompts are read token by token, each at its place.
        labels: for every sample the index that each row of the output should have as its largest, -1 for none; the
            labels of a prompt are its own next tokens.
        module: of a program or language model that was loaded from a folder.
        progress: whether to show a bar; None means on a terminal.

    Returns:
        a report; `kl`, `agreement`, `perplexity_ratio` and `cosine` are the emulator's, each with `low` and `high`.

    Raises:
        PlenaError: no samples, inputs that do not fit, no module to compare with, labels that do not fit.
    """
    from plena.checking.judging import judged

    given: Any = samples_or_prompts
    if not isinstance(given, list | tuple) or not given:
        raise PlenaError("there is nothing to evaluate", _WHERE, "Give a list of samples or prompts.")
    if isinstance(program_or_lm, ProgramData):
        calls = _calls(program_or_lm, samples_or_prompts, labels, module)
    elif isinstance(program_or_lm, LanguageModel):
        calls = program_or_lm.judged_prompts(samples_or_prompts, module, tokenizer)
    else:
        raise PlenaError(
            f"a {type(program_or_lm).__name__} is no program", _WHERE, "Give a Program or a PlenaForCausalLM."
        )
    with counting(len(samples_or_prompts), "evaluating", progress) as advance:

        def counted() -> Iterator[Mapping[str, torch.Tensor]]:
            for number, call in enumerate(calls):
                yield call
                advance(number + 1)

        return judged(counted())


def _calls(
    program: Any, samples: Sequence[Any], labels: Sequence[Any] | None, module: Any
) -> Iterator[Mapping[str, torch.Tensor]]:
    """The first output of every sample by kind of result.

    Raises:
        PlenaError: there is no module, or labels do not fit.
    """
    import torch

    from plena.checking.reference import ModuleReferences, as_tensors
    from plena.host.call_inputs import CallSignature, arguments_of

    if labels is not None and len(labels) != len(samples):
        raise PlenaError(f"{len(labels)} labels for {len(samples)} samples", _WHERE)
    calls = [arguments_of(s) for s in samples]
    source = program.source
    if source is None and module is not None:
        signature = program.signature or CallSignature.of(calls[0], {}, module)
        tensors = program.input_tensors(calls[0], {}, signature)
        source = ModuleReferences.of(program, module, signature, tensors)
    if source is None:
        raise PlenaError(
            "there is nothing to compare with",
            _WHERE,
            "Give the module: plena.evaluate(program, samples, module=m).",
        )
    quantized = source.simulated()
    narrow: Any = None
    if (
        source.module is not None and program.kept is None
    ):  # one with states would go on from its own last call
        narrow = copy.deepcopy(source.module).bfloat16().eval()
    for number, call in enumerate(calls):
        inputs = program.input_tensors(call, {}, source.signature)
        program.require_inputs(tuple(inputs))
        kinds: dict[str, Any] = {"float32": source.float32(*inputs)}
        if narrow is not None:
            given = [x.bfloat16() if x.is_floating_point() else x for x in inputs]
            arguments, keywords = source.signature.arguments(given)
            with torch.no_grad():
                kinds["bfloat16"] = as_tensors(narrow(*arguments, **keywords))
        kinds["quantized"] = quantized(*inputs)
        kinds["emulator"] = as_tensors(program.run(*inputs, progress=False))
        found = {name: tensors[0].detach().float() for name, tensors in kinds.items()}
        if labels is not None:
            found["labels"] = _labels(labels[number], found["float32"], number)
        yield found


def _labels(given: Any, rows: torch.Tensor, number: int) -> torch.Tensor:
    import torch

    labels = torch.as_tensor(given).long().reshape(-1)
    if labels.numel() != rows[..., 0].numel() or bool((labels >= rows.shape[-1]).any()):
        raise PlenaError(
            f"{labels.numel()} labels for {rows[..., 0].numel()} rows of {rows.shape[-1]}, or one beyond them",
            f"{_WHERE}, sample {number}",
        )
    return labels
