"""The integer part of a program run for real: for code whose control flow or addresses are not linear.

Registers, loops, INT SRAM and the demands on operands are exact; data is not computed. Numbers from INT SRAM that the
host loads without declared contents are unknown; the run stops where one would decide something.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plena.dialects.plena_isa import OPCODES, Field, Integer
from plena.dialects.plena_isa.demands import DemandKind
from plena.dialects.plena_isa.spec import STICKY
from plena.emulator.decoding import DecodedProgram
from plena.emulator.kernels import Kernel
from plena.lifting.flat_program import FlatProgram
from plena.lifting.preloaded import Preloaded
from plena.lifting.records import RecordLayout, layout
from plena.machine.target import Target
from plena.verification import concrete_kernels as k
from plena.verification.accesses import ANYWHERE, CellAccess, Cells, Memories, cell_accesses
from plena.verification.affine_checks import store_of
from plena.verification.checks import Check, check_table
from plena.verification.concrete_kernels import (
    ABORT,
    ABORTED,
    ADD,
    ADDI,
    ADDRESS,
    ANYTHING,
    BREAK,
    END,
    FAILED_CHECK,
    FREE,
    LOAD,
    LUI,
    MOST_NUMBERS,
    MUL,
    ONE,
    PLAIN,
    RESULT,
    START,
    STATE,
    STORE,
    SUB,
    SUM,
    SUM_FACTOR,
    UNKNOWN,
    ZERO,
    Memory,
    Tables,
    run,
)

STEP_LIMIT = 300_000_000
"""Instructions after which the run gives up: some seconds."""

_CHECKS = {
    DemandKind.ALIGNED: k.CHECK_ALIGNED,
    DemandKind.BELOW: k.CHECK_BELOW,
    DemandKind.RESIDUE_BELOW: k.CHECK_RESIDUE_BELOW,
    DemandKind.STRIDED_ROWS: k.CHECK_STRIDED_ROWS,
    DemandKind.STORE: k.CHECK_STORE,
}
_FIXED = {
    Integer.ADD_IMMEDIATE: ADDI,
    Integer.ADD: ADD,
    Integer.SUBTRACT: SUB,
    Integer.MULTIPLY: MUL,
    Integer.LOAD_UPPER: LUI,
    Integer.LOAD: LOAD,
    Integer.STORE: STORE,
    Integer.SET_BASE: ADDRESS,
    Integer.SET_STICKY: STATE,
    Integer.LOOP_START: START,
    Integer.LOOP_END: END,
    Integer.BREAK: BREAK,
}


@dataclass(frozen=True)
class ConcreteResult:
    """How a run ended.

    Attributes:
        status: DONE or what stopped it, as in `concrete_kernels`.
        pc: the instruction it ended at.
        abort: the emulator's abort code when ABORTED.
        check: the failed demand.
        value: the number that failed it.
        unwritten: instruction -> (cells, first cell it read that nothing had written).
    """

    status: int
    pc: int
    abort: int
    check: Check | None
    value: int
    unwritten: dict[int, tuple[Cells, int]]


_COLUMN = {Field.RD: 1, Field.RS1: 2, Field.RS2: 3, Field.RS3: 6}
_STORED = {Cells.VECTOR: 0, Cells.MATRIX: 1, Cells.FP: 2, Cells.INT: 3}


class _Assembler:
    """Collects the tables, one shape for all instructions that differ only in registers and immediates."""

    def __init__(self, code: FlatProgram, decoded: DecodedProgram, target: Target) -> None:
        self.target = target
        self.shape_of: dict[tuple[int, ...], int] = {}
        self.checks: list[Check] = []
        self.columns: dict[str, list[tuple[int, ...]]] = {
            name: [] for name in ("checks", "accesses", "offset", "fields", "store", "check", "access")
        }
        self.rows = np.zeros((len(code), 7), np.int64)
        self.rows[:, 1], self.rows[:, 2], self.rows[:, 3] = code.rd, code.rs1, code.rs2
        self.rows[:, 4], self.rows[:, 6] = code.imm, code.rs3
        opcodes = np.array(code.op, np.int64)
        for op, spec in OPCODES.items():
            if spec.integer is not None:
                self.rows[opcodes == op, 0] = _FIXED[spec.integer]
            else:
                changes = RESULT * spec.writes_gp + ANYTHING * bool(layout(op).state)
                self.rows[opcodes == op, 0] = PLAIN + changes
            if spec.integer is Integer.SET_STICKY:
                self.rows[opcodes == op, 4] = _sticky_number(op)
        kernels = decoded.rows[:, 0]
        self.rows[kernels == Kernel.FREE, 0] = FREE
        self.rows[kernels == Kernel.ABORT, 0] = ABORT
        is_abort = self.rows[:, 0] == ABORT
        self.rows[is_abort, 4] = decoded.rows[is_abort, 6]
        for pc in np.flatnonzero(~is_abort & (self.rows[:, 0] != FREE)).tolist():
            self.rows[pc, 5] = self._shape(code, pc)

    def _shape(self, code: FlatProgram, pc: int) -> int:
        op, flags = code.op[pc], code.flags[pc]
        is_unit_stride = False
        if (pitch := layout(op).pitch) is not None:
            place, rows = pitch
            is_unit_stride = not code.field(layout(op).fields[place])[pc] or rows(self.target) == 1
        key = (op, flags, is_unit_stride)
        shape = self.shape_of.get(key)
        if shape is None:
            shape = self.shape_of[key] = len(self.shape_of)
            self._add(op, flags, is_unit_stride)
        return shape

    def _add(self, op: int, flags: int, is_unit_stride: bool) -> None:
        columns, target = self.columns, self.target
        shape = layout(op)
        checks = check_table(target).of(op, flags)
        columns["checks"].append((len(columns["check"]), len(checks)))
        columns["check"] += [(_CHECKS[c.kind], c.number, c.modulus, c.limit, c.rows) for c in checks]
        self.checks += checks
        accesses = _accesses(target, op, flags)
        columns["accesses"].append((len(columns["access"]), len(accesses)))
        columns["access"] += [(_STORED[a.cells], a.is_write, a.number, a.count, a.stride) for a in accesses]
        fields = [_COLUMN[f] for f in shape.fields]
        if is_unit_stride and shape.pitch is not None:
            fields[shape.pitch[0]] = ONE
        if shape.sum is not None:
            added, address = shape.sum
            fields[address], fields[added] = SUM + SUM_FACTOR * fields[added] + fields[address], ZERO
        columns["fields"].append(tuple(fields + [ZERO] * (MOST_NUMBERS - len(fields))))
        columns["offset"].append((shape.offset,))
        columns["store"].append(_store_columns(target, shape, flags))

    def tables(self) -> Tables:
        widths = {
            "checks": 2,
            "accesses": 2,
            "offset": 1,
            "fields": MOST_NUMBERS,
            "store": 6,
            "check": 5,
            "access": 5,
        }
        arrays = {
            name: np.array(rows, np.int64).reshape(len(rows), widths[name])
            for name, rows in self.columns.items()
        }
        memories = Memories.of(self.target)
        return Tables(
            code=self.rows,
            sizes=np.array(memories.sizes, np.int64),
            units=np.array(memories.units, np.int64),
            **arrays,
        )


def _accesses(target: Target, op: int, flags: int) -> tuple[CellAccess, ...]:
    """The accesses whose place is known: for others one whole memory is touched."""
    sizes = Memories.of(target).sizes
    return tuple(
        CellAccess(a.cells, a.is_write, MOST_NUMBERS, sizes[a.cells]) if a.number == ANYWHERE else a
        for a in cell_accesses(target, op, flags)
    )


def _store_columns(target: Target, shape: RecordLayout, flags: int) -> tuple[int, ...]:
    store = store_of(target, shape.spec, flags)
    if store is None:
        return (0,) * 6
    pitch = -1 if store.pitch is None else store.pitch
    return store.rows, store.row_bytes, store.scale_bytes, store.ratio, pitch, store.hbm_size


def _sticky_number(op: int) -> int:
    """Where the run keeps the register that an instruction sets."""
    memories = [register.memory for register in STICKY.values()]
    (number,) = (memories.index(t.memory) for t in OPCODES[op].touches or () if t.memory in memories)
    return number


def run_concretely(
    code: FlatProgram, decoded: DecodedProgram, target: Target, preloaded: Preloaded, limit: int | None = None
) -> ConcreteResult:
    """Runs the integer part of a program from reset."""
    assembler = _Assembler(code, decoded, target)
    tables = assembler.tables()
    memory = _memory(target, preloaded)
    facts = np.zeros(3, np.int64)
    unwritten = np.full((len(code), 2), -1, np.int64)
    status = int(run(tables, memory, target.max_loop_instructions, limit or STEP_LIMIT, facts, unwritten))
    pc = int(facts[0])
    return ConcreteResult(
        status,
        pc,
        int(facts[1]) if status == ABORTED else 0,
        assembler.checks[int(facts[2])] if status in (FAILED_CHECK, UNKNOWN) and assembler.checks else None,
        int(facts[1]),
        {
            int(at): (Cells(int(unwritten[at, 0])), int(unwritten[at, 1]))
            for at in np.flatnonzero(unwritten[:, 0] >= 0)
        },
    )


def _memory(target: Target, preloaded: Preloaded) -> Memory:
    sizes, units = Memories.of(target).sizes, Memories.of(target).units
    written = [np.zeros(size, np.bool_) for size in sizes]
    for cells, name in (
        (Cells.VECTOR, "vector"),
        (Cells.MATRIX, "matrix"),
        (Cells.FP, "fp"),
        (Cells.INT, "int"),
    ):
        for span in preloaded.of_memory(name):
            written[cells][span.start // units[cells] : -(-span.stop // units[cells])] = True
    words = np.zeros(target.int_sram_size, np.int64)
    known = np.ones(target.int_sram_size, np.bool_)
    for span in preloaded.of_memory("int"):
        words[span.start : span.stop] = span.low
        known[span.start : span.stop] = span.low == span.high
    return Memory(words, known, *written)
