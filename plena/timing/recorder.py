"""What simulations write down for a timeline, compiled: engines at work, waits and their causes, by stretch of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from plena.dialects.plena_isa import OPCODES
from plena.dialects.plena_isa.spec import Unit
from plena.jit import Int, compiled
from plena.timing.run import Run
from plena.timing.stream.lines import I64

SCALAR, MATRIX, VECTOR, DMA = range(4)
ENGINES = ("scalar", "matrix", "vector", "DMA")
"""Control instructions count as scalar ones."""

(
    NO_WAIT,
    MATRIX_LOAD,
    VECTOR_TRANSFER,
    PORT,
    MATRIX_UNIT,
    WRITING_OUT,
    VECTOR_PIPE,
    SCALAR_UNIT,
    OPERAND,
) = range(9)
CAUSES = (
    "",
    "load of matrix tiles",
    "transfer of vector rows",
    "another transfer",
    "matrix unit",
    "write-out",
    "vector pipe",
    "scalar unit",
    "operand",
)
"""What an instruction waits for."""

LINE, ENGINE, BEGIN, END, CAUSE = range(5)
"""Columns of `Recorder.events`: work with NO_WAIT, else a wait."""


class Recorder(NamedTuple):
    """Cycles, int64, by bins of ``width[0]`` cycles (0: nothing is written down).

    ``engines[n]`` and ``groups[n]`` of the lines; ``busy[engines, bins]``, ``waiting[causes, bins]`` and
    ``passed[groups, bins]``, the cycles between acceptances; ``busy_by_group[groups, engines]`` and
    ``waiting_by_group[groups, causes]``; ``events[most, 5]``, the first ``kept[0]`` of ``kept[1]``; ``ends[engines]``,
    the end of what each engine did last.
    """

    width: I64
    engines: I64
    groups: I64
    busy: I64
    waiting: I64
    passed: I64
    busy_by_group: I64
    waiting_by_group: I64
    events: I64
    kept: I64
    ends: I64


def recorder(run: Run, groups: Sequence[int], width: int, bins: int, events: int) -> Recorder:
    """An empty one for a run.

    Args:
        groups: of each line, numbered from 0.
        width: cycles of a bin. bins: how many there are.
        events: how many to keep.
    """
    number = max(groups, default=0) + 1
    engine_of = {opcode: _engine(spec.unit) for opcode, spec in OPCODES.items()}
    return Recorder(
        np.array([width], np.int64),
        np.array([engine_of.get(o, SCALAR) for o in run.opcodes.tolist()], np.int64),
        np.array(groups, np.int64),
        np.zeros((len(ENGINES), bins), np.int64),
        np.zeros((len(CAUSES), bins), np.int64),
        np.zeros((number, bins), np.int64),
        np.zeros((number, len(ENGINES)), np.int64),
        np.zeros((number, len(CAUSES)), np.int64),
        np.zeros((events, 5), np.int64),
        np.zeros(2, np.int64),
        np.zeros(len(ENGINES), np.int64),
    )


def nothing_recorded() -> Recorder:
    """One that nothing is written down in."""
    empty, table = np.zeros(1, np.int64), np.zeros((1, 1), np.int64)
    return Recorder(empty, empty, empty, table, table, table, table, table, table, empty, empty)


def _engine(unit: Unit | None) -> int:
    return {Unit.MATRIX: MATRIX, Unit.VECTOR: VECTOR, Unit.TRANSFER: DMA}.get(unit or Unit.SCALAR, SCALAR)


@compiled
def _add(row: I64, width: Int, begin: Int, end: Int) -> None:
    """Shares the cycles from `begin` to before `end` among bins; what lies behind the last one goes there."""
    last = len(row) - 1
    while begin < end:
        at = min(begin // width, last)
        stop = end if at == last else min(end, (at + 1) * width)
        row[at] += stop - begin
        begin = stop


@compiled
def passes(r: Recorder, line: Int, begin: Int, end: Int) -> None:
    """Time goes on from one acceptance to that of a line."""
    if r.width[0]:
        _add(r.passed[r.groups[line]], r.width[0], begin, end)


@compiled
def _keep(r: Recorder, line: Int, engine: Int, begin: Int, end: Int, cause: Int) -> None:
    at = r.kept[1]
    r.kept[1] += 1
    if at < len(r.events):
        r.kept[0] += 1
        event = r.events[at]
        event[LINE], event[ENGINE], event[BEGIN], event[END], event[CAUSE] = line, engine, begin, end, cause


@compiled
def works(r: Recorder, line: Int, begin: Int, end: Int) -> None:
    """The engine of a line works for it."""
    width = r.width[0]
    if not width:
        return
    engine = r.engines[line]
    fresh = max(begin, r.ends[engine])
    if end > fresh:
        _add(r.busy[engine], width, fresh, end)
        r.busy_by_group[r.groups[line], engine] += end - fresh
        r.ends[engine] = end
    _keep(r, line, engine, begin, end, NO_WAIT)


@compiled
def waits(r: Recorder, line: Int, begin: Int, end: Int, cause: Int) -> None:
    """A line waits for a cause before it is accepted."""
    width = r.width[0]
    if width and cause and end > begin:
        _add(r.waiting[cause], width, begin, end)
        r.waiting_by_group[r.groups[line], cause] += end - begin
        _keep(r, line, r.engines[line], begin, end, cause)
