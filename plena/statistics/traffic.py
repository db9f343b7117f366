"""Bytes that transfers move between HBM and the SRAMs, by what they hold: elements and scales, padding included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from plena.assembly import AsmInstruction
from plena.machine.formats import CLASS_OF
from plena.machine.target import Target

CLASSES: tuple[str, ...] = ("weights", "experts", "keys_values", "activations")
"""What moves: parameters and constants, those of routed experts, keys and values (states too), all else."""


class Traffic(Mapping[str, int]):
    """Class of `CLASSES` -> bytes of one run, computed when it is asked for."""

    def __init__(self, count: Callable[[], dict[str, int]]) -> None:
        self._count = count
        self._known: dict[str, int] | None = None

    def _bytes(self) -> dict[str, int]:
        if self._known is None:
            self._known = self._count()
        return self._known

    def __getitem__(self, name: str) -> int:
        return self._bytes()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(CLASSES)

    def __len__(self) -> int:
        return len(CLASSES)

    def __repr__(self) -> str:
        return f"Traffic({dict(self)})"


def payloads(instructions: Sequence[AsmInstruction], target: Target) -> dict[int, tuple[int, str]]:
    """Position of each transfer -> (bytes of one execution, the class of its HBM type)."""
    found: dict[int, tuple[int, str]] = {}
    for position, instruction in enumerate(instructions):
        transfer = instruction.spec.transfer
        if transfer is None:
            continue
        place = next(i for i, slot in enumerate(instruction.spec.slots) if slot.name == "precision")
        precision = instruction.values[place]
        number_format, rows = transfer.number_format(target, precision), transfer.rows(target)
        row = number_format.element_bytes(target.vlen) + number_format.scale_bytes(target.vlen)
        found[position] = rows * row, CLASS_OF[transfer.format_key(precision)]
    return found


def by_class(moved: Mapping[int, tuple[int, str]], executions: NDArray[np.integer]) -> dict[str, int]:
    """The bytes of each class when every line runs as often as `executions` says."""
    total: dict[str, int] = dict.fromkeys(CLASSES, 0)
    for position, (size, name) in moved.items():
        total[name] += size * int(executions[position])
    return total
