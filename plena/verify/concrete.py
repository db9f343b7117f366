"""The integer part of a program run for real: for code whose control flow or addresses are not linear.

Registers, loops, INT SRAM and the demands on operands are exact; data is not computed. Numbers from INT SRAM that the
host loads without declared contents are unknown; the run stops where one would decide something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plena.backend.emulator import aborts
from plena.backend.emulator.compiled import entry_point, kernel
from plena.backend.emulator.decoding import DecodedProgram
from plena.backend.emulator.kernels import Kernel
from plena.dialects.plena_isa import OPCODES, Field
from plena.lift.code import Code
from plena.lift.execute import layout
from plena.lift.preloaded import Preloaded
from plena.target import Target
from plena.verify.accesses import Cells, Memories, cell_accesses
from plena.verify.affine_checks import store_shape
from plena.verify.checks import Check, CheckKind, check_table

I64 = NDArray[np.int64]
Int: Any = int

STEP_LIMIT = 300_000_000
"""Instructions after which the run gives up: some seconds."""

MOST_NUMBERS = 4

(DONE, FAILED_CHECK, ABORTED, UNKNOWN, EXHAUSTED) = range(5)
(PLAIN, ADDI, ADD, SUB, MUL, LUI, LOAD, STORE, ADDRESS, STATE, START, END, BREAK, FREE, ABORT, TOPK) = range(16)
_FIXED = {
    Kernel.S_ADDI_INT: ADDI,
    Kernel.S_ADD_INT: ADD,
    Kernel.S_SUB_INT: SUB,
    Kernel.S_MUL_INT: MUL,
    Kernel.S_LUI_INT: LUI,
    Kernel.S_LD_INT: LOAD,
    Kernel.S_ST_INT: STORE,
    Kernel.C_SET_ADDR_REG: ADDRESS,
    Kernel.C_SET_SCALE_REG: STATE,
    Kernel.C_SET_STRIDE_REG: STATE,
    Kernel.C_SET_V_MASK_REG: STATE,
    Kernel.C_LOOP_START: START,
    Kernel.C_LOOP_END: END,
    Kernel.C_BREAK: BREAK,
    Kernel.FREE: FREE,
    Kernel.ABORT: ABORT,
    Kernel.V_TOPK: TOPK,
}
_SCALE, _STRIDE = 0, 1
_STATE_OF = {Kernel.C_SET_SCALE_REG: 0, Kernel.C_SET_STRIDE_REG: 1, Kernel.C_SET_V_MASK_REG: 2}


class Tables(NamedTuple):
    """A program for the compiled run.

    `code[n, 6]`: what, rd, rs1, rs2, immediate, shape; by shape (instructions alike but for registers): `checks[s, 2]`
    and `accesses[s, 2]` first and count, `offset[s]` the number that the immediate is added to; `check[c, 5]` kind, number, modulus, limit, rows; `access[a, 5]` cells, is write,
    number, count, stride; `fields[s, 4]` the register column of every number (-1: none, 9: the sum of rd and
    rs1); `store[s, 6]` as StoreShape, -1 for the pitch from the register.
    """

    code: I64
    checks: I64
    accesses: I64
    offset: I64
    fields: I64
    store: I64
    check: I64
    access: I64
    sizes: I64
    units: I64


class Memory(NamedTuple):
    """What the run changes: INT SRAM and which of its words are known, which cells were written."""

    words: I64
    known: NDArray[np.bool_]
    vector: NDArray[np.bool_]
    matrix: NDArray[np.bool_]
    fp: NDArray[np.bool_]
    int: NDArray[np.bool_]


@dataclass(frozen=True)
class ConcreteResult:
    """How a run ended.

    Attributes:
        status: DONE, FAILED_CHECK, ABORTED, UNKNOWN or EXHAUSTED.
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


_COLUMN = {Field.RD: 1, Field.RS1: 2, Field.RS2: 3}
_SUM_OF_RD_AND_RS1, _ZERO, _ONE = 9, -2, -1
_STORED = {Cells.VECTOR: 0, Cells.MATRIX: 1, Cells.FP: 2, Cells.INT: 3}


class _Assembler:
    """Collects the tables, one shape for all instructions that differ only in registers and immediates."""

    def __init__(self, code: Code, decoded: DecodedProgram, target: Target) -> None:
        self.target = target
        self.shape_of: dict[tuple[int, ...], int] = {}
        self.checks: list[Check] = []
        self.columns: dict[str, list[tuple[int, ...]]] = {
            name: [] for name in ("checks", "accesses", "offset", "fields", "store", "check", "access")
        }
        self.rows = np.zeros((len(code), 6), np.int64)
        self.rows[:, 1], self.rows[:, 2], self.rows[:, 3] = code.rd, code.rs1, code.rs2
        self.rows[:, 4] = code.imm
        kernels = decoded.rows[:, 0]
        for kernel_number, what in _FIXED.items():
            self.rows[kernels == kernel_number, 0] = what
        for kernel_number, state in _STATE_OF.items():
            self.rows[kernels == kernel_number, 4] = state
        is_abort = self.rows[:, 0] == ABORT
        self.rows[is_abort, 4] = decoded.rows[is_abort, 6]
        for pc in np.flatnonzero(~is_abort & (self.rows[:, 0] != FREE)).tolist():
            self.rows[pc, 5] = self._shape(code, pc)

    def _shape(self, code: Code, pc: int) -> int:
        op, rs3 = code.op[pc], code.rs3[pc]
        precision = code.number(pc, Field.FUNCT1) != 0
        is_unit_stride = OPCODES[op].mnemonic == "M_MM_WO" and (not code.rs1[pc] or self.target.blen == 1)
        key = (op, rs3, precision, is_unit_stride)
        shape = self.shape_of.get(key)
        if shape is None:
            shape = self.shape_of[key] = len(self.shape_of)
            self._add(op, rs3, precision, is_unit_stride)
        return shape

    def _add(self, op: int, rs3: int, precision: bool, is_unit_stride: bool) -> None:
        columns, target = self.columns, self.target
        shape = layout(op)
        checks = check_table(target).of(op, rs3)
        columns["checks"].append((len(columns["check"]), len(checks)))
        columns["check"] += [(c.kind, c.number, c.modulus, c.limit, c.rows) for c in checks]
        self.checks += checks
        accesses = cell_accesses(target, op, rs3)
        columns["accesses"].append((len(columns["access"]), len(accesses)))
        columns["access"] += [(_STORED[a.cells], a.is_write, a.number, a.count, a.stride) for a in accesses]
        fields = [_COLUMN[f] for f in shape.fields]
        if is_unit_stride:
            fields[1] = _ONE
        if shape.spec.mnemonic == "M_BTMV":
            fields[:2] = [_ZERO, _SUM_OF_RD_AND_RS1]
        columns["fields"].append(tuple(fields + [_ZERO] * (MOST_NUMBERS - len(fields))))
        columns["offset"].append((shape.offset,))
        store = store_shape(target, precision, rs3 == 1)
        pitch = -1 if store.pitch is None else store.pitch
        columns["store"].append(
            (store.rows, store.row_bytes, store.scale_bytes, store.ratio, pitch, store.hbm_size)
        )

    def tables(self) -> Tables:
        widths = {"checks": 2, "accesses": 2, "offset": 1, "fields": MOST_NUMBERS, "store": 6, "check": 5, "access": 5}
        arrays = {
            name: np.array(rows, np.int64).reshape(len(rows), widths[name]) for name, rows in self.columns.items()
        }
        memories = Memories.of(self.target)
        return Tables(
            code=self.rows,
            sizes=np.array(memories.sizes, np.int64),
            units=np.array(memories.units, np.int64),
            **arrays,
        )


_WORD = 1 << 32


@kernel
def _store_problem(
    shape: I64, off: Int, base: Int, scale: Int, stride: Int, facts: I64
) -> Int:
    """Whether some row of H_STORE_V, elements or scales, reaches past the end of HBM."""
    pitch = shape[4] if shape[4] >= 0 else stride
    size = np.uint64(shape[5])
    first = base + np.uint64(off)
    scales = base + np.uint64(scale) + np.uint64(off // shape[3])
    for row in range(shape[0]):
        at = first + np.uint64((row * pitch) & (_WORD - 1))
        length = np.uint64(shape[1])
        if at > size or length > size - at:
            facts[1] = np.int64(at)
            return True
        if shape[2] > 0:
            at = scales + np.uint64(np.float32(row) * np.float32(np.float32(pitch) / np.float32(shape[3])))
            length = np.uint64(shape[2])
            if at > size or length > size - at:
                facts[1] = np.int64(at)
                return True
    return False


@kernel
def _fails(check: I64, store: I64, v: I64, base: Int, sticky: I64, facts: I64) -> Int:
    """Whether a demand fails for the numbers v; facts[1] is then the culprit."""
    kind, modulus, limit = check[0], check[2], check[3]
    x = v[check[1]]
    facts[1] = x
    if kind == CheckKind.ALIGNED:
        return x % modulus != 0
    if kind == CheckKind.BELOW:
        return x >= limit
    if kind == CheckKind.RESIDUE_BELOW:
        return x % modulus >= limit
    if kind == CheckKind.STRIDED_ROWS:
        for row in range(check[4]):
            at = (x - x % modulus + row * v[check[1] + 1] * modulus) & (_WORD - 1)
            facts[1] = at
            if at >= limit or at % modulus != 0:
                return True
        return False
    return _store_problem(store, x, base, sticky[_SCALE], sticky[_STRIDE], facts)


@kernel
def _cells_of(m: Memory, which: Int) -> Any:
    if which == 0:
        return m.vector
    if which == 1:
        return m.matrix
    if which == 2:
        return m.fp
    return m.int


@kernel
def _touch(access: I64, v: I64, t: Tables, m: Memory) -> Int:
    """Marks written cells; the first cell that is read but was never written, else -1."""
    which = access[0]
    written = _cells_of(m, which)
    unit, size = t.units[which], t.sizes[which]
    first = v[access[2]] // unit
    for i in range(access[3]):
        cell = first + i
        if access[4] >= 0:
            cell = ((v[access[2]] - v[access[2]] % unit + i * v[access[4]] * unit) & (_WORD - 1)) // unit
        if 0 <= cell < size:
            if access[1]:
                written[cell] = True
            elif not written[cell]:
                return cell
    return -1


@entry_point
def _run(t: Tables, m: Memory, allowed: Int, limit: Int, facts: I64, unwritten: I64) -> Int:
    """Runs to the end, a failed demand, an abort or a decision on an unknown number; facts[0] is the pc."""
    code, mask = t.code, _WORD - 1
    gp, known = np.zeros(16, np.int64), np.ones(16, np.bool_)
    high, low, base_known = np.zeros(16, np.int64), np.zeros(16, np.int64), np.ones(16, np.bool_)
    sticky, sticky_known = np.array([0, 1, 0], np.int64), np.ones(3, np.bool_)
    loops = np.zeros((4096, 3), np.int64)
    depth, executed, pc = 0, 0, 0
    v, is_known = np.zeros(MOST_NUMBERS, np.int64), np.ones(MOST_NUMBERS, np.bool_)
    while pc < code.shape[0]:
        facts[0] = pc
        if executed >= limit:
            return EXHAUSTED
        for i in range(depth):
            if executed - loops[i, 2] >= allowed:
                facts[0], facts[1] = loops[i, 0], aborts.LOOP_WATCHDOG
                return ABORTED
        executed += 1
        what, rd, rs1, rs2, imm, shape = code[pc]
        following = pc + 1
        if what == ADDI:
            gp[rd], known[rd] = (gp[rs1] + imm) & mask, known[rs1]
        elif what == ADD:
            gp[rd], known[rd] = (gp[rs1] + gp[rs2]) & mask, known[rs1] and known[rs2]
        elif what == SUB:
            is_same = rs1 == rs2
            gp[rd], known[rd] = (gp[rs1] - gp[rs2]) & mask, is_same or (known[rs1] and known[rs2])
        elif what == MUL:
            is_zero = (known[rs1] and gp[rs1] == 0) or (known[rs2] and gp[rs2] == 0)
            product = np.int64((np.uint64(gp[rs1]) * np.uint64(gp[rs2])) & np.uint64(mask))
            known[rd] = is_zero or (known[rs1] and known[rs2])
            gp[rd] = 0 if is_zero else product
        elif what == LUI:
            gp[rd], known[rd] = (imm << 12) & mask, True
        elif what == ADDRESS:
            high[rd], low[rd], base_known[rd] = gp[rs1], gp[rs2], known[rs1] and known[rs2]
        elif what == STATE:
            sticky[imm], sticky_known[imm] = gp[rd], known[rd]
        elif what == START:
            if depth == loops.shape[0]:
                return EXHAUSTED
            gp[rd], known[rd] = imm, True
            loops[depth, 0], loops[depth, 1], loops[depth, 2] = pc, rd, executed
            depth += 1
        elif what == END:
            position = depth - 1
            while position >= 0 and loops[position, 1] != rd:
                position -= 1
            if position < 0:
                facts[1] = aborts.LOOP_END_UNMATCHED
                return ABORTED
            if not known[rd]:
                return UNKNOWN
            if gp[rd] > 1:
                gp[rd] -= 1
                following = loops[position, 0] + 1
                loops[position, 2] = executed
            else:
                gp[rd] = 0
                for i in range(position, depth - 1):
                    loops[i] = loops[i + 1]
                depth -= 1
        elif what == BREAK:
            if depth == 0:
                facts[1] = aborts.BREAK_NO_LOOP
                return ABORTED
            depth -= 1
            gp[loops[depth, 1]], known[loops[depth, 1]] = 0, True
        elif what == ABORT:
            facts[1] = imm
            return ABORTED
        elif what != FREE:
            for j in range(MOST_NUMBERS):
                source = t.fields[shape, j]
                is_known[j] = True
                if source == _ZERO:
                    v[j] = 0
                elif source == _ONE:
                    v[j] = 1
                elif source == _SUM_OF_RD_AND_RS1:
                    v[j], is_known[j] = (gp[rd] + gp[rs1]) & mask, known[rd] and known[rs1]
                else:
                    v[j], is_known[j] = gp[code[pc, source]], known[code[pc, source]]
            j = t.offset[shape, 0]
            if j >= 0:
                v[j] = (v[j] + imm) & mask
            base = np.uint64(high[rs2]) << np.uint64(32) | np.uint64(low[rs2])
            for i in range(t.checks[shape, 0], t.checks[shape, 0] + t.checks[shape, 1]):
                check = t.check[i]
                certain = is_known[check[1]]
                if check[0] == CheckKind.STRIDED_ROWS:
                    certain = certain and is_known[check[1] + 1]
                if check[0] == CheckKind.STORE:
                    certain = certain and base_known[rs2] and sticky_known[_SCALE] and sticky_known[_STRIDE]
                facts[2] = i
                if not certain:
                    return UNKNOWN
                if _fails(check, t.store[shape], v, base, sticky, facts):
                    return FAILED_CHECK
            for i in range(t.accesses[shape, 0], t.accesses[shape, 0] + t.accesses[shape, 1]):
                cell = _touch(t.access[i], v, t, m)
                if cell >= 0 and unwritten[pc, 0] < 0:
                    unwritten[pc, 0], unwritten[pc, 1] = t.access[i, 0], cell
            if what == LOAD:
                gp[rd], known[rd] = m.words[v[0]], m.known[v[0]]
            elif what == STORE:
                m.words[v[1]], m.known[v[1]] = v[0], is_known[0]
            elif what == TOPK:
                for i in range(t.access[t.accesses[shape, 0] + 1, 3]):
                    m.known[v[2] + i] = False
        pc = following
    return DONE


def run_concretely(
    code: Code, decoded: DecodedProgram, target: Target, preloaded: Preloaded, limit: int = STEP_LIMIT
) -> ConcreteResult:
    """Runs the integer part of a program from reset."""
    assembler = _Assembler(code, decoded, target)
    tables = assembler.tables()
    memory = _memory(target, preloaded)
    facts = np.zeros(3, np.int64)
    unwritten = np.full((len(code), 2), -1, np.int64)
    status = int(_run(tables, memory, target.max_loop_instructions, limit, facts, unwritten))
    pc = int(facts[0])
    return ConcreteResult(
        status,
        pc,
        int(facts[1]) if status == ABORTED else aborts.OK,
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
    for cells, name in ((Cells.VECTOR, "vector"), (Cells.MATRIX, "matrix"), (Cells.FP, "fp"), (Cells.INT, "int")):
        for span in preloaded.of_memory(name):
            written[cells][span.start // units[cells] : -(-span.stop // units[cells])] = True
    words = np.zeros(target.int_sram_size, np.int64)
    known = np.ones(target.int_sram_size, np.bool_)
    for span in preloaded.of_memory("int"):
        words[span.start : span.stop] = span.low
        known[span.start : span.stop] = span.low == span.high
    return Memory(words, known, *written)



