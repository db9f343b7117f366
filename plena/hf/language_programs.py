"""The programs of one language model: which there are, running them on one text or another, and what that moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from plena.assembly import decode
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
            one sequence.
        runs: how often each program ran since `forget_runs`.
        read, written: bytes of HBM that these runs moved, 64 for each word.
    """

    programs: Mapping[str, Program]
    runs: Counter[str] = field(default_factory=Counter[str])
    read: int = 0
    written: int = 0
    _payload: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]], repr=False)

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
        return self.sequences(f"{DECODE}-{self.length}")

    def sequences(self, name: str) -> int:
        """Sequences that a program takes."""
        return self.programs[name].inputs[0].shape[0]

    def empty_caches(self) -> dict[str, list[KeptState]]:
        """States for `batch` texts by the names of programs, one behind the other for those of fewer sequences.

        Programs whose caches have the same form have one and the same.
        """
        found: dict[str, list[KeptState]] = {}
        known: list[tuple[tuple[object, ...], list[KeptState]]] = []
        for name, program in self.programs.items():
            assert program.kept is not None, "programs of language models have states"
            form = program.kept.form
            same = next((states for other, states in known if other == form), None)
            if same is None:
                same = [program.kept.copy() for _ in range(self.batch // self.sequences(name))]
                for states in same:
                    states.reset()
                known.append((form, same))
            found[name] = same
        return found

    def run(self, name: str, ids: torch.Tensor, positions: torch.Tensor, states: KeptState) -> torch.Tensor:
        """What a program gives for tokens at positions, both [sequences, n]; `states` are those after it.

        Raises:
            PlenaError: ids out of range; the states are as they were.
        """
        program = self.programs[name]
        assert program.kept is not None
        program.kept.hold(states)
        result = program.emulate(ids, positions, progress=False)
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
