"""Future uses of values in one pass over a block: the knowledge that Belady's rule needs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from plena.analysis.addressing.values import CONSTANT, REACH, Value

NEVER = 1 << 60
"""The time of a use that does not come."""


class Timeline:
    """When each value and each class is read; time is the position of the node in the block.

    `closing` are the values that must be in registers when the block ends, at time `end`.
    """

    def __init__(self, reads: Sequence[Iterable[Value]], exact: Sequence[Iterable[Value]]) -> None:
        self.end = len(reads)
        self.closing: frozenset[Value] = frozenset()
        self._closing_constants: dict[int, list[int]] = {}
        self._exact: dict[Value, list[int]] = {}
        self._times: dict[int, list[int]] = {}
        self._constants: dict[int, list[int]] = {}
        self._lower: dict[int, list[int]] = {}
        for time, values in enumerate(exact):
            for value in values:
                self._exact.setdefault(value, []).append(time)
        for time, values in enumerate(reads):
            for cls, constant in values:
                self._times.setdefault(cls, []).append(time)
                self._constants.setdefault(cls, []).append(constant)
        for cls, constants in self._constants.items():
            self._lower[cls] = _next_smaller(constants)

    def close_with(self, values: Iterable[Value]) -> None:
        """Sets the values needed at the end."""
        self.closing = frozenset(values)
        self._closing_constants = {}
        for cls, constant in self.closing:
            self._closing_constants.setdefault(cls, []).append(constant)

    def next_exact(self, value: Value, time: int) -> int:
        """The first time after `time` at which exactly this value is read."""
        times = self._exact.get(value)
        if times is not None:
            position = bisect_right(times, time)
            if position < len(times):
                return times[position]
        return self.end if value in self.closing else NEVER

    def next_of_class(self, cls: int, time: int) -> int:
        """The first time after `time` at which any value of a class is read."""
        times = self._times.get(cls)
        if times is not None:
            position = bisect_right(times, time)
            if position < len(times):
                return times[position]
        return self.end if cls in self._closing_constants else NEVER

    def next_below(self, cls: int, time: int, limit: int) -> int:
        """The first time after `time` at which a value of a class below a constant is read."""
        times = self._times.get(cls)
        if times is not None:
            position = bisect_right(times, time)
            constants, lower = self._constants[cls], self._lower[cls]
            while position < len(times):
                if constants[position] < limit:
                    return times[position]
                position = lower[position]
        closing = self._closing_constants.get(cls)
        return self.end if closing is not None and min(closing) < limit else NEVER

    def next_above(self, value: Value, time: int, scan: int = 16) -> int:
        """The first of the next reads of a class that one ADDI reaches from a value; looks `scan` reads ahead."""
        cls, constant = value
        times = self._times.get(cls)
        if times is not None:
            constants = self._constants[cls]
            position = bisect_right(times, time)
            for p in range(position, min(position + scan, len(times))):
                if 0 <= constants[p] - constant < REACH:
                    return times[p]
            if position + scan < len(times):
                return NEVER
        closing = self._closing_constants.get(cls, ())
        return self.end if any(0 <= c - constant < REACH for c in closing) else NEVER

    def upcoming(self, cls: int, time: int, scan: int) -> list[int]:
        """The constants of the next reads of a class from `time` on."""
        times = self._times.get(cls)
        if times is None:
            return []
        position = bisect_right(times, time - 1)
        return self._constants[cls][position : position + scan]


def _next_smaller(constants: Sequence[int]) -> list[int]:
    """For each position the next one with a smaller constant (the length when there is none)."""
    result = [len(constants)] * len(constants)
    waiting: list[int] = []
    for position, constant in enumerate(constants):
        while waiting and constants[waiting[-1]] > constant:
            result[waiting.pop()] = position
        waiting.append(position)
    return result


def is_reachable_from_zero(value: Value) -> bool:
    """Whether one ADDI from gp0 makes the value."""
    return value[0] == CONSTANT and 0 <= value[1] < REACH
