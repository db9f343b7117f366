"""Tables of positions: embeddings that a model reads at each token's position, some rows further on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

TOKENS = 5
"""Tokens of the text on which a model is watched."""


class PositionTables:
    """The tables of a model by the names of their weights, and what is added to a position to find its row.

    A model reads a table of positions at position + offset whatever its tokens are, and counts positions from its
    arguments, from the length of its cache, or from its tokens, leaving out those that are padding. A cached step
    has positions of its own, which take the place of these.

    Attributes:
        offsets: by the weight's name; 2 where BART's decoders read it, the padding's id + 1 where RoBERTa does.
        skipped: the id of padding if tokens behind one are not counted as one further on.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.offsets: dict[str, int] = {}
        self.skipped: int | None = None
        known: Any = model.get_input_embeddings()  # type: ignore[operator]
        tables = [part for part in model.modules() if isinstance(part, nn.Embedding) and part is not known]
        if not tables:
            return
        padding: int | None = getattr(model.config, "pad_token_id", None)
        word = 0 if padding != 0 else 1
        read = self._rows_read([word] * TOKENS)
        self.offsets = {
            name: rows[0] for name, rows in read.items() if rows == list(range(rows[0], rows[0] + TOKENS))
        }
        if self.offsets and padding is not None:
            with_padding = self._rows_read([word, padding, *[word] * (TOKENS - 2)])
            if any(with_padding.get(name) != read[name] for name in self.offsets):
                self.skipped = padding

    @property
    def length(self) -> int | None:
        """Positions that all tables have, None without one."""
        return min(
            (len(self.model.get_parameter(name)) - offset for name, offset in self.offsets.items()),
            default=None,
        )

    def read_at(self, positions: Tensor) -> TorchFunctionMode:
        """A context where the tables are read at these positions [batch, n]."""
        weights = {name: self.model.get_parameter(name) for name in self.offsets}
        return _ReadAt(positions, [(weights[name], offset) for name, offset in self.offsets.items()])

    @torch.no_grad()
    def _rows_read(self, ids: list[int]) -> Mapping[str, list[int]]:
        """What each embedding of so many rows as there are tokens was read at; the last reading counts."""
        names = {id(weight): name for name, weight in self.model.named_parameters()}
        with _Watched() as watched:
            self.model(torch.tensor([ids]), use_cache=False)
        return {
            names[id(weight)]: rows.flatten().tolist()
            for rows, weight in watched.read
            if id(weight) in names and rows.numel() == len(ids)
        }


class _Watched(TorchFunctionMode):
    """Notes what embeddings are read at."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.embedding:
            self.read.append((args[0], args[1]))
        return func(*args, **(kwargs or {}))


class _ReadAt(TorchFunctionMode):
    """Reads tables at positions, whatever the model counts."""

    def __init__(self, positions: Tensor, tables: list[tuple[Tensor, int]]) -> None:
        super().__init__()
        self.positions, self.tables = positions, tables

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.embedding:
            offset = next((offset for weight, offset in self.tables if weight is args[1]), None)
            if offset is not None:
                one = args[0].ndim == 1 and len(self.positions) == 1
                rows = self.positions[0] if one else self.positions
                return func(rows + offset if offset else rows, *args[1:], **(kwargs or {}))
        return func(*args, **(kwargs or {}))
