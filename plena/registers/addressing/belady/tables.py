"""The tables that a pass over a block reads, keeps and writes; every column has a name.

All numbers are int64. A table of records is an array of one of the dtypes here: compiled code reads `table[i].column`,
numpy `table["column"]`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]
Records: TypeAlias = Any
"""An array of records. Numba checks the columns that compiled code names, pyright cannot."""

ZERO = -1
"""The track that stands for gp0."""

NONE = -2
"""No track."""

NEVER = 1 << 60
"""The time of a use that does not come."""

LOOKAHEAD = 16
"""Reads of a class that are looked at to place a pointer that several immediates can share."""

ADDI, LUI, LOAD, STORE, ADD, SUB, MUL = range(7)
MNEMONICS = ("S_ADDI_INT", "S_LUI_INT", "S_LD_INT", "S_ST_INT", "S_ADD_INT", "S_SUB_INT", "S_MUL_INT")
"""The mnemonic of every action number."""

BUILD, COMBINE, SHIFT, RELOAD = MUL + 1, MUL + 2, MUL + 3, MUL + 4
"""Ways to make a value besides ADDI from a register and LOAD."""


def _record(*columns: str) -> np.dtype[np.void]:
    return np.dtype([(column, np.int64) for column in columns])


HELD = _record("cls", "constant")
"""A value in a place that its row says: a track, or behind the tracks a slot of INT SRAM."""

INSTRUCTION_OR_LOOP = _record(
    "is_loop",
    "first",
    "last",
    "cls",
    "constant",
    "mnemonic",
    "first_memory",
    "last_memory",
    "width",
    "tracks",
)
"""A node of a block. `first` to `last` are its values. An instruction: the class it defines (-1: none), the constant,
the mnemonic to emit (-1: none). A loop: its memory values, the registers it needs with its counter, the set of tracks
of its plan."""

VALUE = _record("cls", "constant", "has_immediate", "is_consumed", "after")
"""What an instruction reads and whether with an immediate, or what a loop begins with, whether the loop uses it up,
and the constant behind the loop."""

LOOP_MEMORY = _record("cls", "constant", "slot")
"""What a slot of a loop's frame must hold when the loop begins."""

ACTION = _record("mnemonic", "dst", "a", "b", "imm")
"""A scalar instruction on tracks; `imm` of a load or store is a slot of INT SRAM in the block's own frame, or in the
frame of the loop that follows when `b` is 1."""

BINDING = _record("track", "offset")
"""The track and the immediate with which an instruction reads a value."""

COUNTS = _record("ages", "actions", "wanted", "slots", "pressure")
"""Lengths of `Registers.order`, `actions` and `wanted`, words of the frame, whether pressed: one row."""


class OutOfRegistersError(Exception):
    """A plan does not fit the registers it was given."""


class Times(NamedTuple):
    """When each class is read; time is the position of the node in the block, `end` that of its end.

    Reads by class, ascending in time: those of class c are `first[c]` to `first[c + 1]`. `lower`: the next read of the
    class with a smaller constant. Exact reads, where no immediate can make up for a difference, are there once more by
    class, constant and time: those of class c are `exact_first[c]` to `exact_first[c + 1]`. `closing`:
    `[heads + slots]` of HELD, the values that must be in registers, then in memory, when the block ends.
    """

    first: I64
    time: I64
    constant: I64
    lower: I64
    exact_first: I64
    exact_constant: I64
    exact_time: I64
    closing: Records
    heads: int
    end: int


class BlockTable(NamedTuple):
    """A block in records: `nodes` of INSTRUCTION_OR_LOOP, `values` of VALUE, `memory` of LOOP_MEMORY.

    `loops`: how many nodes are loops.
    """

    nodes: Records
    values: Records
    memory: Records
    loops: int


class Registers(NamedTuple):
    """What each track holds (class -1: nothing), and the log of what was emitted.

    `order`: the tracks in use, by age of their content. `lead`: the first of the tracks with equal content. `slot`: of
    each class, the slot of INT SRAM with `saved` (-1: none). `actions` of ACTION, `counts` of COUNTS.
    """

    cls: I64
    constant: I64
    order: I64
    lead: Flags
    touched: Flags
    next_exact: I64
    slot: I64
    saved: I64
    actions: Records
    wanted: I64
    counts: Records


class Log(NamedTuple):
    """What a pass over a block did.

    Attributes:
        actions: `[a]` of ACTION.
        ends: `[n]` actions up to each node.
        bindings: `[v]` of BINDING, for each value of an instruction; `results`: `[n]` track of its result.
        tracks: `[loops, capacity + 1]` the track of every track of the loop's plan, then the counter's.
        evicted: `[loops]` how many values still needed behind the loop had to leave their registers for it.
        wanted: numbers that had to be built to step a pointer.
        touched: `[capacity]`; slots: slots of the block's own frame; pressure: a value still needed was given up.
    """

    actions: Records
    ends: I64
    bindings: Records
    results: I64
    tracks: I64
    evicted: I64
    wanted: I64
    touched: Flags
    slots: int
    pressure: bool
