"""What the instructions of a straight block read, in columns: estimates plan thousands of such blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from plena.registers.addressing.belady.tables import I64, INSTRUCTION_OR_LOOP, VALUE, Flags, Records
from plena.registers.addressing.values import CONSTANT, Value


@dataclass(frozen=True, eq=False, slots=True)
class Reads:
    """Instructions that define nothing; a row of the columns is a read, in program order.

    Attributes:
        length: instructions.
        time: which instruction reads.
        cls, constant: the value, as in `plena.registers.addressing.values`.
        has_immediate: the instruction adds a number to what a register holds.
    """

    length: int
    time: I64
    cls: I64
    constant: I64
    has_immediate: Flags

    @property
    def exposed(self) -> dict[int, int]:
        """The lowest constant of every class but plain numbers, in the order of their first reads."""
        lowest: dict[int, int] = {}
        for cls, constant in zip(self.cls.tolist(), self.constant.tolist(), strict=True):
            if cls != CONSTANT:
                lowest[cls] = min(constant, lowest.get(cls, constant))
        return lowest

    @property
    def times(self) -> I64:
        """`[reads, 4]`: class, time, constant, whether no immediate can make up for a difference."""
        exact = (~self.has_immediate).astype(np.int64)
        return np.stack([self.cls, self.time, self.constant, exact], axis=1)

    def nodes(self) -> Records:
        """`[length]` of INSTRUCTION_OR_LOOP."""
        nodes = np.zeros(self.length, INSTRUCTION_OR_LOOP)
        bounds = np.searchsorted(self.time, np.arange(self.length + 1))
        nodes["first"], nodes["last"] = bounds[:-1], bounds[1:]
        nodes["cls"] = nodes["mnemonic"] = -1
        return nodes

    def values(self, local: I64) -> Records:
        """`[reads]` of VALUE; `local`: the number of each class in the table."""
        values = np.zeros(len(self.cls), VALUE)
        values["cls"], values["constant"] = local[self.cls], self.constant
        values["has_immediate"] = self.has_immediate
        return values


@dataclass(frozen=True, slots=True)
class Met:
    """The values that are read in a loop.

    Attributes:
        constants: those of each class.
        count: reads of each class.
        first, last: when a value is read that a register must hold as it is.
    """

    constants: dict[int, set[int]]
    count: dict[int, int]
    first: dict[Value, int]
    last: dict[Value, int]

    @staticmethod
    def of(reads: Iterable[tuple[int, Value, bool]]) -> Met:
        """Of (time, value, whether a register must hold it as it is), in program order."""
        met = Met({}, {}, {}, {})
        for time, value, exact in reads:
            met.constants.setdefault(value[0], set()).add(value[1])
            met.count[value[0]] = met.count.get(value[0], 0) + 1
            if exact:
                met.first.setdefault(value, time)
                met.last[value] = time
        return met

    @staticmethod
    def in_columns(reads: Reads) -> Met:
        """The same of reads in columns."""
        constants: dict[int, set[int]] = {}
        for cls, constant in set(zip(reads.cls.tolist(), reads.constant.tolist(), strict=True)):
            constants.setdefault(cls, set()).add(constant)
        exact = ~reads.has_immediate
        times = reads.time[exact].tolist()
        values = list(zip(reads.cls[exact].tolist(), reads.constant[exact].tolist(), strict=True))
        first: dict[Value, int] = {}
        for value, time in zip(values, times, strict=True):
            first.setdefault(value, time)
        return Met(constants, Counter(reads.cls.tolist()), first, dict(zip(values, times, strict=True)))
