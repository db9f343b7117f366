"""Texts being read and written: which program takes their next tokens, and which of them the caches hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from plena.errors import PlenaError
from plena.hf.language_programs import DECODE, PREFILL, LanguagePrograms
from plena.program.state import KeptState

WORTH = 4
"""Tokens from which on a prefill of a whole bucket is worth its time."""

Array = np.typing.NDArray[np.float32]


@dataclass
class CachedTexts:
    """As many texts as the decode programs take sequences, each with its rows of the caches: its slot.

    Attributes:
        programs: of the model; other texts may have theirs run between two tokens of these.
        tokens: those in the cache by slot, in order. An interrupted call leaves the ones that were whole.
    """

    programs: LanguagePrograms
    tokens: list[list[int]] = field(init=False)
    _states: dict[str, list[KeptState]] = field(init=False, repr=False)
    _holders: list[str] = field(init=False)
    """A program in whose states the cache of a slot is; others may have the same ones."""

    def __post_init__(self) -> None:
        self._states = self.programs.empty_caches()
        self.reset()

    def reset(self) -> None:
        """Empty caches."""
        self.tokens = [[] for _ in range(self.programs.batch)]
        self._holders = [""] * self.programs.batch

    def logits(self, texts: Sequence[Sequence[int] | None]) -> list[torch.Tensor | None]:
        """The logits [vocabulary] of the token behind each text; what the caches hold of them is not computed again.

        Args:
            texts: ids by slot, None where nothing is asked.

        Raises:
            PlenaError: no tokens, or more than a cache has positions; the caches are as they were.
        """
        asked = {slot: list(ids) for slot, ids in enumerate(texts) if ids is not None}
        for ids in asked.values():
            self._require_fit(ids)
        for slot, ids in asked.items():
            self._forget_others(slot, ids)
            self._share(slot, ids)
            self._prefill(slot, ids)
        found: list[torch.Tensor | None] = [None] * len(texts)
        while True:
            rest = {slot: ids for slot, ids in asked.items() if len(self.tokens[slot]) < len(ids)}
            if not rest:
                return found
            name, ids, positions = self.next_step(rest)
            result = self.programs.run(name, ids, positions, self._place(name, 0)[0])
            for slot, whole in rest.items():
                self.tokens[slot].append(whole[len(self.tokens[slot])])
                found[slot] = result[slot]

    def next_step(self, texts: Mapping[int, Sequence[int]]) -> tuple[str, torch.Tensor, torch.Tensor]:
        """The decode program for the next token of some texts, ids and positions [batch, 1]; it has the caches then.

        A slot where nothing is asked gets a token behind its text, which overwrites nothing. A full one has no such
        row: the last token that the bucket sees whole is computed once more.
        """
        last = max(len(self.tokens[slot]) for slot in texts)
        bucket = next(b for b in self.programs.buckets if b > last)
        name = f"{DECODE}-{bucket}"
        self._hand_over(name, texts)
        ids, positions = list[int](), list[int]()
        for slot, known in enumerate(self.tokens):
            free = len(known) if len(known) < self.programs.length else bucket - 1
            position = free if self._is_held(slot, name) else 0
            text = texts.get(slot, known)
            ids.append(text[position] if position < len(text) else 0)
            positions.append(position)
        return name, torch.tensor(ids)[:, None], torch.tensor(positions)[:, None]

    def show(self, name: str) -> None:
        """A decode program gets the states, which its references then see, too."""
        kept = self.programs.programs[name].kept
        assert kept is not None
        kept.hold(self._place(name, 0)[0])

    def _require_fit(self, ids: Sequence[int]) -> None:
        if not ids:
            raise PlenaError("there is no token", "generate", "Give a prompt of at least one token.")
        if len(ids) > self.programs.length:
            raise PlenaError(
                f"{len(ids)} tokens do not fit the cache of {self.programs.length} positions",
                "generate",
                "Give a shorter prompt or fewer new tokens, or compile with a larger max_length.",
            )

    def _forget_others(self, slot: int, ids: Sequence[int]) -> None:
        """The cache keeps what a text begins with, its last token apart, which has to be computed."""
        del self.tokens[slot][_alike(self.tokens[slot], ids[:-1]) :]

    def _share(self, slot: int, ids: Sequence[int]) -> None:
        """Where another text begins alike, its rows are copied: several answers to a prompt read it once."""
        shared = {other: _alike(known, ids[:-1]) for other, known in enumerate(self.tokens) if other != slot}
        other = max(shared, key=lambda n: shared[n], default=slot)
        if shared.get(other, 0) - len(self.tokens[slot]) < WORTH:
            return
        name, count = self._holders[other], shared[other]
        into = self._place(name, slot)[0]
        states = {state: into.array(state) for state in into.ports}
        for state, whole in states.items():
            self._rows(whole, name, slot)[:count] = self._held(state, other)[:count]
        into.assign(states)
        self._holders[slot] = name
        self.tokens[slot][:] = ids[:count]

    def _prefill(self, slot: int, ids: Sequence[int]) -> None:
        """Chunks of a text, up to its last token or to a rest that single tokens do as well."""
        last, chunks = len(ids) - 1, self.programs.chunks
        while last - (start := len(self.tokens[slot])) >= WORTH and chunks:
            chunk = next((c for c in chunks if c <= last - start), min(chunks))
            first = max(0, min(start, self.programs.length - chunk))
            part = list(ids[first : min(first + chunk, last)])
            padded = torch.tensor([part + [part[-1]] * (chunk - len(part))])
            positions = torch.arange(first, first + chunk)[None]
            name = f"{PREFILL}-{chunk}"
            self._hand_over(name, [slot])
            self.programs.run(name, padded, positions, self._place(name, slot)[0])
            self.tokens[slot][:] = ids[: first + len(part)]

    def _place(self, name: str, slot: int) -> tuple[KeptState, int]:
        """The states of a program that have the rows of a slot, and which sequence it is there."""
        group, sequence = divmod(slot, self.programs.sequences(name))
        return self._states[name][group], sequence

    def _is_held(self, slot: int, name: str) -> bool:
        """Whether the cache of a slot is in the states of a program."""
        return self._states.get(self._holders[slot]) is self._states[name]

    def _hand_over(self, name: str, slots: Iterable[int]) -> None:
        """Caches go to a program that has other states, as many rows as are in use."""
        moving = [slot for slot in slots if not self._is_held(slot, name)]
        full = [slot for slot in moving if self._holders[slot] and self.tokens[slot]]
        if full:
            into = self._place(name, full[0])[0]
            into.assign({state: self._with_rows_of(full, name, state) for state in into.ports})
        for slot in moving:
            self._holders[slot] = name

    def _with_rows_of(self, slots: Sequence[int], name: str, state: str) -> Array:
        """A state of a program with the rows that some slots have elsewhere."""
        whole = self._place(name, slots[0])[0].array(state)
        for slot in slots:
            count = len(self.tokens[slot])
            self._rows(whole, name, slot)[:count] = self._held(state, slot)[:count]
        return whole

    def _held(self, state: str, slot: int) -> Array:
        """The rows of a slot where they are."""
        name = self._holders[slot]
        return self._rows(self._place(name, slot)[0].array(state), name, slot)

    def _rows(self, whole: Array, name: str, slot: int) -> Array:
        """The part [positions, heads, size] of a state that is a slot's."""
        sequence = self._place(name, slot)[1]
        return whole.reshape(self.programs.sequences(name), -1, *whole.shape[1:])[sequence]


def _alike(known: Sequence[int], ids: Sequence[int]) -> int:
    """How many tokens two texts have in common at the beginning."""
    pairs = enumerate(zip(known, ids, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(known), len(ids)))


__all__ = ["CachedTexts"]
