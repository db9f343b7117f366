"""The integer side of a machine, compiled: loops, address registers, INT SRAM (plena_isa.md sections 1.3 and 4)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from plena.jit import Int, compiled
from plena.machine.constants import INT_LIMIT
from plena.timing.run import Run
from plena.timing.stream.lines import (
    ACTION,
    ADD,
    ADD_IMMEDIATE,
    BREAK,
    I64,
    IMM,
    LOAD,
    LOAD_ROWS,
    LOAD_UPPER,
    LOOP_END,
    LOOP_START,
    LOSES_INTEGERS,
    MULTIPLY,
    NOTHING,
    RD,
    RESULT_GP,
    RS1,
    RS2,
    RS3,
    SET_BASE,
    SET_SCALE,
    SET_STRIDE,
    STORE,
    STORE_ROWS,
    SUBTRACT,
    VLEN,
    depth_of,
)

UNKNOWN = -1
"""Stands for a number that hangs on data."""

LINE, REG_D, REG_A, REG_B, SCALE, PITCH, BASE = range(7)
"""Columns of an event: a line that ran and the contents of its gp registers before it ran; for a transfer SCALE, the
distance of its rows and the base in bytes."""

EVENT = 7

SPAN = 1 << 15
"""Events that are made at once."""

PC, DEPTH, RUNNING = range(3)
"""Positions in `Integers.position`."""

RUNS, ENDED, LOST = 1, 0, -1
"""What RUNNING says: LOST where a loop count is not known, or a loop ends that was not opened."""

_WORD = INT_LIMIT - 1


class Integers(NamedTuple):
    """State, all int64: ``gp[16]``, ``bases[16]``, ``sticky[2]`` = SCALE and STRIDE, ``int_sram[words]``, each number
    UNKNOWN where nobody knows it; ``loops[depth, 2]`` = line and counter of the open loops; ``position[3]``."""

    gp: I64
    bases: I64
    sticky: I64
    int_sram: I64
    loops: I64
    position: I64


def before(run: Run, lines: I64) -> Integers:
    """The state before the first instruction of a program; `lines` are its table."""
    registers = run.registers
    return Integers(
        registers.gp.copy(),
        registers.bases.copy(),
        registers.sticky.copy(),
        registers.int_sram.copy(),
        np.zeros((max(depth_of(lines), 1), 2), np.int64),
        np.array([0, 0, RUNS], np.int64),
    )


@compiled
def _word(known: Any, value: Int) -> Int:
    return value & _WORD if known else UNKNOWN


@compiled
def follow(lines: I64, s: Integers, events: I64) -> Int:
    """Runs until the end or until `events` is full.

    Args:
        lines: of `plena.timing.stream.lines.table_of`.
        events: int64[SPAN, EVENT], filled.

    Returns:
        How many instructions ran.
    """
    count = 0
    pc, depth = s.position[PC], s.position[DEPTH]
    gp = s.gp
    while pc < lines.shape[0] and count < events.shape[0]:
        line = lines[pc]
        action, rd, rs1, rs2 = line[ACTION], line[RD], line[RS1], line[RS2]
        event = events[count]
        count += 1
        d, a, b = gp[rd], gp[rs1], gp[rs2]
        event[LINE], event[REG_D], event[REG_A], event[REG_B] = pc, d, a, b
        following = pc + 1
        if action == NOTHING:
            if line[RESULT_GP]:
                gp[rd] = UNKNOWN
        elif action == ADD_IMMEDIATE:
            gp[rd] = _word(a >= 0, a + line[IMM])
        elif action == LOOP_START:
            if depth == s.loops.shape[0]:
                s.position[RUNNING] = LOST
                return count
            gp[rd] = line[IMM]
            s.loops[depth, 0], s.loops[depth, 1] = pc, rd
            depth += 1
        elif action == LOOP_END:
            at = depth - 1
            while at >= 0 and s.loops[at, 1] != rd:
                at -= 1
            if at < 0 or d < 0:
                s.position[RUNNING] = LOST
                return count
            if d > 1:
                gp[rd] = d - 1
                following = s.loops[at, 0] + 1
            else:
                gp[rd] = 0
                depth -= 1
                for i in range(at, depth):
                    s.loops[i] = s.loops[i + 1]
        elif action == BREAK:
            if depth > 0:
                depth -= 1
                gp[s.loops[depth, 1]] = 0
            elif following < lines.shape[0]:  # As the last word it ends a program on the RTL.
                s.position[RUNNING] = LOST
                return count
        elif action == ADD:
            gp[rd] = _word(a >= 0 and b >= 0, a + b)
        elif action == SUBTRACT:
            gp[rd] = _word(a >= 0 and b >= 0, a - b)
        elif action == MULTIPLY:
            gp[rd] = _word(a >= 0 and b >= 0, a * b)
        elif action == LOAD_UPPER:
            gp[rd] = line[IMM] << 12 & _WORD
        elif action == LOAD:
            at = (a + line[IMM]) & _WORD
            gp[rd] = s.int_sram[at] if a >= 0 and at < s.int_sram.shape[0] else UNKNOWN
        elif action == STORE:
            at = (a + line[IMM]) & _WORD
            if a < 0:
                s.int_sram[:] = UNKNOWN
            elif at < s.int_sram.shape[0]:
                s.int_sram[at] = d
        elif action == SET_BASE:
            s.bases[rd] = (a << 32) | b if a >= 0 and b >= 0 else UNKNOWN
        elif action == SET_SCALE:
            s.sticky[0] = d
        elif action == SET_STRIDE:
            s.sticky[1] = d
        elif action in (LOAD_ROWS, STORE_ROWS):
            event[SCALE], event[BASE] = s.sticky[0], s.bases[rs2]
            event[PITCH] = s.sticky[1] if line[RS3] == 1 else line[VLEN]
        elif action == LOSES_INTEGERS:
            s.int_sram[:] = UNKNOWN
            if line[RESULT_GP]:
                gp[rd] = UNKNOWN
        pc = following
    s.position[PC], s.position[DEPTH] = pc, depth
    if pc >= lines.shape[0]:
        s.position[RUNNING] = ENDED
    return count
