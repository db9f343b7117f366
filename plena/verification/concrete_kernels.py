"""The compiled loop of the concrete run.

Everything it branches on is defined here: the machine code is cached on disk by this file's contents.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plena.jit import Int, compiled, entry_point
from plena.machine.constants import INT_LIMIT

I64 = NDArray[np.int64]

MOST_NUMBERS = 4

DONE, FAILED_CHECK, ABORTED, UNKNOWN, EXHAUSTED, WATCHDOG, END_UNMATCHED, BREAK_NO_LOOP = range(8)
"""How a run ends."""

PLAIN, ADDI, ADD, SUB, MUL, LUI, LOAD, STORE, ADDRESS, STATE, START, END, BREAK, FREE, ABORT = range(15)
"""What an instruction is to the run."""

RESULT, ANYTHING = 16, 32
"""Added to PLAIN: a number that is not known is left in rd; the sticky registers may be changed."""

CHECK_ALIGNED, CHECK_BELOW, CHECK_RESIDUE_BELOW, CHECK_STRIDED_ROWS, CHECK_STORE = range(5)

SUM, SUM_FACTOR, ONE, ZERO = 64, 8, -1, -2
"""Sources of numbers that are not registers; SUM + SUM_FACTOR * a + b adds the registers named in columns a and b."""

_INT = 3

_SCALE, _STRIDE = 0, 1


class Tables(NamedTuple):
    """A program for the compiled run.

    Attributes:
        code: `[n, 7]` what, rd, rs1, rs2, immediate, shape, rs3.
        checks, accesses: `[shapes, 2]` first and count in `check` and `access`; a shape is what instructions have in
            common that differ only in registers and immediates.
        offset: `[shapes, 1]` the number that the immediate is added to, -1 without.
        fields: `[shapes, 4]` the column of `code` that names the register of every number, or a special source.
        store: `[shapes, 6]` as StoreShape, pitch -1 for that of the register.
        check: `[checks, 5]` kind, number, modulus, limit, rows.
        access: `[accesses, 5]` cells, is write, number (MOST_NUMBERS: 0), count, stride.
        sizes, units: cells of the four memories, addresses of a cell.
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


@compiled
def _store_problem(shape: I64, off: Int, base: Int, scale: Int, stride: Int, facts: I64) -> Int:
    """Whether some row of H_STORE_V, elements or scales, reaches past the end of HBM."""
    pitch = shape[4] if shape[4] >= 0 else stride
    size = np.uint64(shape[5])
    first = base + np.uint64(off)
    scales = base + np.uint64(scale) + np.uint64(off // shape[3])
    for row in range(shape[0]):
        at = first + np.uint64((row * pitch) & (INT_LIMIT - 1))
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


@compiled
def _fails(check: I64, store: I64, v: I64, base: Int, sticky: I64, facts: I64) -> Int:
    """Whether a demand fails for the numbers v; facts[1] is then the culprit."""
    kind, modulus, limit = check[0], check[2], check[3]
    x = v[check[1]]
    facts[1] = x
    if kind == CHECK_ALIGNED:
        return x % modulus != 0
    if kind == CHECK_BELOW:
        return x >= limit
    if kind == CHECK_RESIDUE_BELOW:
        return x % modulus >= limit
    if kind == CHECK_STRIDED_ROWS:
        for row in range(check[4]):
            at = (x - x % modulus + row * v[check[1] + 1] * modulus) & (INT_LIMIT - 1)
            facts[1] = at
            if at >= limit or at % modulus != 0:
                return True
        return False
    return _store_problem(store, x, base, sticky[_SCALE], sticky[_STRIDE], facts)


@compiled
def _cells_of(m: Memory, which: Int) -> Any:
    if which == 0:
        return m.vector
    if which == 1:
        return m.matrix
    if which == 2:
        return m.fp
    return m.int


@compiled
def _touch(access: I64, v: I64, t: Tables, m: Memory) -> Int:
    """Marks written cells; the first cell that is read but was never written, else -1."""
    which = access[0]
    written = _cells_of(m, which)
    unit, size = t.units[which], t.sizes[which]
    first = v[access[2]] // unit
    for i in range(access[3]):
        cell = first + i
        if access[4] >= 0:
            cell = ((v[access[2]] - v[access[2]] % unit + i * v[access[4]] * unit) & (INT_LIMIT - 1)) // unit
        if 0 <= cell < size:
            if access[1]:
                written[cell] = True
            elif not written[cell]:
                return cell
    return -1


@entry_point
def run(t: Tables, m: Memory, allowed: Int, limit: Int, facts: I64, unwritten: I64) -> Int:
    """Runs to the end, a failed demand, an abort or a decision on an unknown number; facts[0] is the pc."""
    code, mask = t.code, INT_LIMIT - 1
    gp, known = np.zeros(16, np.int64), np.ones(16, np.bool_)
    high, low, base_known = np.zeros(16, np.int64), np.zeros(16, np.int64), np.ones(16, np.bool_)
    sticky, sticky_known = np.array([0, 1, 0], np.int64), np.ones(3, np.bool_)
    loops = np.zeros((4096, 3), np.int64)
    depth, executed, pc = 0, 0, 0
    v, is_known = np.zeros(MOST_NUMBERS + 1, np.int64), np.ones(MOST_NUMBERS + 1, np.bool_)
    while pc < code.shape[0]:
        facts[0] = pc
        if executed >= limit:
            return EXHAUSTED
        for i in range(depth):
            if executed - loops[i, 2] >= allowed:
                facts[0] = loops[i, 0]
                return WATCHDOG
        executed += 1
        what, rd, rs1, rs2, imm, shape = code[pc, :6]
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
                return END_UNMATCHED
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
                return BREAK_NO_LOOP
            depth -= 1
            gp[loops[depth, 1]], known[loops[depth, 1]] = 0, True
        elif what == ABORT:
            facts[1] = imm
            return ABORTED
        elif what != FREE:
            for j in range(MOST_NUMBERS):
                source = t.fields[shape, j]
                is_known[j] = True
                if source == ZERO:
                    v[j] = 0
                elif source == ONE:
                    v[j] = 1
                elif source >= SUM:
                    first = code[pc, (source - SUM) // SUM_FACTOR]
                    second = code[pc, (source - SUM) % SUM_FACTOR]
                    v[j], is_known[j] = (gp[first] + gp[second]) & mask, known[first] and known[second]
                else:
                    v[j], is_known[j] = gp[code[pc, source]], known[code[pc, source]]
            j = t.offset[shape, 0]
            if j >= 0:
                v[j] = (v[j] + imm) & mask
            base = np.uint64(high[rs2]) << np.uint64(32) | np.uint64(low[rs2])
            for i in range(t.checks[shape, 0], t.checks[shape, 0] + t.checks[shape, 1]):
                check = t.check[i]
                certain = is_known[check[1]]
                if check[0] == CHECK_STRIDED_ROWS:
                    certain = certain and is_known[check[1] + 1]
                if check[0] == CHECK_STORE:
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
            else:
                if what & RESULT:
                    known[rd] = False
                if what & ANYTHING:
                    sticky_known[:] = False
                for i in range(t.accesses[shape, 0], t.accesses[shape, 0] + t.accesses[shape, 1]):
                    if t.access[i, 0] == _INT and t.access[i, 1]:
                        first = v[t.access[i, 2]]
                        for word in range(first, min(first + t.access[i, 3], m.known.shape[0])):
                            m.known[word] = False
        pc = following
    return DONE
