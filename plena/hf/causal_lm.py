"""`PlenaForCausalLM`: a language model of transformers, compiled, with transformers' own `generate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from plena.api.compile import compile
from plena.api.program import Program
from plena.errors import PlenaError
from plena.hf.cached_text import DECODE, PREFILL, CachedText
from plena.hf.evaluation import judged_prompts
from plena.hf.folder import MANIFEST, load_folder, load_model, save_folder
from plena.hf.report import LanguageReport
from plena.hf.step_check import check_step
from plena.hf.step_module import CachedStep
from plena.machine.target import Target

BUCKETS = (64, 128, 256, 512, 1024, 2048, 4096)
"""Keys that decode programs attend to unless the user says which."""


class PlenaForCausalLM(GenerationMixin):
    """A causal language model whose steps are programs; they run on the emulator.

    Attributes:
        config, generation_config: as of the model.
        programs: by name, "prefill-64", "decode-128" ...
    """

    main_input_name = "input_ids"
    _is_stateful = True
    _supports_default_dynamic_cache = classmethod(lambda cls: False)  # type: ignore[assignment]

    def __init__(self, config: Any, generation_config: Any, programs: Mapping[str, Program]) -> None:
        self.config, self.generation_config = config, generation_config
        self.programs = dict(programs)
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self._text = CachedText(self.programs)
        self._new_tokens = 0

    @classmethod
    def can_generate(cls) -> bool:
        """Whether `generate` may be called."""
        return True

    @staticmethod
    def from_pretrained(
        model: Any,
        max_length: int | None = None,
        batch: int = 1,
        target: Target | None = None,
        prefill: Sequence[int] = (64,),
        buckets: Sequence[int] | None = None,
        **options: Any,
    ) -> PlenaForCausalLM:
        """Compile a model, or open a folder of `save_pretrained`.

        Args:
            model: a causal model of transformers, its folder, a GGUF file, or a folder of programs.
            max_length: positions that the cache has, 256 by default; fixed in a folder of programs.
            batch: sequences at a time; one.
            target: the machine, shipped settings by default.
            prefill: how many tokens the prefill programs take.
            buckets: how many keys the decode programs attend to; by default 64, 128, 256, 512 ... up to `max_length`.
            options: as of ``plena.compile``.

        Raises:
            PlenaError: wrong arguments, a model or a folder that is none, a layer that cannot be compiled, a model
                whose logits `CachedStep` does not give (both run in PyTorch before anything is compiled).
        """
        if isinstance(model, str | Path) and (Path(model) / MANIFEST).exists():
            if max_length is not None or target is not None or buckets is not None or options:
                raise PlenaError(
                    "a folder of programs is compiled already", str(model), "Open it without other arguments."
                )
            return PlenaForCausalLM(*load_folder(Path(model)))
        length = 256 if max_length is None else max_length
        _check_sizes(length, batch, prefill, buckets)
        if isinstance(model, str | Path):
            model = load_model(Path(model))
        if not isinstance(model, torch.nn.Module) or not hasattr(model, "get_decoder"):
            raise PlenaError(
                f"a {type(model).__name__} is no causal language model of transformers",
                "from_pretrained",
                "Give an AutoModelForCausalLM, its folder, a GGUF file, or a folder of save_pretrained.",
            )
        sizes = sorted(set(buckets or [*(b for b in BUCKETS[1:] if b < length), length]))
        check_step(model, sizes[-1])
        programs = {
            **{f"{PREFILL}-{n}": _compiled(model, sizes[-1], n, target, options) for n in sorted(prefill)},
            **{f"{DECODE}-{bucket}": _compiled(model, bucket, 1, target, options) for bucket in sizes},
        }
        generation = getattr(model, "generation_config", None) or GenerationConfig()
        return PlenaForCausalLM(model.config, generation, programs)

    def save_pretrained(self, directory: str | Path, tokenizer: Any = None) -> None:
        """Write the programs with one weight image, the configurations, and the tokenizer if there is one.

        Raises:
            PlenaError: the folder cannot be written.
        """
        save_folder(Path(directory), self.config, self.generation_config, self.programs, tokenizer)

    def generate(self, inputs: Any = None, **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As transformers' `generate`: greedy, sampling, stopping, streamers.

        Raises:
            PlenaError: beams, several sequences or assisted decoding; more tokens than the cache has positions.
        """
        config = kwargs.get("generation_config") or self.generation_config
        for name, plain in (("num_beams", 1), ("num_return_sequences", 1)):
            value = kwargs.get(name, getattr(config, name, None))
            if value not in (None, plain):
                raise PlenaError(
                    f"{name}={value} needs several sequences, the programs have one cache",
                    "generate",
                    f"Use {name}={plain}.",
                )
        for name in ("assistant_model", "prompt_lookup_num_tokens", "penalty_alpha"):
            if kwargs.get(name, getattr(config, name, None)) is not None:
                raise PlenaError(
                    f"{name} asks for logits of several tokens at a time", "generate", f"Leave {name} out."
                )
        self._text.forget_runs()
        self._new_tokens = 0
        return super().generate(inputs, **{**kwargs, "use_cache": False})  # type: ignore[misc]

    def __call__(self, *args: Any, **kwargs: Any) -> CausalLMOutputWithPast:
        """As `forward`."""
        return self.forward(*args, **kwargs)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> CausalLMOutputWithPast:
        """The logits [1, 1, vocabulary] behind the tokens [1, n]; tokens that the cache holds are not computed again.

        Raises:
            PlenaError: several sequences, no tokens, or more than the cache has positions.
        """
        if input_ids.ndim != 2 or input_ids.shape[0] != 1:
            raise PlenaError(
                f"input_ids of shape {list(input_ids.shape)}, the programs take one sequence",
                "forward",
                "Call it for one sequence after the other.",
            )
        ids = input_ids[0]
        if attention_mask is not None and attention_mask.shape == input_ids.shape:
            ids = ids[attention_mask[0].bool()]
        logits = self._text.logits([int(n) for n in ids])
        self._new_tokens += 1
        return CausalLMOutputWithPast(logits=logits[None, None])  # type: ignore[arg-type]

    def prepare_inputs_for_generation(self, input_ids: Tensor, *_: Any, **kwargs: Any) -> dict[str, Any]:
        """What `generate` calls `forward` with: all tokens, whose beginning the cache holds."""
        return {"input_ids": input_ids, "attention_mask": kwargs.get("attention_mask")}

    def reset(self) -> None:
        """Empty the cache."""
        self._text.reset()

    def judged_prompts(
        self, prompts: Sequence[Any], module: Any = None, tokenizer: Any = None
    ) -> Iterator[Mapping[str, Tensor]]:
        """What `plena.evaluate` compares."""
        yield from judged_prompts(self._text, prompts, module, tokenizer)

    def report(self) -> LanguageReport:
        """What the last `generate` cost for each new token, prefill included.

        Raises:
            PlenaError: nothing was generated.
        """
        text, tokens = self._text, self._new_tokens
        if not tokens:
            raise PlenaError("nothing was generated yet", "report", "Call generate() first.")
        counts = [(self.programs[name].stats(), count) for name, count in text.runs.items()]
        read, written = text.payload()
        profiles = [p for p in counts[0][0].cycles if all(p in stats.cycles for stats, _ in counts)]
        return LanguageReport(
            tokens,
            dict(text.runs),
            {p: sum(stats.cycles[p] * count for stats, count in counts) / tokens for p in profiles},
            sum(stats.dma_cycles * count for stats, count in counts) / tokens,
            read / tokens,
            written / tokens,
            text.read / tokens,
            text.written / tokens,
        )

    def eval(self) -> Self:
        """Itself: a program has no training mode."""
        return self

    def to(self, *_: Any, **__: Any) -> Self:
        """Itself: a program has one place."""
        return self

    def is_remote_code(self) -> bool:
        """Whether its code came from a hub: no."""
        return False

    def get_experts_implementation(self) -> None:
        """No expert kernels to choose."""
        return


def _compiled(
    model: torch.nn.Module, length: int, count: int, target: Target | None, options: Mapping[str, Any]
) -> Program:
    step = CachedStep(model, length, logits=count == 1).eval()
    example = torch.zeros(1, count, dtype=torch.int64), torch.arange(count)
    return compile(step, example, target=target, **options)


def _check_sizes(length: int, batch: int, prefill: Sequence[int], buckets: Sequence[int] | None) -> None:
    """Raises PlenaError for sizes that make no sense together."""
    if batch != 1:
        raise PlenaError(
            f"batch={batch}: programs take one sequence", "from_pretrained", "Leave `batch` at 1."
        )
    named: tuple[tuple[str, Sequence[Any]], ...] = (
        ("max_length", [length]),
        ("prefill", prefill),
        ("buckets", buckets or ()),
    )
    for name, sizes in named:
        if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
            raise PlenaError(f"{name} must be whole numbers above 0, not {sizes!r}", "from_pretrained")
    longest = max(buckets) if buckets else length
    if any(n > longest for n in prefill):
        raise PlenaError(
            f"a prefill of {max(prefill)} tokens does not fit a cache of {longest} positions",
            "from_pretrained",
            "Use a larger max_length, or a smaller prefill.",
        )


__all__ = ["PlenaForCausalLM"]
