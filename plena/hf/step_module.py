"""One step of a language model as a module: some tokens at their positions, keys and values in buffers."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from plena.errors import CompileError


class CachedStep(nn.Module):
    """A causal language model of transformers that takes `ids` and `positions` [batch, n], the latter below `bucket`.

    Keys and values are written at these positions into buffers `keys_<layer>` and `values_<layer>`
    [batch * length, heads, size], sequence b from row b * length on; a query sees the keys of its sequence up to its
    own position, which are among the first `bucket` (all of them unless it is given). The result is what the last
    tokens give: logits [batch, vocabulary], or with `logits` False their features [batch, hidden].

    With `alone` it takes one sequence, ids and positions [1, n], and behind them `slot` [1], which says whose rows it
    reads and writes; the buffers are those of all `batch`.

    Raises:
        CompileError: a layer that keeps something else than keys and values, or capped logits.
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
        self.mixed = bool(getattr(text, "layer_types", None))
        self.window = _windows(text)
        if not self.mixed and self.window >= self.bucket:
            self.window = 0
        self.layers = int(text.num_hidden_layers)
        heads = int(getattr(text, "num_key_value_heads", None) or text.num_attention_heads)
        size = int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
        for layer in range(self.layers):
            for name in ("keys", "values"):
                self.register_buffer(f"{name}_{layer}", torch.zeros(batch * length, heads, size))
        parameters = inspect.signature(model.forward).parameters
        self.cache_name = "cache" if "cache" in parameters else "past_key_values"

    @property
    def taken(self) -> int:
        """Sequences that it takes."""
        return 1 if self.alone else self.batch

    def forward(self, ids: Tensor, positions: Tensor, slot: Tensor | None = None) -> Tensor:
        keys, queries = torch.arange(self.bucket), positions[:, None, :, None]
        full = keys <= queries
        sliding = full & (keys > queries - self.window) if self.window else full
        # Models whose layers differ take a mask for each kind, all others one mask for all layers.
        mixed = self.window and self.mixed
        mask: Any = {"full_attention": full, "sliding_attention": sliding} if mixed else sliding
        body: Any = self.model.get_decoder()  # type: ignore[operator]
        found = body(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            **{self.cache_name: _Rows(self, positions, slot)},
        )
        last = found.last_hidden_state[:, -1]
        if not self.logits:
            return last
        head: Any = self.model.get_output_embeddings()  # type: ignore[operator]
        return head(last)


def _windows(config: Any) -> int:
    """The window of layers with sliding attention, 0 if there are none; without `layer_types` of all layers.

    Raises:
        CompileError: layers of another kind, or logits that are capped.
    """
    if getattr(config, "final_logit_softcapping", None) is not None:
        # Small logits are hardly changed by it, so that comparing them may not show that it is left out.
        raise CompileError(
            f"final_logit_softcapping={config.final_logit_softcapping}: capped logits are not supported",
            "config.final_logit_softcapping",
            "Set it to None if what the model then says will do.",
        )
    layers: list[str] = getattr(config, "layer_types", None) or []
    if not layers:
        return int(getattr(config, "sliding_window", None) or 0)
    kinds = set(layers)
    unknown = kinds - {"full_attention", "sliding_attention"}
    if unknown:
        raise CompileError(
            f"a cache for layers of type {', '.join(sorted(unknown))} is not supported",
            "config.layer_types",
            "Models whose layers keep keys and values alone are: full_attention, sliding_attention.",
        )
    return int(config.sliding_window or 0) if "sliding_attention" in kinds else 0


class _Rows:
    """What layers take for a cache: new keys and values go to their rows, all rows come back."""

    is_compileable = True

    def __init__(self, step: CachedStep, positions: Tensor, slot: Tensor | None) -> None:
        self.step, self.slot = step, slot
        slots = torch.arange(step.batch) if slot is None else slot
        self.rows = (positions + slots[:, None] * step.length).flatten()

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []
        for name, new in (("keys", keys), ("values", values)):
            buffer: Tensor = getattr(self.step, f"{name}_{layer}")
            buffer.index_copy_(0, self.rows, new.transpose(1, 2).flatten(0, 1))
            sequences = buffer.view(self.step.batch, self.step.length, *buffer.shape[1:])
            if self.slot is not None:
                sequences = sequences[self.slot]
            kept.append(sequences[:, : self.step.bucket].transpose(1, 2))
        return kept[0], kept[1]

    def get_seq_length(self, layer: int = 0) -> int:
        return 0

    def get_mask_sizes(self, *_: Any) -> tuple[int, int]:
        return self.step.bucket, 0

    def get_max_cache_shape(self, layer: int = 0) -> int:
        return self.step.bucket
