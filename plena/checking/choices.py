"""Choices of experts in the quantised reference: where scores are nearly equal it follows the program.

The program rounds the scores of a router, and where two of them are nearly equal it may choose the other one. That is
no error, but what follows has little to do with the reference. Which one it has chosen is found out by the results:
the reference runs with the other choice, and keeps it if its results are closer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch.fx import Node

from plena.errors import PlenaError
from plena.frontend.operators import bind_arguments
from plena.frontend.refusals import place_of
from plena.program.near_ties import NEAR, STEPS, NearTie

MOST = 128
"""So many runs are tried."""

DEPTH = 3
"""So many of the last experts that are chosen, and of the first that are not, may change places."""

CLOSER = 0.99
"""The squared error that must remain at most of that with the other choice."""

ROW_CLOSER = 0.8
"""The same of one row, where the rows choose again in one run."""

Key = tuple[str, int, int, int]
"""The node of a choice, the row, and the ranks of the expert that goes out and of the one that comes in."""

_PAIRS = sorted(((out, into) for out in range(DEPTH) for into in range(DEPTH)), key=sum)
"""How far before the last expert that is chosen, how far behind the first that is not; the nearest first."""


@dataclass
class Choices:
    """What a run of the graph chooses; of equal scores the first, as the machine does.

    Attributes:
        other: the experts that change places.
        forced: ids by node, instead of any choice.
        ties: near ties of the last run, in its order.
        ids: what it chose, by node.
    """

    other: frozenset[Key] = frozenset()
    forced: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])
    ties: dict[Key, NearTie] = field(default_factory=dict[Key, NearTie])
    ids: dict[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])

    def result(self, node: Node, scores: torch.Tensor, value: Any) -> Any:
        """The values and ids of a topk, a sort or a max along the last axis, or the ids of an argmax, in place of what
        torch gave.

        Raises:
            PlenaError: a score is NaN.
        """
        number = chosen_by(node)
        if number is None or number >= scores.shape[-1]:
            return value
        rows = scores.reshape(-1, scores.shape[-1])
        _require_numbers(node, rows)
        order = rows.sort(dim=-1, descending=True, stable=True).indices
        alone = isinstance(value, torch.Tensor)
        shape = value.shape if alone else value[1].shape
        ids = order.clone()
        for name, row, out, into in self.other:
            if name == node.name:
                ids[row, out], ids[row, into] = order[row, into], order[row, out]
        ids = self.forced.get(node.name, ids[:, : shape.numel() // len(rows)].contiguous())
        self.ids[node.name] = ids
        self._note(node, rows, order, number)
        found = ids.reshape(shape)
        return found if alone else type(value)((rows.gather(-1, ids).reshape(shape), found))

    def _note(self, node: Node, rows: torch.Tensor, order: torch.Tensor, number: int) -> None:
        ranked = rows.gather(-1, order)
        finite = torch.where(ranked.isfinite(), ranked, ranked[:, :1])
        span = (ranked[:, 0] - finite.amin(-1)).clamp(min=1e-30)
        for before, behind in _PAIRS:
            out, into = number - 1 - before, number + behind
            if out < 0 or into >= rows.shape[-1]:
                continue
            apart = ranked[:, out] - ranked[:, into]
            gaps = apart / span
            alike = apart <= STEPS * ranked[:, out].abs()
            for row in torch.nonzero((gaps < NEAR) | alike).flatten().tolist():
                ids = int(order[row, into]), int(order[row, out])
                tie = NearTie(place_of(node) or node.name, row, *ids, float(gaps[row]))
                self.ties[node.name, row, out, into] = tie

    def others_of(self, name: str) -> dict[int, list[tuple[Key, ...]]]:
        """What near ties of a node let happen to each row: one expert or two that change places, the nearest first."""
        found: dict[int, list[tuple[Key, ...]]] = {}
        for key in self.ties:
            if key[0] == name:
                found.setdefault(key[1], []).append((key,))
        for changes in found.values():
            singles = [key for (key,) in changes]
            changes += [(a, b) for a, b in combinations(singles, 2) if a[2] != b[2] and a[3] != b[3]]
        return found

    def with_other(self, keys: Collection[Key]) -> Choices:
        """With these experts changing places too, instead of what is at odds with that."""
        new = {(name, row, rank) for name, row, *ranks in keys for rank in ranks}
        kept = {
            (name, row, out, into)
            for name, row, out, into in self.other
            if (name, row, out) not in new and (name, row, into) not in new
        }
        return Choices(frozenset(kept | set(keys)))


def chosen_by(node: Node) -> int | None:
    """How many a node chooses along the last axis, None if it does something else."""
    name = str(node.target)
    if name not in _CHOOSING or not node.args or not isinstance(node.args[0], Node):
        return None
    a, scores = bind_arguments(node), node.args[0].meta["val"]
    if a["dim"] not in (-1, scores.ndim - 1) or not scores.is_floating_point():
        return None
    match name:
        case "aten.topk.default":
            return a["k"] if a["largest"] else None
        case "aten.argmax.default":
            return 1
        case "aten.max.dim":
            reads_ids = any(user.args[1] == 1 and user.users for user in node.users)
            return 1 if reads_ids else None
        case _:
            return _first_of_sorted(node) if a["descending"] else None


_CHOOSING = (
    "aten.topk.default",
    "aten.argmax.default",
    "aten.max.dim",
    "aten.sort.default",
    "aten.sort.stable",
)


def _first_of_sorted(node: Node) -> int | None:
    """How many numbers of a sort are read, the first ones, None if others are too."""
    readers = [reader for result in node.users for reader in result.users]
    if not readers or any(str(reader.target) != "aten.slice.Tensor" for reader in readers):
        return None
    ends: set[int] = set()
    for reader in readers:
        a, shape = bind_arguments(reader), reader.args[0].meta["val"].shape  # pyright: ignore
        if a["dim"] % len(shape) != len(shape) - 1 or a["start"] not in (None, 0) or a["step"] != 1:
            return None
        ends.add(reader.meta["val"].shape[-1])
    return max(ends)


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
    error, left, done = _row_errors(outputs, results), MOST, set[str]()

    def attempt(keys: Collection[Key]) -> None:
        """Keeps these changes if the whole error is small enough."""
        nonlocal choices, outputs, error, left
        left -= 1
        trial = choices.with_other(keys)
        found = run(trial)
        now = _row_errors(found, results)
        if now.sum() <= CLOSER * error.sum():
            choices, outputs, error = trial, found, now

    while left > 0 and (name := next((key[0] for key in choices.ties if key[0] not in done), None)):
        done.add(name)
        changes = choices.others_of(name)
        if len(changes) == 1 or len(error) != len(choices.ids[name]):
            for keys in [keys for row in changes.values() for keys in row][:left]:
                attempt(keys)
            continue
        # Rows choose apart, as far as attention does not mix them: one change of every row at once.
        best: dict[int, tuple[float, tuple[Key, ...]]] = {
            row: (ROW_CLOSER * float(error[row]), ()) for row in changes
        }
        for number in range(min(left - 1, max(map(len, changes.values())))):
            tried = {row: keys[number] for row, keys in changes.items() if number < len(keys)}
            left -= 1
            trial = choices.with_other([key for keys in tried.values() for key in keys])
            now = _row_errors(run(trial), results)
            best.update(
                {row: (float(now[row]), keys) for row, keys in tried.items() if now[row] < best[row][0]}
            )
        closer = [key for _, keys in best.values() for key in keys]
        if closer:
            attempt(closer)
    changed = tuple(choices.ties[key] for key in sorted(choices.other) if key in choices.ties)
    return outputs, choices, changed


def _row_errors(outputs: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> torch.Tensor:
    """Squared errors by row of all outputs together; of the whole if they have not the same rows."""
    differences = [(a.double() - b.double()).nan_to_num() for a, b in zip(outputs, results, strict=True)]
    squares = [difference.reshape(-1, *difference.shape[-1:]).square().sum(-1) for difference in differences]
    if len({len(rows) for rows in squares}) == 1:
        return torch.stack(squares).sum(0)
    return torch.stack([rows.sum() for rows in squares]).sum(0, keepdim=True)
