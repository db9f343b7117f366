"""The programs of one language model: which there are, running them on one text or another, and what that moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from plena.assembly import decode
from plena.errors import PlenaError
from plena.program.state import KeptState
from plena.statistics.payload import payload_bytes

if TYPE_CHECKING:
    from plena.api.program import Program

DECODE, PREFILL = "decode", "prefill"


@dataclass
class LanguagePrograms:
    """Programs of one model, which know no text: the states that are the caches of texts are given to each run.

    Attributes:
        programs: "decode-128" takes one token of each sequence at positions below 128, "prefill-64" takes 64 tokens of
            one sequence and, where there are several, which one that is. All have the same states.
        skipped: the padding's id if the model does not count it in positions, which the programs do.
        runs: how often each program ran since `forget_runs`.
        read, written: bytes of HBM that these runs moved, 64 for each word.
    """

    programs: Mapping[str, Program]
    skipped: int | None = None
    runs: Counter[str] = field(default_factory=Counter[str])
    read: int = 0
    written: int = 0
    _payload: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]], repr=False)

    def __post_init__(self) -> None:
        forms = {name: None if p.kept is None else p.kept.form for name, p in self.programs.items()}
        first, *others = forms
        other = next((name for name in others if forms[name] != forms[first]), None)
        if other is not None or forms[first] is None:
            raise PlenaError(
                f"{first} and {other or 'the others'} have no cache in common",
                "programs",
                "Compile the model again, all programs with the same options.",
            )

    @property
    def length(self) -> int:
        """Positions that a cache has."""
        return max(self.buckets)

    @property
    def buckets(self) -> list[int]:
        """Keys that the decode programs attend to, ascending."""
        return sorted(_size(name) for name in self.programs if name.startswith(DECODE))

    @property
    def chunks(self) -> list[int]:
        """Tokens that the prefill programs take, descending."""
        return sorted((_size(name) for name in self.programs if name.startswith(PREFILL)), reverse=True)

    @property
    def batch(self) -> int:
        """Sequences of which the decode programs take a token each."""
        return self.programs[f"{DECODE}-{self.length}"].inputs[0].shape[0]

    def empty_cache(self) -> KeptState:
        """A state for `batch` texts, which all programs read and write; sequence b of it is slot b."""
        kept = next(iter(self.programs.values())).kept
        assert kept is not None
        found = kept.copy()
        found.reset()
        return found

    def run(
        self, name: str, ids: torch.Tensor, positions: torch.Tensor, states: KeptState, slot: int = 0
    ) -> torch.Tensor:
        """What a program gives for tokens at positions, both [sequences, n]; `states` are those after it.

        Args:
            slot: whose tokens those of one sequence are.

        Raises:
            PlenaError: ids out of range; the states are as they were.
        """
        program = self.programs[name]
        assert program.kept is not None
        program.kept.hold(states)
        slots = (torch.tensor([slot]),) if name.startswith(PREFILL) and self.batch > 1 else ()
        result = program.emulate(ids, positions, *slots, progress=False)
        states.hold(program.kept)
        self.runs[name] += 1
        self.read += result.hbm_bytes_read
        self.written += result.hbm_bytes_written
        return program.results(result)

    def forget_runs(self) -> None:
        """Count from here on."""
        self.runs.clear()
        self.read = self.written = 0

    def payload(self) -> tuple[int, int]:
        """Bytes of elements and scales that the runs read from HBM, and wrote."""
        moved = [(self._moved(name), count) for name, count in self.runs.items()]
        return sum(read * n for (read, _), n in moved), sum(written * n for (_, written), n in moved)

    def _moved(self, name: str) -> tuple[int, int]:
        if name not in self._payload:
            program = self.programs[name]
            self._payload[name] = payload_bytes(decode(program.words), program.target)
        return self._payload[name]


def _size(name: str) -> int:
    return int(name.rpartition("-")[2])
