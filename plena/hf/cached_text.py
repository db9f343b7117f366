"""A text being read and written: which program takes the next tokens, and which of them its cache holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from plena.errors import PlenaError
from plena.hf.language_programs import DECODE, PREFILL, LanguagePrograms
from plena.program.state import KeptState, StateView

WORTH = 4
"""Tokens from which on a prefill of a whole bucket is worth its time."""


@dataclass
class CachedText:
    """One text and its cache of keys and values.

    Attributes:
        programs: of the model; other texts may have theirs run between two tokens of this one.
        tokens: those in the cache, in order. An interrupted call leaves the ones that were whole.
    """

    programs: LanguagePrograms
    tokens: list[int] = field(default_factory=list[int])
    _states: dict[str, KeptState] = field(init=False, repr=False)
    _holder: str = ""
    """The program whose states are the cache."""

    def __post_init__(self) -> None:
        self._states = self.programs.empty_cache()

    def reset(self) -> None:
        """An empty cache."""
        self.tokens.clear()
        self._holder = ""

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """The logits [vocabulary] of the token behind `ids`; what the cache holds of them is not computed again.

        Raises:
            PlenaError: no tokens, or more than the cache has positions; the cache is as it was.
        """
        if not ids:
            raise PlenaError("there is no token", "generate", "Give a prompt of at least one token.")
        length = self.programs.length
        if len(ids) > length:
            raise PlenaError(
                f"{len(ids)} tokens do not fit the cache of {length} positions",
                "generate",
                "Give a shorter prompt or fewer new tokens, or compile with a larger max_length.",
            )
        known = next(
            (n for n, (a, b) in enumerate(zip(self.tokens, ids, strict=False)) if a != b),
            min(len(self.tokens), len(ids)),
        )
        start, last = min(known, len(ids) - 1), len(ids) - 1
        del self.tokens[start:]
        chunks = self.programs.chunks
        while last - start >= WORTH and chunks:
            chunk = next((c for c in chunks if c <= last - start), min(chunks))
            first = max(0, min(start, length - chunk))
            part = list(ids[first : min(first + chunk, last)])
            padded = part + [part[-1]] * (chunk - len(part))
            self._run(f"{PREFILL}-{chunk}", padded, first)
            start = first + len(part)
            self.tokens[:] = ids[:start]
        for position in range(start, len(ids)):
            found = self._run(self.decoder(position), [ids[position]], position)
            self.tokens[:] = ids[: position + 1]
        return found[0]  # pyright: ignore[reportPossiblyUnboundVariable]

    def decoder(self, position: int) -> str:
        """The program that takes the token at a position."""
        return f"{DECODE}-{next(b for b in self.programs.buckets if b > position)}"

    def hold(self, name: str) -> None:
        """Hand the cache to a program, whose references then see it too."""
        self._hand_over(name)
        kept = self.programs.programs[name].kept
        assert kept is not None
        kept.hold(self._states[name])

    def _run(self, name: str, ids: Sequence[int], first: int) -> torch.Tensor:
        self._hand_over(name)
        return self.programs.run(name, ids, first, self._states[name])

    def _hand_over(self, name: str) -> None:
        """The cache goes to a program, as many rows as are in use."""
        if self._holder == name:
            return
        states = self._states[name]
        states.reset()
        if self._holder and self.tokens:
            before, count = StateView(self._states[self._holder]), len(self.tokens)
            rows = dict(StateView(states))
            for state, tensor in before.items():
                rows[state][:, :, :count] = tensor[:, :, :count]
            states.assign(rows)
        self._holder = name
