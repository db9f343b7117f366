"""`PlenaForCausalLM`: a language model of transformers, compiled, with transformers' own `generate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import GenerationConfig, GenerationMixin, StoppingCriteriaList
from transformers.modeling_outputs import CausalLMOutputWithPast

from plena.api.compile import check_options
from plena.api.program import Program
from plena.errors import PlenaError
from plena.hf.cached_texts import CachedTexts
from plena.hf.compiling import StepSizes, check_batch, compile_steps
from plena.hf.evaluation import judged_prompts
from plena.hf.folder import MANIFEST, load_folder, load_model, save_folder
from plena.hf.generation import NOWHERE, Ends, check_generation, full_cache
from plena.hf.language_programs import LanguagePrograms
from plena.hf.report import LanguageReport
from plena.hf.teacher_forced import LanguageCheck, check_texts
from plena.machine.target import Target

_HARMLESS = frozenset({"use_cache", "return_dict", "logits_to_keep", "num_logits_to_keep"})
"""What `forward` may be given beside tokens: it changes nothing that is computed."""


class PlenaForCausalLM(GenerationMixin):
    """A causal language model whose steps are programs; they run on the emulator.

    Attributes:
        config, generation_config: as of the model.
        programs: by name, "prefill-64", "decode-128" ...
        batch: sequences that there are caches for, a token of each in one run.
    """

    main_input_name = "input_ids"
    _is_stateful = True
    _supports_default_dynamic_cache = classmethod(lambda cls: False)  # type: ignore[assignment]

    def __init__(
        self,
        config: Any,
        generation_config: Any,
        programs: Mapping[str, Program],
        batch: int = 1,
        skipped: int | None = None,
    ) -> None:
        self.config, self.generation_config = config, generation_config
        self.programs = dict(programs)
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.batch = batch
        self._programs = LanguagePrograms(self.programs, skipped)
        self._texts = CachedTexts(self._programs)
        self._new_tokens = 0
        self._ends = NOWHERE
        self._asked = False

    @classmethod
    def can_generate(cls) -> bool:
        """Whether `generate` may be called."""
        return True

    @property
    def max_length(self) -> int:
        """Positions that the cache of a sequence has."""
        return self._programs.length

    @staticmethod
    def from_pretrained(
        model: Any,
        max_length: int | None = None,
        batch: int | None = None,
        target: Target | None = None,
        prefill: Sequence[int] | None = None,
        buckets: Sequence[int] | None = None,
        **options: Any,
    ) -> PlenaForCausalLM:
        """Compile a model, or open a folder of `save_pretrained`.

        Args:
            model: a causal model of transformers, its folder, a GGUF file, or a folder of programs.
            max_length: positions that the cache has, by default 256 or the largest of `buckets`; fixed in a folder of
                programs.
            batch: sequences at a time, each with a cache of its own, 1 by default; a folder has its own, which is the
                most then.
            target: the machine, shipped settings by default.
            prefill: how many tokens the prefill programs take, by default (64,) or `max_length` where that is less;
                none, (), reads a prompt token by token. Fixed in a folder of programs.
            buckets: how many keys the decode programs attend to; by default 128, 256, 512 ... up to `max_length`, which
                is always one of them.
            options: as of ``plena.compile``.

        Raises:
            PlenaError: wrong arguments, a model or a folder that is none, a layer that cannot be compiled, a model
                whose logits `CachedStep` does not give (both run in PyTorch before anything is compiled).
        """
        own = signature(PlenaForCausalLM.from_pretrained).parameters
        check_options({"target": target, **options}, [name for name in own if name != "options"])
        if isinstance(model, str | Path) and (Path(model) / MANIFEST).exists():
            given = {"max_length": max_length, "target": target, "prefill": prefill, "buckets": buckets}
            fixed = [*(name for name, value in given.items() if value is not None), *options]
            if fixed:
                raise PlenaError(
                    f"a folder of programs is compiled already, {', '.join(fixed)} would change nothing",
                    str(model),
                    "Open it with batch alone, or compile the model again.",
                )
            check_batch(batch)
            config, generation, programs, saved, skipped = load_folder(Path(model))
            if batch is not None and batch > saved:
                raise PlenaError(
                    f"its programs take {saved} sequences at a time, not {batch}",
                    str(model),
                    f"Compile the model with batch={batch}.",
                )
            return PlenaForCausalLM(config, generation, programs, batch or saved, skipped)
        check_batch(batch)
        sizes = StepSizes.of(max_length, prefill, buckets)
        if isinstance(model, str | Path):
            model = load_model(Path(model))
        if not isinstance(model, torch.nn.Module) or not hasattr(model, "get_decoder"):
            raise PlenaError(
                f"a {type(model).__name__} is no causal language model of transformers",
                "from_pretrained",
                "Give an AutoModelForCausalLM, its folder, a GGUF file, or a folder of save_pretrained.",
            )
        programs, skipped = compile_steps(model, sizes, batch or 1, target, options)
        generation = getattr(model, "generation_config", None) or GenerationConfig()
        return PlenaForCausalLM(model.config, generation, programs, batch or 1, skipped)

    def save_pretrained(self, directory: str | Path, tokenizer: Any = None) -> None:
        """Write the programs with one weight image, the configurations, and the tokenizer if there is one.

        Raises:
            PlenaError: the folder cannot be written.
        """
        for program in self.programs.values():
            program.reset()  # a folder holds no text
        ours = self._programs
        save_folder(
            Path(directory),
            self.config,
            self.generation_config,
            self.programs,
            ours.batch,
            ours.skipped,
            tokenizer,
        )

    def generate(self, inputs: Any = None, generation_config: Any = None, **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As transformers' `generate`: greedy, sampling, stopping, streamers.

        Raises:
            PlenaError: beams, assisted decoding and what else needs another cache; more sequences than there are
                caches; a `max_new_tokens` or `max_length` for which a cache has no room, where nothing else ends a
                text. Nothing was computed then.
            FullCacheError: a text that was to go on fills its cache; the error has its tokens.

        Warns:
            FullCacheWarning: the same where the length was not given here but by a generation configuration. All
                texts end there.
        """
        check_generation(kwargs, generation_config or self.generation_config, self.batch)
        self._programs.forget_runs()
        self._new_tokens = 0
        self._asked = "max_new_tokens" in kwargs or "max_length" in kwargs
        try:
            return super().generate(inputs, generation_config, **{**kwargs, "use_cache": False})  # type: ignore[misc]
        except PlenaError:
            if kwargs.get("streamer") is not None:
                kwargs["streamer"].end()  # Whoever reads it waits for that.
            raise
        finally:
            self._ends = NOWHERE

    def _sample(self, input_ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As transformers': greedy and sampling; notes where sequences end, since the rest of one is padding."""
        criteria: Sequence[Any] = kwargs.get("stopping_criteria") or ()
        stops = {int(n) for c in criteria if hasattr(c, "eos_token_id") for n in c.eos_token_id.flatten()}
        self._ends = Ends(input_ids.shape[1], frozenset(stops))
        mask = kwargs.get("attention_mask")
        full = full_cache(criteria, self._ends, input_ids, mask, self.max_length, self._asked)
        kwargs["stopping_criteria"] = StoppingCriteriaList([*criteria, full])
        return super()._sample(input_ids, *args, **kwargs)  # type: ignore[misc]

    def __call__(self, *args: Any, **kwargs: Any) -> CausalLMOutputWithPast:
        """As `forward`."""
        return self.forward(*args, **kwargs)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Any
    ) -> CausalLMOutputWithPast:
        """The logits [batch, 1, vocabulary] behind the tokens [batch, n].

        Each row has a cache of its own, whose tokens are not computed again; a run takes a token of all rows.

        Args:
            input_ids: all tokens of every text from its beginning on.
            attention_mask: of the same shape, 0 where a token is padding.

        Raises:
            PlenaError: more sequences than there are caches, no tokens or more than a cache has positions, ids out of
                range, arguments that would be ignored. Caches then hold what they held, or more of the same texts.
        """
        for name, value in others.items():
            if value is not None and value is not False and name not in _HARMLESS:
                raise PlenaError(
                    f"the argument {name} would be ignored",
                    "forward",
                    "Give input_ids and attention_mask alone.",
                )
        if input_ids.ndim != 2 or not 1 <= input_ids.shape[0] <= self.batch:
            raise PlenaError(
                f"input_ids of shape {list(input_ids.shape)}, there are caches for {self.batch} sequences",
                "forward",
                f"Give [1 to {self.batch}, n], or compile with a larger batch.",
            )
        if attention_mask is not None and attention_mask.shape != input_ids.shape:
            raise PlenaError(
                f"attention_mask of shape {list(attention_mask.shape)} for input_ids {list(input_ids.shape)}",
                "forward",
                "Give one of the same shape: 1 for tokens, 0 for padding.",
            )
        kept = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        rows = zip(input_ids, kept, strict=True)
        texts = [None if self._ends.before(row) else row[mask.bool()].tolist() for row, mask in rows]
        found = self._texts.logits(texts)
        self._new_tokens += sum(text is not None for text in texts)
        some = next((row for row in found if row is not None), torch.zeros(1))
        logits = torch.stack([torch.zeros_like(some) if row is None else row for row in found])
        return CausalLMOutputWithPast(logits=logits[:, None])  # type: ignore[arg-type]

    def prepare_inputs_for_generation(self, input_ids: Tensor, *_: Any, **kwargs: Any) -> dict[str, Any]:
        """What `generate` calls `forward` with: all tokens, whose beginning the cache holds."""
        return {"input_ids": input_ids, "attention_mask": kwargs.get("attention_mask")}

    def reset(self) -> None:
        """Empty the caches."""
        self._texts.reset()

    def judged_prompts(
        self, prompts: Sequence[Any], module: Any = None, tokenizer: Any = None
    ) -> Iterator[Mapping[str, Tensor]]:
        """What `plena.evaluate` compares."""
        yield from judged_prompts(CachedTexts(self._programs), prompts, module, tokenizer)

    def report(self) -> LanguageReport:
        """What the last `generate` cost for each new token, prefill included.

        Raises:
            PlenaError: nothing was generated.
        """
        ran, tokens = self._programs, self._new_tokens
        if not tokens:
            raise PlenaError("nothing was generated yet", "report", "Call generate() first.")
        counts = [(self.programs[name].stats(), count) for name, count in ran.runs.items()]
        read, written = ran.payload()
        profiles = [p for p in counts[0][0].cycles if all(p in stats.cycles for stats, _ in counts)]
        return LanguageReport(
            tokens,
            dict(ran.runs),
            {p: sum(stats.cycles[p] * count for stats, count in counts) / tokens for p in profiles},
            sum(stats.dma_cycles * count for stats, count in counts) / tokens,
            read / tokens,
            written / tokens,
            ran.read / tokens,
            ran.written / tokens,
        )

    def check(self, texts: Sequence[Sequence[int]], model: Any) -> LanguageCheck:
        """Token by token on texts: against `model` on what the machine sees, and against `model` in PyTorch.

        Args:
            texts: token ids.
            model: of transformers, from which the programs were compiled.

        Raises:
            PlenaError: no texts, one longer than the cache, another model.
        """
        return check_texts(self._programs, model, texts)

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


__all__ = ["PlenaForCausalLM"]
