"""The rtl-v1 profile: every instruction on a scoreboard with operation times measured on the RTL.

Source: `timing_models.md` section 5, a public branch (revision b976fa19). Transfers take what its device takes while
the program runs serially: each word once, a queue for every channel. The type of the weights in HBM chooses the
column of the table: integers MXINT, everything else MXFP. What a transfer reads and writes is as on this machine, whose
offsets are bytes; that branch's are elements, which is the same for types of one byte.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from plena.dialects.derived import derived
from plena.dialects.plena_isa import INSTRUCTIONS, OPCODES
from plena.dialects.plena_isa.spec import Cost, Field, InstructionSpec, Integer, Kind, Memory, Mode
from plena.jit import entry_point
from plena.machine.scalar_codes import Int
from plena.machine.target import Target
from plena.timing import scoreboard as sb
from plena.timing.hbm.device import Device
from plena.timing.hbm.memory import Memory as KnownLoads
from plena.timing.hbm.once import load_once, store_once
from plena.timing.hbm.words import is_known
from plena.timing.latencies import constant
from plena.timing.profile import StreamProfile, TableProfile
from plena.timing.recorder import NO_WAIT, Recorder, nothing_recorded, passes, waits, works
from plena.timing.run import Run
from plena.timing.scoreboard import Board, accept, new_board, waits_for
from plena.timing.simulation import STAMP, event_buffer, fresh_device, word_buffer
from plena.timing.stream.integers import LINE, LOST, RUNNING, RUNS, Integers, before, follow
from plena.timing.stream.lines import I64, table_of
from plena.timing.transactional import PROFILE as SERIAL
from plena.timing.work import Engine, Work

MISSING = ("V_MAX_VF", "V_MIN_VF", "V_TOPK", "V_PS_V", "C_HADAMARD_TRANSFORM")
"""Instructions without an entry: that branch's decoder rejects them."""


def has_integer_weights(target: Target) -> bool:
    """Whether the MXINT column holds: the elements of HBM_M_WEIGHT_TYPE are integers."""
    return isinstance(target.precision["HBM_M_WEIGHT_TYPE"].element, Int)


def unsupported(target: Target) -> frozenset[str]:
    """Instructions that have a time, but that the RTL the times were measured on does not execute right."""
    always = {"M_BMM", "M_BTMM", "M_BMV", "M_BTMV", "M_BMM_WO", "M_BMV_WO", "V_SHFT_V", "S_MAX_FP"}
    if has_integer_weights(target):
        return frozenset(always | {"M_MV", "M_TMV", "M_MV_WO"})
    return frozenset(always | {"M_MM_WO"})


def levels(target: Target) -> int:
    """Levels of the tree that adds a row up."""
    return target.vlen.bit_length()


def _product(target: Target) -> int:
    return 2 * target.blen + 8 if has_integer_weights(target) else target.blen + 4


def _row_product(target: Target) -> int:
    return target.mlen + (2 * target.blen + 8 if has_integer_weights(target) else 4)


def _write_out(target: Target) -> int:
    return target.blen + 2 if has_integer_weights(target) else 2 * target.blen + 13


def _row_write_out(target: Target) -> int:
    return target.blen + 2 if has_integer_weights(target) else 4


_PRODUCTS = (Cost.TILE_PRODUCT, Cost.BROADCAST_PRODUCT)
_ROW_PRODUCTS = (Cost.ROW_PRODUCT, Cost.BROADCAST_ROW_PRODUCT)

_ELEMENTWISE = {
    "V_ADD_VV": 12,
    "V_SUB_VV": 12,
    "V_ADD_VF": 13,
    "V_SUB_VF": 13,
    "V_MUL_VV": 10,
    "V_MUL_VF": 11,
    "V_EXP_V": 21,
    "V_RECI_V": 11,
    "V_SHFT_V": 1,
}
"""Cycles of the vector instructions that a pipe executes, one a cycle."""

_SCALAR = {
    "S_ADD_FP": (10, 9),
    "S_SUB_FP": (10, 9),
    "S_MUL_FP": (8, 7),
    "S_EXP_FP": (20, 19),
    "S_RECI_FP": (10, 9),
    "S_SQRT_FP": (6, 5),
    "S_MAX_FP": (10, 10),
}
"""Cycles until the scalar unit is free, and until the result is there."""

_ESTIMATE = TableProfile(
    "rtl-v1",
    "issue cycles with operation times measured on the RTL",
    {
        **dict.fromkeys(Cost, constant(1)),
        **dict.fromkeys(_PRODUCTS, lambda t, _: _product(t) + 1),
        **dict.fromkeys(_ROW_PRODUCTS, lambda t, _: _row_product(t) + 1),
        Cost.WRITE_OUT: lambda t, _: _write_out(t),
        Cost.ROW_WRITE_OUT: lambda t, _: _row_write_out(t),
        Cost.V_SUM: lambda t, _: 6 + 7 * levels(t),
        Cost.V_RED_MAX: lambda t, _: 6 + 2 * levels(t),
        Cost.TWO_VLEN: lambda t, _: t.vlen + 4,
        Cost.S_FP: constant(10),
        Cost.S_EXP: constant(20),
        Cost.S_RECI: constant(10),
        Cost.S_SQRT: constant(6),
        Cost.NEVER: constant(0),
    },
)

_FIELDS = {Field.RD: sb.FIELD_D, Field.RS1: sb.FIELD_A, Field.RS2: sb.FIELD_B}


@derived
def _units(mnemonic: str, target: Target) -> tuple[int, ...]:
    """What an instruction does on the scoreboard: a row of `plena.timing.scoreboard.COLUMNS` numbers."""
    spec = INSTRUCTIONS[mnemonic]
    row = [0] * sb.COLUMNS
    field_of = {slot.name: _FIELDS.get(slot.field, 0) for slot in spec.slots}
    row[sb.BUSY] = row[sb.READY] = row[sb.INTERVAL] = 1
    row[sb.USES_PORT] = int(mnemonic.startswith(("M_", "V_")))
    if spec.transfer is not None:
        loads, matrix = spec.transfer.is_load, spec.may_write(Memory.MATRIX)
        cells = spec.transfer.rows(target) * target.vlen
        row[sb.UNIT] = (sb.LOAD_M if matrix else sb.LOAD_V) if loads else sb.STORE
        if matrix:
            row[sb.M_READ], row[sb.M_LENGTH], row[sb.M_WRITES] = sb.FIELD_D, cells, 1
        elif loads:
            row[sb.V_WRITE], row[sb.V_WRITE_LENGTH], row[sb.V_WRITES] = sb.FIELD_D, cells, 1
            row[sb.V_WRITE_PITCH] = 1
        else:
            row[sb.V_READ], row[sb.V_LENGTH] = sb.FIELD_D, cells
    elif spec.cost in _PRODUCTS or spec.cost in _ROW_PRODUCTS:
        whole = spec.cost in _PRODUCTS
        busy = _product(target) if whole else _row_product(target)
        row[sb.UNIT], row[sb.BUSY], row[sb.READY] = sb.PRODUCT, busy, busy
        row[sb.M_READ], row[sb.M_LENGTH] = field_of["mat"], target.tile
        row[sb.V_READ], row[sb.V_LENGTH] = field_of["vec"], target.tile if whole else target.vlen
    elif spec.cost in (Cost.WRITE_OUT, Cost.ROW_WRITE_OUT):
        busy = _write_out(target) if spec.cost is Cost.WRITE_OUT else _row_write_out(target)
        row[sb.UNIT], row[sb.BUSY], row[sb.READY] = sb.WRITE_OUT, busy, busy
        row[sb.V_WRITE] = field_of["dst"]
        strided = "stride" in field_of
        heads = target.broadcast_amount if spec.may_touch(Memory.ACC_BMM, Memory.ACC_BMV) else 1
        wide = target.tile if spec.may_touch(Memory.ACC_BMM) else target.mlen
        row[sb.V_WRITES], row[sb.V_WRITE_PITCH] = (target.blen, 0) if strided else (1, 1)
        row[sb.V_WRITE_LENGTH] = heads * wide
    elif mnemonic in ("V_RED_SUM", "V_RED_MAX"):
        busy = 5 + (7 if mnemonic == "V_RED_SUM" else 2) * levels(target)
        row[sb.UNIT], row[sb.BUSY], row[sb.READY] = sb.REDUCTION, busy, busy
        row[sb.V_READ], row[sb.V_LENGTH] = field_of["a"], target.vlen
    elif mnemonic in _ELEMENTWISE:
        row[sb.UNIT] = sb.ELEMENTWISE
        row[sb.BUSY] = row[sb.READY] = _ELEMENTWISE[mnemonic]
        row[sb.V_READ], row[sb.V_LENGTH] = field_of["a"], target.vlen
        if mnemonic.endswith("_VV"):
            row[sb.V_READ_2], row[sb.V_LENGTH_2] = field_of["b"], target.vlen
        row[sb.TAKES_FP] = int(mnemonic.endswith("_VF"))
        row[sb.V_WRITE], row[sb.V_WRITE_LENGTH], row[sb.V_WRITES] = field_of["dst"], target.vlen, 1
        row[sb.V_WRITE_PITCH] = 1
    elif mnemonic in _SCALAR:
        row[sb.UNIT] = sb.SCALAR
        row[sb.BUSY], row[sb.READY] = _SCALAR[mnemonic]
    elif mnemonic == "S_MAP_V_FP":
        row[sb.UNIT], row[sb.BUSY], row[sb.READY] = sb.SCALAR_SRAM, target.vlen + 4, target.vlen + 3
        row[sb.V_WRITE], row[sb.V_WRITE_LENGTH], row[sb.V_WRITES] = field_of["dst"], target.vlen, 1
        row[sb.V_WRITE_PITCH] = 1
    elif any(slot.kind is Kind.F for slot in spec.slots):
        row[sb.UNIT] = sb.SCALAR_SRAM
    elif spec.integer is Integer.BREAK:
        row[sb.UNIT] = sb.BREAK
    else:
        row[sb.UNIT] = sb.INTEGER if mnemonic.startswith("S_") else sb.CONTROL
    return tuple(row)


def unit_table(run: Run) -> I64:
    """What each line does on the scoreboard, int64[n, COLUMNS]."""
    table = np.zeros((len(run.opcodes), sb.COLUMNS), np.int64)
    for opcode in np.unique(run.opcodes).tolist():
        if opcode not in OPCODES:
            continue
        spec = OPCODES[opcode]
        at = np.flatnonzero(run.opcodes == opcode)
        table[at] = _units(spec.mnemonic, run.target)
        for position, slot in enumerate(spec.slots):
            if slot.kind is Kind.F:
                bits = np.int64(1) << run.values[at, position]
                if Mode.READ in slot.mode:
                    table[at, sb.READS] |= bits
                if Mode.WRITE in slot.mode:
                    table[at, sb.SETS] |= bits
    return table


def _make_cycles(stamp: int) -> Callable[..., bool]:
    @entry_point
    def cycles(lines: I64, units: I64, s: Integers, b: Board, events: I64, mlen: int, took: I64) -> bool:
        """Adds up, by line, the cycles between the acceptance of the instruction before and its own; every transfer
        takes a cycle."""
        previous = np.int64(stamp * 0)
        last = 0
        while s.position[RUNNING] == RUNS:
            for k in range(follow(lines, s, events)):
                at = events[k, LINE]
                last = at
                accepted = accept(b, lines[at], units[at], events[k], 1, mlen)
                if accepted < 0:
                    return False
                took[at] += accepted - previous
                previous = accepted
        took[last] += max(0, b.slots[sb.MAKESPAN] - previous)
        return s.position[RUNNING] != LOST

    return cycles


def _make_latency(stamp: int) -> Callable[..., bool]:
    @entry_point
    def latency(
        lines: I64,
        units: I64,
        costs: I64,
        s: Integers,
        b: Board,
        d: Device,
        known: KnownLoads,
        words: I64,
        events: I64,
        mlen: int,
        took: I64,
        r: Recorder,
    ) -> bool:
        """The same, transfers as long as in a serial run, in which an instruction takes its `costs`."""
        serial = np.int64(stamp * 0)
        previous = np.int64(0)
        last = 0
        while s.position[RUNNING] == RUNS:
            for k in range(follow(lines, s, events)):
                event = events[k]
                at = event[LINE]
                last = at
                kind = units[at, sb.UNIT]
                transfer = np.int64(1)
                if kind in (sb.LOAD_M, sb.LOAD_V, sb.STORE):
                    if not is_known(lines[at], event):
                        return False
                    if kind == sb.STORE:
                        end = store_once(d, known, lines[at], event, words, serial)
                    else:
                        end = load_once(d, known, lines[at], event, words, serial)
                    transfer = max(1, end - serial)
                    serial = end
                else:
                    serial += costs[at]
                issue, computed = b.slots[sb.NEXT], b.slots[sb.COMPUTE]
                cause = waits_for(b, lines[at], units[at], event) if r.width[0] else NO_WAIT
                accepted = accept(b, lines[at], units[at], event, transfer, mlen)
                if accepted < 0:
                    return False
                took[at] += accepted - previous
                if r.width[0]:
                    passes(r, at, previous, accepted)
                    begin = max(accepted, computed) if kind == sb.WRITE_OUT else accepted
                    lasts = transfer if kind in (sb.LOAD_M, sb.LOAD_V, sb.STORE) else units[at, sb.BUSY]
                    waits(r, at, issue, accepted, cause)
                    works(r, at, begin, begin + lasts)
                previous = accepted
        took[last] += max(0, b.slots[sb.MAKESPAN] - previous)
        passes(r, last, previous, b.slots[sb.MAKESPAN])
        return s.position[RUNNING] != LOST

    return latency


_cycles = _make_cycles(STAMP)
_latency = _make_latency(STAMP)


def line_cycles(run: Run) -> I64 | None:
    """Cycles of each line, every transfer at a cycle; None if an address in vector or matrix SRAM hangs on data."""
    lines, units = table_of(run), unit_table(run)
    took = np.zeros(len(lines), np.int64)
    board, events = new_board(), event_buffer()
    known = _cycles(lines, units, before(run, lines), board, events, run.target.mlen, took)
    return took if known else None


def record(run: Run, into: Recorder) -> I64 | None:
    """Cycles of each line with transfers, what happened written down; None if an address hangs on data."""
    lines, units = table_of(run), unit_table(run)
    took = np.zeros(len(lines), np.int64)
    device, known_loads = fresh_device(run.target, writes_complete=True)
    known = _latency(
        lines,
        units,
        SERIAL.once(run),
        before(run, lines),
        new_board(),
        device,
        known_loads,
        word_buffer(lines),
        event_buffer(),
        run.target.mlen,
        took,
        into,
    )
    return took if known else None


def line_latency(run: Run) -> I64 | None:
    """Cycles of each line with transfers; None if an address hangs on data."""
    return record(run, nothing_recorded())


def bounds(run: Run) -> dict[str, int]:
    """Cycles that a run takes at least, whatever its order: what units are busy with, and one instruction a cycle.

    A product cannot begin in the cycle in which the one before it ends (a recovery cycle). Transfers are apart.
    """
    units = unit_table(run)
    kinds, busy = units[:, sb.UNIT], units[:, sb.BUSY]
    products = np.isin(kinds, (sb.PRODUCT, sb.WRITE_OUT))
    matrix = run.executions[products] * (busy + (kinds == sb.PRODUCT))[products]
    rows = np.isin(kinds, (sb.ELEMENTWISE, sb.REDUCTION))
    vector = run.executions[rows] * np.where(kinds == sb.ELEMENTWISE, units[:, sb.INTERVAL], busy)[rows]
    return {
        "matrix unit": int(matrix.sum()),
        "vector pipe": int(vector.sum()),
        "issue": int(run.executions.sum()),
    }


_ENGINES = {
    sb.ELEMENTWISE: Engine.ELEMENTWISE,
    sb.REDUCTION: Engine.REDUCTION,
    sb.SCALAR: Engine.SCALAR,
    sb.SCALAR_SRAM: Engine.SCALAR_SRAM,
}


def work(spec: InstructionSpec, target: Target) -> Work:
    """What a scheduler may know of an instruction."""
    row = _units(spec.mnemonic, target)
    engine = _ENGINES.get(row[sb.UNIT], Engine.OTHER)
    interval = row[sb.INTERVAL] if engine is Engine.ELEMENTWISE else row[sb.BUSY]
    return Work(engine, interval, row[sb.READY], bool(row[sb.TAKES_FP]))


PROFILE = StreamProfile(
    "rtl-v1",
    "a scoreboard with operation times measured on the RTL",
    estimate=_ESTIMATE,
    simulate=line_cycles,
    latency=line_latency,
    missing=MISSING,
    overlaps=True,
    beside_products=True,
    record=record,
    bounds=bounds,
    unsupported=unsupported,
    work=work,
)
