"""One step of a language model as a module: some tokens at their positions, keys and values in buffers."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from plena.errors import CompileError
from plena.hf.position_tables import PositionTables

NAMES = ("keys", "values")
"""What the buffers of a layer are called."""


FULL = "full_attention"

SPANS = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
"""Layers that see a part of what was before, and the field of a configuration that says how much."""


class CachedStep(nn.Module):
    """A causal language model of transformers that takes `ids` and `positions` [batch, n], the latter below `bucket`.

    Keys and values are written at these positions into buffers `keys_<layer>` and `values_<layer>`
    [batch * length, heads, size], sequence b from row b * length on; a query sees the keys of its sequence up to its
    own position, which are among the first `bucket` (all of them unless it is given). A model that does not take such a
    mask makes its own from what its cache says: the position of the first token, for all sequences.

    The result is what the last tokens give: logits [batch, vocabulary], or with `logits` False their features
    [batch, hidden].

    With `alone` it takes one sequence, ids and positions [1, n], and behind them `slot` [1], which says whose rows it
    reads and writes; the buffers are those of all `batch`.

    Layers keep what they give a cache for a token: heads and sizes are those that the model's own layers give, so one
    head of latents and one of turned features are kept where attention is latent.

    Raises:
        CompileError: a layer that keeps something else than keys and values.
    """

    def __init__(
        self,
        model: nn.Module,
        length: int,
        batch: int = 1,
        *,
        bucket: int | None = None,
        logits: bool = True,
        alone: bool = False,
    ) -> None:
        super().__init__()
        config: Any = model.config
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        self.model, self.length, self.batch, self.logits = model, length, batch, logits
        self.alone = alone
        self.bucket = bucket or length
        self.spans = {kind: span for kind, span in _spans(text).items() if span < self.bucket}
        self.mixed = bool(self.spans) and bool(getattr(text, "layer_types", None))
        parameters = inspect.signature(model.forward).parameters
        self.cache_name = "cache" if "cache" in parameters else "past_key_values"
        self.tables = PositionTables(model)
        self.masks_itself = False
        self.last_alone = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        self.body, kept = self._seen_in_a_run()
        for layer, shapes in kept.items():
            for name, (heads, size) in zip(NAMES, shapes, strict=True):
                self.register_buffer(f"{name}_{layer}", torch.zeros(batch * length, heads, size))

    @property
    def taken(self) -> int:
        """Sequences that it takes."""
        return 1 if self.alone else self.batch

    def forward(self, ids: Tensor, positions: Tensor, slot: Tensor | None = None) -> Tensor:
        rows = _Rows(self, positions, slot)
        if self.logits:
            return self._run(self.model, ids, positions, rows, **self.last_alone).logits[:, -1]
        body = self.model.get_submodule(self.body)
        return self._run(body, ids, positions, rows).last_hidden_state[:, -1]

    def every_logits(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Logits [batch, n, vocabulary] behind every token, which checks ask for and programs do not give."""
        return self._run(self.model, ids, positions, _Rows(self, positions, None)).logits

    def _run(self, module: Any, ids: Tensor, positions: Tensor, cache: Any, **more: Any) -> Any:
        """What the model or its body gives; queries see the keys of `bucket` positions up to their own."""
        keys, queries = torch.arange(cache.get_max_cache_shape()), positions[:, None, :, None]
        full = keys <= queries
        masks = dict.fromkeys((FULL, *SPANS), self._mask(full))
        masks |= {
            kind: self._mask(full & _near(kind, span, keys, queries)) for kind, span in self.spans.items()
        }
        # Models whose layers differ take a mask for each kind, all others one mask for all layers.
        mask: Any = masks if self.mixed else masks["sliding_attention"]
        if self.masks_itself:
            mask = None
        given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "use_cache": True}
        with self.tables.read_at(positions):
            return module(**given, **{self.cache_name: cache}, **more)

    def _mask(self, seen: Tensor) -> Tensor:
        """What attention takes for a mask of the keys that are seen: written out it adds it to the scores."""
        if self.model.config._attn_implementation != "eager":  # type: ignore[union-attr]
            return seen
        return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)

    @torch.no_grad()
    def _seen_in_a_run(self) -> tuple[str, dict[int, list[tuple[int, int]]]]:
        """The part that is the model without its head, and heads and sizes of what each layer keeps of a token.

        `get_decoder` gives the head of ModernBERT's decoder (findings/get_decoder_is_the_head.sh) and all of Llama 4.

        Raises:
            CompileError: no part gives features.
        """
        seen, first, bodies = _Shapes(), torch.zeros(1, 1, dtype=torch.int64), list[str]()

        def look(name: str) -> Any:
            return lambda _, __, found: bodies.append(name) if hasattr(found, "last_hidden_state") else None

        hooks = [part.register_forward_hook(look(name)) for name, part in self.model.named_modules() if name]
        try:
            try:
                self._run(self.model, first, first, seen)
            except ValueError:
                # BLOOM makes biases of a mask, of two axes; without one it makes both from what its cache says.
                self.masks_itself = True
                self._run(self.model, first, first, seen)
        finally:
            for hook in hooks:
                hook.remove()
        if not bodies:
            raise CompileError("no part of the model gives `last_hidden_state`", "from_pretrained")
        return bodies[-1], seen.of  # the outermost part ends last


def _spans(config: Any) -> dict[str, int]:
    """How far layers of each kind see, those that see everything apart; without `layer_types` all layers are alike.

    Raises:
        CompileError: layers of another kind.
    """
    kinds: set[str] = set(getattr(config, "layer_types", None) or ["sliding_attention"])
    unknown = kinds - {FULL, *SPANS}
    if unknown:
        raise CompileError(
            f"a cache for layers of type {', '.join(sorted(unknown))} is not supported",
            "config.layer_types",
            f"Models whose layers keep keys and values alone are: {', '.join((FULL, *SPANS))}.",
        )
    sizes = {kind: getattr(config, field, None) for kind, field in SPANS.items() if kind in kinds}
    return {kind: int(size) for kind, size in sizes.items() if size}


def _near(kind: str, span: int, keys: Tensor, queries: Tensor) -> Tensor:
    """Keys that a layer sees, those behind the query among them: the last `span` ones, or those in its chunk."""
    return keys > queries - span if kind == "sliding_attention" else keys // span == queries // span


class _Cache:
    """What layers take for a cache that holds `length` keys: of nothing that was before, as masks say what is seen."""

    is_compileable = True

    def __init__(self, length: int) -> None:
        self.length = length

    def get_seq_length(self, layer: int = 0) -> int | Tensor:
        return 0

    def get_mask_sizes(self, *_: Any) -> tuple[int, int]:
        return self.length, 0

    def get_query_offset(self, layer: int = 0) -> int | Tensor:
        return self.get_seq_length(layer)

    def get_max_cache_shape(self, layer: int = 0) -> int:
        return self.length


class _Shapes(_Cache):
    """Sees what layers keep of one token."""

    def __init__(self) -> None:
        super().__init__(1)
        self.of: dict[int, list[tuple[int, int]]] = {}

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.of[layer] = [(new.shape[1], new.shape[3]) for new in (keys, values)]
        return keys, values


class _Rows(_Cache):
    """New keys and values go to their rows, all rows come back."""

    def __init__(self, step: CachedStep, positions: Tensor, slot: Tensor | None) -> None:
        super().__init__(step.bucket)
        self.step, self.slot = step, slot
        self.first = positions[0, 0] if step.masks_itself else 0
        slots = torch.arange(step.batch) if slot is None else slot
        self.rows = (positions + slots[:, None] * step.length).flatten()

    def get_seq_length(self, layer: int = 0) -> int | Tensor:
        return self.first

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []
        for name, new in zip(NAMES, (keys, values), strict=True):
            buffer: Tensor = getattr(self.step, f"{name}_{layer}")
            buffer.index_copy_(0, self.rows, new.transpose(1, 2).flatten(0, 1))
            sequences = buffer.view(self.step.batch, self.step.length, *buffer.shape[1:])
            if self.slot is not None:
                sequences = sequences[self.slot]
            # Contiguous as transformers' caches give them: some layers take views of several sequences.
            kept.append(sequences[:, : self.step.bucket].transpose(1, 2).contiguous())
        return kept[0], kept[1]
