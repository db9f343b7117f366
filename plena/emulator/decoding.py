"""From words to the rows that the run loop dispatches on, through the instruction declarations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plena.dialects.derived import derived
from plena.dialects.plena_isa import INSTRUCTIONS, OPCODES
from plena.dialects.plena_isa.spec import Field, InstructionSpec, Kind
from plena.emulator import aborts
from plena.emulator.extensions import EXTENSIONS
from plena.emulator.kernels import Kernel
from plena.errors import EmulatorError
from plena.machine.target import Target
from plena.timing.transactional import PROFILE as TRANSACTIONAL

KERNEL, RD, RS1, RS2, RS3, FUNCT1, IMM = range(7)
"""Columns of ``DecodedProgram.rows``. For Kernel.ABORT: IMM the abort code, RD and RS1 its facts."""

_OPCODES = 64
_REGISTER_FIELDS = {Field.RD: RD, Field.RS1: RS1, Field.RS2: RS2, Field.RS3: RS3, Field.FUNCT1: FUNCT1}


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
    refused: NDArray[np.bool_]
    flag_bits: NDArray[np.uint32]
    is_f: dict[int, NDArray[np.bool_]]


def _kernel_of(spec: InstructionSpec) -> Kernel:
    """The kernel of a declaration; one without a kernel aborts when it is reached."""
    if not spec.executable:
        return Kernel.ABORT
    if spec.semantics in EXTENSIONS:
        return Kernel.EXTENSION
    return Kernel.__members__.get(spec.semantics, Kernel.ABORT)


@derived
def _opcode_tables() -> _OpcodeTables:
    tables = _OpcodeTables(
        np.full(_OPCODES, Kernel.ABORT, np.int32),
        np.zeros(_OPCODES, np.bool_),
        np.zeros(_OPCODES, np.bool_),
        np.zeros(_OPCODES, np.bool_),
        np.zeros(_OPCODES, np.uint32),
        {column: np.zeros(_OPCODES, np.bool_) for column in (RD, RS1, RS2, RS3)},
    )
    for spec in INSTRUCTIONS.values():
        tables.kernel[spec.opcode] = _kernel_of(spec)
        tables.free_if_f0[spec.opcode] = spec.free_if_f0
        tables.flag_bits[spec.opcode] = spec.flag_bits
        for slot in spec.slots:
            tables.refused[spec.opcode] |= slot.refused
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
    _check_load(rows, tables.refused[opcode])
    cycles = _cycles(words & (np.uint32(_RD_AND_OPCODE) | tables.flag_bits[opcode]), target)
    free = tables.free_if_f0[opcode] & (rows[:, RD] == 0)
    _mark_aborts(rows, words, free, tables, target)
    rows[free, KERNEL] = Kernel.FREE
    return DecodedProgram(words, rows, cycles)


def _check_load(rows: NDArray[np.int32], refused: NDArray[np.bool_]) -> None:
    wrong = np.flatnonzero(refused & (rows[:, RD] != 0))
    if wrong.size:
        index = int(wrong[0])
        raise EmulatorError(
            "btmm-rd-nonzero",
            f"the rd field must be 0, it is {rows[index, RD]}",
            index,
            Kernel(rows[index, KERNEL]).name,
        )


_RD_AND_OPCODE = 1023


def _cycles(words: NDArray[np.uint32], target: Target) -> NDArray[np.int64]:
    """Cycles of words that are reduced to what has a part in them."""
    distinct, inverse = np.unique(words, return_inverse=True)
    costs = [_instruction_cycles(int(word), target) for word in distinct]
    return np.array(costs, np.int64)[inverse.reshape(-1)]


def _instruction_cycles(word: int, target: Target) -> int:
    spec = OPCODES.get(word & (_OPCODES - 1))
    if spec is None:
        return 0
    return TRANSACTIONAL.cycles(spec, target, rd=Field.RD.extract(word), fields=spec.fields_of(word))


def _mark_aborts(
    rows: NDArray[np.int32],
    words: NDArray[np.uint32],
    free: NDArray[np.bool_],
    tables: _OpcodeTables,
    target: Target,
) -> None:
    """Turn the instructions that abort whatever the state into Kernel.ABORT."""
    opcode = (words & np.uint32(_OPCODES - 1)).astype(np.int64)
    _set_abort(rows, rows[:, KERNEL] == Kernel.ABORT, aborts.BAD_OPCODE, opcode)
    for column, is_f in tables.is_f.items():
        _set_abort(rows, is_f[opcode] & (rows[:, column] > 7) & ~free, aborts.FP_INDEX, rows[:, column])
    for number in np.unique(opcode).tolist():
        spec = OPCODES.get(number)
        if spec is not None and spec.executable and spec.requirements:
            _mark_unmet(rows, np.flatnonzero(opcode == number), words, spec, target)


def _mark_unmet(
    rows: NDArray[np.int32],
    at: NDArray[np.intp],
    words: NDArray[np.uint32],
    spec: InstructionSpec,
    target: Target,
) -> None:
    """The instructions of one opcode whose flags, immediates or machine do not meet its requirements."""
    bits = sum((s.field.limit - 1) << s.field.lsb for s in spec.slots if not s.is_register)
    distinct, inverse = np.unique(words[at] & np.uint32(bits), return_inverse=True)
    for position, word in enumerate(distinct.tolist()):
        for requirement in spec.requirements:
            problem = requirement.problem(target, spec.fields_of(word))
            if problem is not None:
                facts = (*problem, 0, 0)[:2]
                where = at[(inverse.reshape(-1) == position) & (rows[at, KERNEL] != Kernel.ABORT)]
                _set_abort(rows, where, aborts.CODES[requirement.code], *facts)
                break


def _set_abort(
    rows: NDArray[np.int32],
    where: NDArray[np.bool_] | NDArray[np.intp],
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
