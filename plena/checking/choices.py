"""Choices of experts in the quantised reference: where scores are nearly equal it follows the program.

The program rounds the scores of a router, and where two of them are nearly equal it may choose the other one. That is
no error, but what follows has little to do with the reference. Which one it has chosen is found out by the results:
the reference runs with the other choice, and keeps it if its results are closer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node

from plena.errors import PlenaError
from plena.frontend.refusals import place_of
from plena.program.near_ties import NEAR, STEPS, NearTie

MOST = 64
"""So many near ties are tried."""

CLOSER = 0.99
"""The squared error that must remain at most of that with the other choice."""

Key = tuple[str, int]
"""The node of a choice and the row."""


@dataclass
class Choices:
    """What a run of the graph chooses; of equal scores the first, as the machine does.

    Attributes:
        other: rows for which the first expert that is not chosen comes in for the last one that is.
        forced: ids by node, instead of any choice.
        ties: near ties of the last run, in its order.
        ids: what it chose, by node.
    """

    other: frozenset[Key] = frozenset()
    forced: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    ties: dict[Key, NearTie] = field(default_factory=dict[Key, NearTie])
    ids: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])

    def result(self, node: Node, scores: torch.Tensor, value: Any) -> Any:
        """The values and ids of a topk, or of a max along the last axis, in place of what torch gave.

        Raises:
            PlenaError: a score is NaN.
        """
        number = chosen_by(node)
        if number is None or number >= scores.shape[-1]:
            return value
        rows = scores.reshape(-1, scores.shape[-1])
        _require_numbers(node, rows)
        order = rows.sort(dim=-1, descending=True, stable=True).indices
        ids = order[:, :number].clone()
        flipped = [row for name, row in self.other if name == node.name]
        ids[flipped, number - 1] = order[flipped, number]
        ids = self.forced.get(node.name, ids)
        self.ids[node.name] = ids
        self._note(node, rows, order, number, set(flipped))
        return type(value)((rows.gather(-1, ids).reshape(value[0].shape), ids.reshape(value[1].shape)))

    def _note(
        self, node: Node, rows: torch.Tensor, order: torch.Tensor, number: int, flipped: set[int]
    ) -> None:
        ranked = rows.gather(-1, order)
        finite = torch.where(ranked.isfinite(), ranked, ranked[:, :1])
        span = (ranked[:, 0] - finite.amin(-1)).clamp(min=1e-30)
        apart = ranked[:, number - 1] - ranked[:, number]
        gaps = apart / span
        alike = apart <= STEPS * ranked[:, number - 1].abs()
        for row in torch.nonzero((gaps < NEAR) | alike).flatten().tolist():
            last, following = (int(order[row, number - 1 + n]) for n in (0, 1))
            if row not in flipped:
                last, following = following, last
            self.ties[node.name, row] = NearTie(
                place_of(node) or node.name, row, following, last, float(gaps[row])
            )


def chosen_by(node: Node) -> int | None:
    """How many a node chooses along the last axis, None if it does something else."""
    name = str(node.target)
    meta = node.meta.get("val")
    if not isinstance(meta, list | tuple) or not node.args or not isinstance(node.args[0], Node):
        return None
    rank = node.args[0].meta["val"].ndim
    if name == "aten.topk.default":
        largest = len(node.args) < 4 or bool(node.args[3])
        is_last = len(node.args) < 3 or node.args[2] in (-1, rank - 1)
        return meta[0].shape[-1] if is_last and largest else None
    if name == "aten.max.dim" and node.args[1] in (-1, rank - 1):
        reads_ids = any(user.args[1] == 1 and user.users for user in node.users)
        return 1 if reads_ids else None
    return None


def _require_numbers(node: Node, rows: torch.Tensor) -> None:
    bad = torch.nonzero(rows.isnan().any(-1)).flatten().tolist()
    if bad:
        raise PlenaError(
            f"the scores of token {bad[0]} are NaN, so no expert can be chosen for it",
            place_of(node) or node.name,
            "Look at what the layers before it compute of this input: something overflows, or divides by zero.",
        )


def follow(
    run: Callable[[Choices], Sequence[torch.Tensor]], results: Sequence[torch.Tensor]
) -> tuple[Sequence[torch.Tensor], Choices, tuple[NearTie, ...]]:
    """The run that chooses what a program has chosen, as far as its results tell.

    Args:
        run: gives the outputs with some choices.
        results: of the program.

    Returns: the outputs, the choices, and where they are not those of the reference left alone.
    """
    choices = Choices()
    outputs = run(choices)
    error, tried = _error(outputs, results), set[Key]()
    while len(tried) < MOST:
        key = next((key for key in choices.ties if key not in tried), None)
        if key is None:
            break
        tried.add(key)
        trial = Choices(choices.other | {key})
        found = run(trial)
        now = _error(found, results)
        if now <= CLOSER * error:
            choices, outputs, error = trial, found, now
    changed = tuple(tie for key, tie in choices.ties.items() if key in choices.other)
    return outputs, choices, changed


def _error(outputs: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> float:
    differences = [(a.double() - b.double()).nan_to_num() for a, b in zip(outputs, results, strict=True)]
    return sum(float((difference**2).sum()) for difference in differences)
