"""A text being read and written: which program takes the next tokens, and which of them the cache holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from plena.assembly import decode
from plena.errors import PlenaError
from plena.statistics.payload import payload_bytes

if TYPE_CHECKING:
    from plena.api.program import Program

DECODE, PREFILL = "decode", "prefill"

WORTH = 4
"""Tokens from which on a prefill of a whole bucket is worth its time."""


@dataclass
class CachedText:
    """Programs of one model and the tokens whose keys and values the cache holds.

    Attributes:
        programs: "decode-128" takes one token at a position below 128, "prefill-64" takes 64 tokens.
        tokens: those in the cache, in order.
        runs: how often each program ran since `forget_runs`.
        read, written: bytes of HBM that these runs moved, 64 for each word.
    """

    programs: Mapping[str, Program]
    tokens: list[int] = field(default_factory=list[int])
    runs: Counter[str] = field(default_factory=Counter[str])
    read: int = 0
    written: int = 0
    _payload: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]], repr=False)
    _holder: str = ""
    """The program whose states are the cache."""

    @property
    def length(self) -> int:
        """Positions that the cache has."""
        return max(self.buckets)

    @property
    def buckets(self) -> list[int]:
        """Keys that the decode programs attend to, ascending."""
        return sorted(_size(name) for name in self.programs if name.startswith(DECODE))

    @property
    def chunks(self) -> list[int]:
        """Tokens that the prefill programs take, descending."""
        return sorted((_size(name) for name in self.programs if name.startswith(PREFILL)), reverse=True)

    def reset(self) -> None:
        """An empty cache."""
        self.tokens.clear()
        self._holder = ""

    def forget_runs(self) -> None:
        """Count from here on."""
        self.runs.clear()
        self.read = self.written = 0

    def payload(self) -> tuple[int, int]:
        """Bytes of elements and scales that these runs read from HBM, and wrote."""
        moved = [(self._moved(name), count) for name, count in self.runs.items()]
        return sum(read * n for (read, _), n in moved), sum(written * n for (_, written), n in moved)

    def _moved(self, name: str) -> tuple[int, int]:
        if name not in self._payload:
            program = self.programs[name]
            self._payload[name] = payload_bytes(decode(program.words), program.target)
        return self._payload[name]

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """The logits [vocabulary] of the token behind `ids`; what the cache holds of them is not computed again.

        Raises:
            PlenaError: no tokens, or more than the cache has positions; the cache is as it was.
        """
        if not ids:
            raise PlenaError("there is no token", "generate", "Give a prompt of at least one token.")
        if len(ids) > self.length:
            raise PlenaError(
                f"{len(ids)} tokens do not fit the cache of {self.length} positions",
                "generate",
                "Give a shorter prompt or fewer new tokens, or compile with a larger max_length.",
            )
        known = next(
            (n for n, (a, b) in enumerate(zip(self.tokens, ids, strict=False)) if a != b),
            min(len(self.tokens), len(ids)),
        )
        start, last = min(known, len(ids) - 1), len(ids) - 1
        del self.tokens[start:]
        while last - start >= WORTH and self.chunks:
            chunk = next((c for c in self.chunks if c <= last - start), min(self.chunks))
            first = max(0, min(start, self.length - chunk))
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
        return f"{DECODE}-{next(b for b in self.buckets if b > position)}"

    def _run(self, name: str, ids: Sequence[int], first: int) -> torch.Tensor:
        program = self.programs[name]
        self.hand_over(name)
        positions = torch.arange(first, first + len(ids))
        result = program.emulate(torch.tensor([list(ids)]), positions, progress=False)
        self.runs[name] += 1
        self.read += result.hbm_bytes_read
        self.written += result.hbm_bytes_written
        return program.results(result)

    def hand_over(self, name: str) -> None:
        """The cache goes to a program, as many rows as are in use."""
        if self._holder == name:
            return
        before, program = self.programs.get(self._holder), self.programs[name]
        program.reset()
        if before is not None and self.tokens:
            count = len(self.tokens)
            states: dict[str, Any] = dict(program.state)
            for state, tensor in before.state.items():
                states[state][:, :, :count] = tensor[:, :, :count]
            program.state = states
        self._holder = name


def _size(name: str) -> int:
    return int(name.rpartition("-")[2])
