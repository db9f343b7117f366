"""The lines of a program as one table of numbers, for compiled code that follows it."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from plena.dialects.derived import derived
from plena.dialects.plena_isa import OPCODES
from plena.dialects.plena_isa.spec import Field, InstructionSpec, Integer, Memory
from plena.timing.run import Run

I64: TypeAlias = NDArray[np.int64]

ACTION, RD, RS1, RS2, RS3, FUNCT1, IMM, OPCODE, RESULT_GP, RATIO, LENGTH, SCALES, ROWS, VLEN = range(14)
"""Columns of the table: what it does to the integer state, its fields, whether a gp register gets a number that nobody
follows; of a transfer: element bytes for one byte of scales (0: no scales), bytes of a row of elements and of its
scales, rows, and their distance unless STRIDE says it."""

COLUMNS = 14

(
    NOTHING,
    ADD_IMMEDIATE,
    ADD,
    SUBTRACT,
    MULTIPLY,
    LOAD_UPPER,
    LOAD,
    STORE,
    SET_BASE,
    SET_SCALE,
    SET_STRIDE,
    LOOP_START,
    LOOP_END,
    BREAK,
    LOAD_ROWS,
    STORE_ROWS,
    LOSES_INTEGERS,
) = range(17)
"""Actions. The last one writes words of INT SRAM that nobody follows."""

_ACTIONS = {
    Integer.ADD_IMMEDIATE: ADD_IMMEDIATE,
    Integer.ADD: ADD,
    Integer.SUBTRACT: SUBTRACT,
    Integer.MULTIPLY: MULTIPLY,
    Integer.LOAD_UPPER: LOAD_UPPER,
    Integer.LOAD: LOAD,
    Integer.STORE: STORE,
    Integer.SET_BASE: SET_BASE,
    Integer.LOOP_START: LOOP_START,
    Integer.LOOP_END: LOOP_END,
    Integer.BREAK: BREAK,
}

_FIELDS = {
    Field.RD: RD,
    Field.RS1: RS1,
    Field.RS2: RS2,
    Field.RS3: RS3,
    Field.FUNCT1: FUNCT1,
    Field.IMM18: IMM,
    Field.IMM22: IMM,
}


def depth_of(lines: I64) -> int:
    """No more loops of a program are open at a time."""
    return int((lines[:, ACTION] == LOOP_START).sum())


def table_of(run: Run) -> I64:
    """The lines of a program, int64[n, COLUMNS]."""
    table = np.zeros((len(run.opcodes), COLUMNS), np.int64)
    table[:, OPCODE] = run.opcodes
    for opcode in np.unique(run.opcodes).tolist():
        spec = OPCODES.get(opcode)
        if spec is None:
            continue
        at = np.flatnonzero(run.opcodes == opcode)
        for position, slot in enumerate(spec.slots):
            table[at, _FIELDS[slot.field]] = run.values[at, position]
        table[at, ACTION] = _action(spec)
        table[at, RESULT_GP] = spec.writes_gp
        if spec.transfer is not None:
            _describe(table, at, spec, run)
    return table


@derived
def _action(spec: InstructionSpec) -> int:
    if spec.transfer is not None:
        return LOAD_ROWS if spec.transfer.is_load else STORE_ROWS
    if spec.integer is Integer.SET_STICKY:
        if spec.may_write(Memory.SCALE):
            return SET_SCALE
        return SET_STRIDE if spec.may_write(Memory.STRIDE) else NOTHING
    if spec.integer is None:
        return LOSES_INTEGERS if spec.may_write(Memory.INT) else NOTHING
    return _ACTIONS[spec.integer]


def _describe(table: I64, at: NDArray[np.intp], spec: InstructionSpec, run: Run) -> None:
    """The rows of the transfers of one opcode, by the type that each of them moves."""
    transfer = spec.transfer
    assert transfer is not None
    table[at, ROWS], table[at, VLEN] = transfer.rows(run.target), run.target.vlen
    for precision in np.unique(table[at, FUNCT1]).tolist():
        those = at[table[at, FUNCT1] == precision]
        number_format = transfer.number_format(run.target, precision)
        scales = number_format.scale_bytes(run.target.vlen)
        table[those, RATIO] = number_format.ratio if scales else 0
        table[those, LENGTH] = number_format.element_bytes(run.target.vlen)
        table[those, SCALES] = scales
