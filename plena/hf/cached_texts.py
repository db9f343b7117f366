"""Texts being read and written: which program takes their next tokens, and which of them the caches hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from plena.errors import PlenaError
from plena.hf.language_programs import DECODE, PREFILL, LanguagePrograms
from plena.program.state import KeptState

WORTH = 4
"""Tokens from which on a prefill of a whole bucket is worth its time."""


@dataclass
class CachedTexts:
    """As many texts as the decode programs take sequences, each with its rows of the caches: its slot.

    Attributes:
        programs: of the model; other texts may have theirs run between two tokens of these.
        tokens: those in the cache by slot, in order. An interrupted call leaves the ones that were whole.
    """

    programs: LanguagePrograms
    tokens: list[list[int]] = field(init=False)
    _states: KeptState = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._states = self.programs.empty_cache()
        self.reset()

    def reset(self) -> None:
        """Empty caches."""
        self.tokens = [[] for _ in range(self.programs.batch)]

    def logits(self, texts: Sequence[Sequence[int] | None]) -> list[torch.Tensor | None]:
        """The logits [vocabulary] of the token behind each text; what the caches hold of them is not computed again.

        Args:
            texts: ids by slot, None where nothing is asked.

        Raises:
            PlenaError: no tokens, padding that the model does not count, or more than a cache has positions; the
                caches are as they were.
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
            result = self.programs.run(name, ids, positions, self._states)
            for slot, whole in rest.items():
                self.tokens[slot].append(whole[len(self.tokens[slot])])
                found[slot] = result[slot]

    def next_step(self, texts: Mapping[int, Sequence[int]]) -> tuple[str, torch.Tensor, torch.Tensor]:
        """The decode program for the next token of some texts, ids and positions [batch, 1].

        A slot where nothing is asked gets a token behind its text, which overwrites nothing. A full one has no such
        row: the last token that the bucket sees whole is computed once more.
        """
        last = max(len(self.tokens[slot]) for slot in texts)
        bucket = next(b for b in self.programs.buckets if b > last)
        name = f"{DECODE}-{bucket}"
        ids, positions = list[int](), list[int]()
        for slot, known in enumerate(self.tokens):
            position = len(known) if len(known) < self.programs.length else bucket - 1
            text = texts.get(slot, known)
            ids.append(text[position] if position < len(text) else 0)
            positions.append(position)
        return name, torch.tensor(ids)[:, None], torch.tensor(positions)[:, None]

    def show(self, name: str) -> None:
        """A decode program gets the states, which its references then see, too."""
        kept = self.programs.programs[name].kept
        assert kept is not None
        kept.hold(self._states)

    def _require_fit(self, ids: Sequence[int]) -> None:
        if not ids:
            raise PlenaError("there is no token", "generate", "Give a prompt of at least one token.")
        if self.programs.skipped in ids:
            raise PlenaError(
                f"token {self.programs.skipped} is padding, behind which this model counts positions otherwise",
                "generate",
                "Leave it out, or hide it by 0 in attention_mask.",
            )
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
        count, length = shared[other], self.programs.length
        self._states.copy_rows(other * length, slot * length, count)
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
            self.programs.run(f"{PREFILL}-{chunk}", padded, positions, self._states, slot)
            self.tokens[slot][:] = ids[: first + len(part)]


def _alike(known: Sequence[int], ids: Sequence[int]) -> int:
    """How many tokens two texts have in common at the beginning."""
    pairs = enumerate(zip(known, ids, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(known), len(ids)))


__all__ = ["CachedTexts"]
