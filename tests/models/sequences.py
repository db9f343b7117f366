"""A decode step of several sequences at positions of their own, as a module: all caches are rows of one buffer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SequencesStep(nn.Module):
    """A causal language model of transformers that takes `ids` [batch, 1] at `positions` [batch], below `length`.

    Buffers `keys_<layer>` and `values_<layer>` are [batch * length, heads, size]: sequence b has the rows from
    b * length on. The result is logits [batch, vocabulary].
    """

    def __init__(self, model: nn.Module, length: int, batch: int) -> None:
        super().__init__()
        self.model, self.length, self.batch = model, length, batch
        config: Any = model.config
        shape = (batch * length, config.num_key_value_heads, config.head_dim)
        for layer in range(config.num_hidden_layers):
            for name in ("keys", "values"):
                self.register_buffer(f"{name}_{layer}", torch.zeros(shape))

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        seen = torch.arange(self.length)[None] <= positions[:, None]
        model: Any = self.model
        found = model.get_decoder()(
            input_ids=ids,
            attention_mask=seen[:, None, None],
            position_ids=positions[:, None],
            use_cache=True,
            past_key_values=_Caches(self, positions + torch.arange(self.batch) * self.length),
        )
        return model.get_output_embeddings()(found.last_hidden_state[:, -1])


class _Caches:
    """What layers take for a cache."""

    is_compileable = True

    def __init__(self, step: SequencesStep, rows: Tensor) -> None:
        self.step, self.rows = step, rows

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []
        for name, new in (("keys", keys), ("values", values)):
            buffer: Tensor = getattr(self.step, f"{name}_{layer}")
            buffer.index_copy_(0, self.rows, new[:, :, 0])
            sequences = buffer.view(self.step.batch, self.step.length, *buffer.shape[1:])
            kept.append(sequences.transpose(1, 2))
        return kept[0], kept[1]

    def get_seq_length(self, layer: int = 0) -> int:
        return 0

    def get_mask_sizes(self, *_: Any) -> tuple[int, int]:
        return self.step.length, 0

    def get_max_cache_shape(self, layer: int = 0) -> int:
        return self.step.length
