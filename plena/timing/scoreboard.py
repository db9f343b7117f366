"""A scoreboard, compiled: in-order acceptance, operands, one port of vector SRAM, units, one recovery cycle.

Source: `timing_models.md` section 5.3, the scoreboard of a public branch (revision b976fa19), in its order of steps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from plena.jit import Int, compiled
from plena.timing.recorder import (
    MATRIX_LOAD,
    MATRIX_UNIT,
    NO_WAIT,
    OPERAND,
    PORT,
    SCALAR_UNIT,
    VECTOR_PIPE,
    VECTOR_TRANSFER,
    WRITING_OUT,
)
from plena.timing.stream.integers import REG_A, REG_B, REG_D
from plena.timing.stream.lines import I64, IMM, RS1

(
    UNIT,
    BUSY,
    READY,
    INTERVAL,
    READS,
    SETS,
    USES_PORT,
    TAKES_FP,
    M_READ,
    M_LENGTH,
    M_WRITES,
    V_READ,
    V_LENGTH,
) = range(13)
"""Columns of what a line does on the scoreboard: its unit; cycles that it occupies the unit, until its result, until
the next may start in it; FP registers that it reads and writes, as bits; whether it takes port A, waits for the scalar
unit; the register of its matrix range and its length, whether that is written; the register of its first vector rows
and their length."""

V_READ_2, V_LENGTH_2, V_WRITE, V_WRITE_LENGTH, V_WRITES, V_WRITE_PITCH = range(13, 19)
"""The same of its second vector rows and of those it writes: register, elements, how many ranges, elements between
them (0: the register in field rs1 says it in rows)."""

COLUMNS = 19

(
    CONTROL,
    BREAK,
    INTEGER,
    LOAD_M,
    LOAD_V,
    STORE,
    PRODUCT,
    WRITE_OUT,
    REDUCTION,
    ELEMENTWISE,
    SCALAR,
    SCALAR_SRAM,
) = range(12)
"""Units."""

NO_REGISTER, FIELD_D, FIELD_A, FIELD_B = range(4)
"""Which field of the word names the register of an address."""

(
    NEXT,
    SHARED,
    DMA_M,
    DMA_V,
    DMA_STORE,
    COMPUTE,
    WRITTEN_OUT,
    PIPE,
    FP_UNIT,
    SRAM_UNIT,
    REDUCED,
    ELEMENT,
    ELEMENT_LATENCY,
    MAKESPAN,
) = range(14)
"""Positions in `Board.slots`."""

_M, _V, _A = range(3)

_PENDING = 1 << 14


class Board(NamedTuple):
    """Times, int64: ``slots[14]``; ``fp[32]`` results by FP register; ``pending[3, n, 3]`` = begin, end, time of matrix
    writes, vector writes, and pulses on port A, ``lengths[3]`` of them."""

    slots: I64
    fp: I64
    pending: I64
    lengths: I64


def new_board() -> Board:
    """Nothing has run."""
    return Board(
        np.zeros(14, np.int64),
        np.zeros(32, np.int64),
        np.zeros((3, _PENDING, 3), np.int64),
        np.zeros(3, np.int64),
    )


@compiled
def _drop(b: Board, which: Int, issue: Int, column: Int) -> None:
    kept = 0
    for i in range(b.lengths[which]):
        if b.pending[which, i, column] > issue:
            if kept != i:
                for c in range(3):
                    b.pending[which, kept, c] = b.pending[which, i, c]
            kept += 1
    b.lengths[which] = kept


@compiled
def _enter(b: Board, which: Int, begin: Int, end: Int, time: Int) -> None:
    if (
        b.lengths[which] == _PENDING
    ):  # the oldest is over long before: acceptance is in order, latencies are bounded
        b.pending[which, :-1] = b.pending[which, 1:]
        b.lengths[which] -= 1
    at = b.lengths[which]
    b.pending[which, at, 0], b.pending[which, at, 1], b.pending[which, at, 2] = begin, end, time
    b.lengths[which] += 1


@compiled
def _overlap(b: Board, which: Int, begin: Int, length: Int, now: Int) -> Int:
    for i in range(b.lengths[which]):
        if b.pending[which, i, 0] < begin + length and begin < b.pending[which, i, 1]:
            now = max(now, b.pending[which, i, 2])
    return now


@compiled
def _address(event: I64, field: Int) -> Int:
    if field == FIELD_D:
        return event[REG_D]
    return event[REG_A] if field == FIELD_A else event[REG_B]


@compiled
def _registers(b: Board, mask: Int, now: Int) -> Int:
    for register in range(1, 8):
        if mask >> register & 1:
            now = max(now, b.fp[register])
    return now


@compiled
def _written(line: I64, unit: I64, event: I64, mlen: Int) -> tuple[Int, Int]:
    """Where the vector rows that it writes begin, and the distance of the ranges."""
    begin = _address(event, unit[V_WRITE])
    pitch = unit[V_WRITE_PITCH]
    if unit[UNIT] == WRITE_OUT:
        begin += line[IMM]
        if pitch == 0:
            begin -= begin % mlen
    if pitch == 0:
        pitch = mlen * (event[REG_A] if line[RS1] else 1)
    return begin, pitch


@compiled
def waits_for(b: Board, line: I64, unit: I64, event: I64) -> Int:
    """What the next instruction waits for longest, of `plena.timing.recorder.CAUSES`; asked before `accept`."""
    s = b.slots
    kind = unit[UNIT]
    cause, until = NO_WAIT, s[NEXT]
    if unit[M_READ]:
        time = _overlap(b, _M, _address(event, unit[M_READ]), unit[M_LENGTH], s[NEXT])
        if time > until:
            cause, until = MATRIX_LOAD, time
    if kind in (LOAD_M, LOAD_V, STORE):
        if s[SHARED] > until:
            cause, until = PORT, s[SHARED]
    elif kind in (PRODUCT, REDUCTION, ELEMENTWISE) and max(s[DMA_V], s[DMA_STORE]) > until:
        cause, until = VECTOR_TRANSFER, max(s[DMA_V], s[DMA_STORE])
    if kind in (LOAD_V, STORE, PRODUCT) and s[COMPUTE] > until:
        cause, until = MATRIX_UNIT, s[COMPUTE]
    if kind in (PRODUCT, WRITE_OUT) and s[WRITTEN_OUT] > until:
        cause, until = WRITING_OUT, s[WRITTEN_OUT]
    if kind in (LOAD_V, STORE, REDUCTION, ELEMENTWISE):
        time = s[PIPE]
        if kind == ELEMENTWISE and s[ELEMENT_LATENCY] and s[ELEMENT_LATENCY] != unit[READY]:
            time = max(time, s[ELEMENT])
        if time > until:
            cause, until = VECTOR_PIPE, time
    time = np.int64(0)
    if kind in (SCALAR, SCALAR_SRAM):
        time = max(s[REDUCED], s[FP_UNIT] if kind == SCALAR else s[SRAM_UNIT])
    elif unit[TAKES_FP]:
        time = s[FP_UNIT]
    if time > until:
        cause, until = SCALAR_UNIT, time
    time = _registers(b, unit[READS] | unit[SETS], s[NEXT])
    if unit[V_READ]:
        time = _overlap(b, _V, _address(event, unit[V_READ]), unit[V_LENGTH], time)
    if unit[V_READ_2]:
        time = _overlap(b, _V, _address(event, unit[V_READ_2]), unit[V_LENGTH_2], time)
    return OPERAND if time > until or cause == NO_WAIT else cause


@compiled
def accept(b: Board, line: I64, unit: I64, event: I64, transfer: Int, mlen: Int) -> Int:
    """Schedules the next instruction.

    Args:
        line: of `plena.timing.stream.lines`.
        unit: its row of what it does on the scoreboard.
        event: of `plena.timing.stream.integers`.
        transfer: what it takes if it is a transfer.

    Returns:
        The cycle in which it is accepted; -1 if an address that matters is not known.
    """
    s = b.slots
    kind = unit[UNIT]
    issue = s[NEXT]
    now = issue
    _drop(b, _M, issue, 2)
    _drop(b, _V, issue, 2)
    _drop(b, _A, issue, 1)
    matrix, rows, rows_2 = np.int64(0), np.int64(0), np.int64(0)
    written, pitch = np.int64(0), np.int64(0)
    ranges, length = unit[V_WRITES], unit[V_WRITE_LENGTH]
    if unit[M_READ]:
        matrix = _address(event, unit[M_READ])
        if matrix < 0:
            return -1
        if not unit[M_WRITES]:
            now = _overlap(b, _M, matrix, unit[M_LENGTH], now)
    if unit[V_READ]:
        rows = _address(event, unit[V_READ])
        if rows < 0:
            return -1
        now = _overlap(b, _V, rows, unit[V_LENGTH], now)
    if unit[V_READ_2]:
        rows_2 = _address(event, unit[V_READ_2])
        if rows_2 < 0:
            return -1
        now = _overlap(b, _V, rows_2, unit[V_LENGTH_2], now)
    if unit[M_READ] and unit[M_WRITES]:
        now = _overlap(b, _M, matrix, unit[M_LENGTH], now)
    if unit[V_WRITE]:
        if _address(event, unit[V_WRITE]) < 0 or (unit[V_WRITE_PITCH] == 0 and event[REG_A] < 0):
            return -1
        written, pitch = _written(line, unit, event, mlen)
        if pitch == length:  # ranges side by side are one
            ranges, length = 1, ranges * length
        for i in range(ranges):
            now = _overlap(b, _V, written + i * pitch, length, now)
    if unit[USES_PORT]:
        moved = True
        while moved:
            moved = False
            last = now
            for i in range(b.lengths[_A]):
                if b.pending[_A, i, 0] <= now < b.pending[_A, i, 1]:
                    last = max(last, b.pending[_A, i, 1])
                    moved = True
            now = last
    if kind == LOAD_M:
        now = max(now, s[SHARED], s[DMA_M])
    elif kind == LOAD_V:
        now = max(now, s[SHARED], s[DMA_V], s[COMPUTE], s[PIPE])
    elif kind == STORE:
        now = max(now, s[SHARED], s[DMA_STORE], s[COMPUTE], s[PIPE])
    elif kind == PRODUCT:
        now = max(now, s[COMPUTE], s[WRITTEN_OUT], s[DMA_V], s[DMA_STORE])
    elif kind == WRITE_OUT:
        now = max(now, s[WRITTEN_OUT])
    elif kind in (REDUCTION, ELEMENTWISE):
        now = max(now, s[PIPE], s[DMA_V], s[DMA_STORE])
        if unit[TAKES_FP]:
            now = max(now, s[FP_UNIT])
        if kind == ELEMENTWISE and s[ELEMENT_LATENCY] and s[ELEMENT_LATENCY] != unit[READY]:
            now = max(now, s[ELEMENT])
        now = _registers(b, unit[READS] | unit[SETS], now)
    elif kind == SCALAR:
        now = _registers(b, unit[READS] | unit[SETS], max(now, s[REDUCED], s[FP_UNIT]))
    elif kind == SCALAR_SRAM:
        now = _registers(b, unit[READS] | unit[SETS], max(now, s[REDUCED], s[SRAM_UNIT]))
    elif kind == BREAK:
        now = max(now, s[DMA_V])
    accepted = now + (1 if now > issue else 0)
    start = max(accepted, s[COMPUTE]) if kind == WRITE_OUT else accepted
    is_transfer = kind in (LOAD_M, LOAD_V, STORE)
    done = start + (transfer if is_transfer else unit[BUSY])
    ready = start + (transfer if is_transfer else unit[READY])
    if is_transfer:
        s[SHARED] = done
        s[DMA_M + kind - LOAD_M] = done
    elif kind == PRODUCT:
        s[COMPUTE] = done
    elif kind == WRITE_OUT:
        s[WRITTEN_OUT] = done
    elif kind == REDUCTION:
        s[PIPE], s[REDUCED] = done, ready
    elif kind == ELEMENTWISE:
        s[PIPE], s[ELEMENT], s[ELEMENT_LATENCY] = start + unit[INTERVAL], ready, unit[READY]
        _enter(b, _A, ready, ready + 1, ready)
    elif kind == SCALAR:
        s[FP_UNIT] = done
    elif kind == SCALAR_SRAM:
        s[SRAM_UNIT] = done
    if unit[M_READ] and unit[M_WRITES]:
        _enter(b, _M, matrix, matrix + unit[M_LENGTH], ready)
    for i in range(ranges):
        begin = written + i * pitch
        _enter(b, _V, begin, begin + length, ready)
    for register in range(1, 8):
        if unit[SETS] >> register & 1:
            b.fp[register] = ready
    s[NEXT] = accepted + 1
    s[MAKESPAN] = max(s[MAKESPAN], done)
    return accepted
