"""Bytes that transfers move between HBM and the SRAMs, by what they hold: elements and scales, padding included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from plena.assembly import AsmInstruction
from plena.machine.formats import CLASS_OF
from plena.machine.number_formats import NumberFormat
from plena.machine.target import Target

CLASSES: tuple[str, ...] = ("weights", "experts", "keys_values", "activations")
"""What moves: parameters and constants, those of routed experts, keys and values (states too), all else."""


Moved: TypeAlias = tuple[int, Mapping[str, int]]
"""Bytes of one execution of a transfer, and in which proportion all its executions move which class."""


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


def payloads(instructions: Sequence[AsmInstruction], target: Target) -> dict[int, Moved]:
    """Position of each transfer -> (bytes of one execution, the class of its HBM type)."""
    return {
        position: (rows * (f.element_bytes(target.vlen) + f.scale_bytes(target.vlen)), {CLASS_OF[key]: 1})
        for position, key, f, rows in _transfers(instructions, target)
    }


def lengths_of(instructions: Sequence[AsmInstruction], target: Target) -> dict[int, int]:
    """Position of each transfer -> bytes of elements that one execution moves."""
    transfers = _transfers(instructions, target)
    return {position: rows * f.element_bytes(target.vlen) for position, _, f, rows in transfers}


def _transfers(
    instructions: Sequence[AsmInstruction], target: Target
) -> Iterator[tuple[int, str, NumberFormat, int]]:
    """Position of each transfer, key of its HBM type, the type, and its rows."""
    for position, instruction in enumerate(instructions):
        transfer = instruction.spec.transfer
        if transfer is None:
            continue
        place = next(i for i, slot in enumerate(instruction.spec.slots) if slot.name == "precision")
        precision = instruction.values[place]
        yield (
            position,
            transfer.format_key(precision),
            transfer.number_format(target, precision),
            transfer.rows(target),
        )


def by_class(moved: Mapping[int, Moved], executions: NDArray[np.integer]) -> dict[str, int]:
    """The bytes of each class when every line runs as often as `executions` says."""
    total: dict[str, int] = dict.fromkeys(CLASSES, 0)
    for position, (size, parts) in moved.items():
        moving, left = size * int(executions[position]), sum(parts.values())
        for name, part in parts.items():
            share = moving * part // left if left else 0
            total[name] += share
            moving, left = moving - share, left - part
    return total
