"""From words to the rows that the run loop dispatches on, through the instruction declarations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from plena.dialects.plena_isa import INSTRUCTIONS, OPCODES
from plena.dialects.plena_isa.spec import Field, Kind
from plena.emulator import aborts
from plena.emulator.kernels import Kernel
from plena.emulator.transfer_tables import TYPE_KEYS, can_store, load_width
from plena.errors import EmulatorError
from plena.machine.cost_model import transactional_cycles
from plena.machine.target import Target

KERNEL, RD, RS1, RS2, RS3, FUNCT1, IMM = range(7)
"""Columns of ``DecodedProgram.rows``. For Kernel.ABORT: IMM the abort code, RD and RS1 its facts."""

_OPCODES = 64
_REGISTER_FIELDS = {Field.RD: RD, Field.RS1: RS1, Field.RS2: RS2, Field.RS3: RS3, Field.FUNCT1: FUNCT1}
_BROADCAST = ("M_BMM", "M_BTMM", "M_BTMV")


@dataclass(frozen=True)
class DecodedProgram:
    """A program ready to run.

    ``words[n]`` as given, ``rows[n, 8]`` int32 kernel and fields, ``cycles[n]`` transactional cycles of each
    instruction (0 for DMA).
    """

    words: NDArray[np.uint32]
    rows: NDArray[np.int32]
    cycles: NDArray[np.int64]

    def mnemonic(self, index: int) -> str | None:
        """Mnemonic of an instruction, None for an opcode without a declaration."""
        spec = OPCODES.get(int(self.words[index]) & (_OPCODES - 1))
        return spec.mnemonic if spec else None


@dataclass(frozen=True)
class _OpcodeTables:
    kernel: NDArray[np.int32]
    wide_immediate: NDArray[np.bool_]
    free_if_f0: NDArray[np.bool_]
    is_f: dict[int, NDArray[np.bool_]]


@lru_cache(maxsize=1)
def _opcode_tables() -> _OpcodeTables:
    tables = _OpcodeTables(
        np.full(_OPCODES, Kernel.ABORT, np.int32),
        np.zeros(_OPCODES, np.bool_),
        np.zeros(_OPCODES, np.bool_),
        {column: np.zeros(_OPCODES, np.bool_) for column in (RD, RS1, RS2)},
    )
    for spec in INSTRUCTIONS.values():
        if spec.executable:
            tables.kernel[spec.opcode] = Kernel[spec.mnemonic]
        tables.free_if_f0[spec.opcode] = spec.free_if_f0
        for slot in spec.slots:
            if slot.field is Field.IMM22:
                tables.wide_immediate[spec.opcode] = True
            if slot.kind is Kind.F:
                tables.is_f[_REGISTER_FIELDS[slot.field]][spec.opcode] = True
    return tables


def decode_program(words: NDArray[np.uint32], target: Target) -> DecodedProgram:
    """Decode a program for a target.

    Raises:
        EmulatorError: ``btmm-rd-nonzero``, the one thing the machine checks when it loads a program.
    """
    rows = np.zeros((len(words), 8), np.int32)
    for field, column in _REGISTER_FIELDS.items():
        rows[:, column] = (words >> np.uint32(field.lsb)) & np.uint32(field.limit - 1)
    opcode = (words & np.uint32(_OPCODES - 1)).astype(np.int64)
    tables = _opcode_tables()
    rows[:, KERNEL] = tables.kernel[opcode]
    rows[:, IMM] = np.where(
        tables.wide_immediate[opcode],
        words >> np.uint32(Field.IMM22.lsb),
        words >> np.uint32(Field.IMM18.lsb),
    )
    _check_load(rows)
    cycles = _cycles(opcode, rows, target)
    free = tables.free_if_f0[opcode] & (rows[:, RD] == 0)
    _mark_aborts(rows, opcode, free, tables, target)
    rows[free, KERNEL] = Kernel.FREE
    return DecodedProgram(words, rows, cycles)


def _check_load(rows: NDArray[np.int32]) -> None:
    products = (rows[:, KERNEL] == Kernel.M_BMM) | (rows[:, KERNEL] == Kernel.M_BTMM)
    wrong = np.flatnonzero(products & (rows[:, RD] != 0))
    if wrong.size:
        index = int(wrong[0])
        raise EmulatorError(
            "btmm-rd-nonzero",
            f"the rd field must be 0, it is {rows[index, RD]}",
            index,
            Kernel(rows[index, KERNEL]).name,
        )


def _cycles(opcode: NDArray[np.int64], rows: NDArray[np.int32], target: Target) -> NDArray[np.int64]:
    keys = opcode | (rows[:, RD].astype(np.int64) << 6) | (rows[:, RS3].astype(np.int64) << 10)
    distinct, inverse = np.unique(keys, return_inverse=True)
    costs = [_instruction_cycles(int(key), target) for key in distinct]
    return np.array(costs, np.int64)[inverse.reshape(-1)]


def _instruction_cycles(key: int, target: Target) -> int:
    spec = OPCODES.get(key & (_OPCODES - 1))
    return transactional_cycles(spec, target, rd=key >> 6 & 15, rs3=key >> 10) if spec else 0


def _mark_aborts(
    rows: NDArray[np.int32],
    opcode: NDArray[np.int64],
    free: NDArray[np.bool_],
    tables: _OpcodeTables,
    target: Target,
) -> None:
    """Turn the instructions that abort whatever the state into Kernel.ABORT."""
    invalid = rows[:, KERNEL] == Kernel.ABORT
    _set_abort(rows, invalid, aborts.BAD_OPCODE, opcode)
    for column, is_f in tables.is_f.items():
        _set_abort(rows, is_f[opcode] & (rows[:, column] > 7) & ~free, aborts.FP_INDEX, rows[:, column])
    _set_abort(rows, (_is(rows, "V_TOPK")) & (rows[:, RS3] > 1), aborts.TOPK_POLICY, rows[:, RS3])
    _set_abort(rows, _is(rows, "C_LOOP_START") & (rows[:, IMM] == 0), aborts.COUNT_ZERO)
    _set_abort(rows, _is(rows, "M_BMV"), aborts.M_BMV)
    width = target.broadcast_amount * target.hlen
    if width != target.mlen:
        for mnemonic in _BROADCAST:
            _set_abort(rows, _is(rows, mnemonic), aborts.BROADCAST_SHAPE, width, target.mlen)
    if target.hlen == 1:
        for mnemonic in ("M_BMM", "M_BTMM"):
            _set_abort(rows, _is(rows, mnemonic), aborts.BROADCAST_HLEN_ONE)
    for mnemonic, keys in _TRANSFER_KEYS.items():
        for precision, key in enumerate(keys):
            chosen = _is(rows, mnemonic) & ((rows[:, FUNCT1] != 0) == bool(precision))
            number_format = target.precision[key]
            if width := load_width(number_format):
                _set_abort(rows, chosen, aborts.ELEM_WIDTH, width)
            elif mnemonic == "H_STORE_V" and not can_store(number_format):
                _set_abort(rows, chosen, aborts.STORE_TYPE)
    if target.hbm_v_prefetch_amount == 0:
        _set_abort(rows, _is(rows, "H_PREFETCH_V"), aborts.PREFETCH_AMOUNT_ZERO)


_TRANSFER_KEYS = {"H_PREFETCH_M": TYPE_KEYS[:2], "H_PREFETCH_V": TYPE_KEYS[2:], "H_STORE_V": TYPE_KEYS[2:]}


def _is(rows: NDArray[np.int32], mnemonic: str) -> NDArray[np.bool_]:
    return rows[:, KERNEL] == Kernel[mnemonic]


def _set_abort(
    rows: NDArray[np.int32],
    where: NDArray[np.bool_],
    abort: int,
    fact: NDArray[np.integer] | int = 0,
    second: int = 0,
) -> None:
    rows[where, RD] = fact if isinstance(fact, int) else fact[where]
    rows[where, RS1] = second
    rows[where, IMM] = abort
    rows[where, KERNEL] = Kernel.ABORT


def as_words(words: Iterable[int] | NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Words as a uint32 array.

    Raises:
        EmulatorError: ``bad-token``, a value that is no 32-bit word.
    """
    if not hasattr(words, "__iter__"):
        raise EmulatorError(
            "bad-token", f"a program is assembly text or a list of words, not {type(words).__name__}"
        )
    array = np.asarray(words if isinstance(words, np.ndarray) else list(words))
    if array.size == 0:
        return np.zeros(0, np.uint32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise EmulatorError("bad-token", "a program is a flat list of 32-bit words")
    wrong = np.flatnonzero((array < 0) | (array > 0xFFFFFFFF))
    if wrong.size:
        raise EmulatorError("bad-token", f"{array[wrong[0]]} is not a 32-bit word", int(wrong[0]))
    return array.astype(np.uint32)
