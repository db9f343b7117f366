"""Instructions to 32-bit words and back (plena_isa.md section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from plena.assembly.instruction import INVALID, AsmInstruction
from plena.dialects.derived import derived
from plena.dialects.plena_isa import INSTRUCTIONS, OPCODES
from plena.dialects.plena_isa.spec import InstructionSpec, Slot
from plena.errors import PlenaError

WORD_LIMIT = 1 << 32
OPCODE_BITS = 6


@derived
def most_slots() -> int:
    """Operand slots of the longest instruction."""
    return max(len(spec.slots) for spec in INSTRUCTIONS.values())


@dataclass(frozen=True, slots=True)
class Columns:
    """A program as arrays, one row per instruction.

    Attributes:
        opcodes: uint8[n]; 0 for words that decode to nothing.
        values: int64[n, most_slots()]; numbers in slot order, 0 behind the last slot.
    """

    opcodes: NDArray[np.uint8]
    values: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Placement:
    """Where each slot of each opcode goes: shift in the word, one past the largest value; [opcode, slot]."""

    shift: NDArray[np.int64]
    limit: NDArray[np.int64]

    @staticmethod
    def of(upstream: bool) -> _Placement:
        shift = np.zeros((1 << OPCODE_BITS, most_slots()), np.int64)
        limit = np.ones((1 << OPCODE_BITS, most_slots()), np.int64)
        for spec in INSTRUCTIONS.values():
            for position, slot in enumerate(spec.slots):
                field = (slot.upstream or slot.field) if upstream else slot.field
                shift[spec.opcode, position] = field.lsb
                limit[spec.opcode, position] = field.limit
        return _Placement(shift, limit)


@derived
def _lengths() -> NDArray[np.int64]:
    """How many slots each opcode has."""
    lengths = np.zeros(1 << OPCODE_BITS, np.int64)
    for spec in INSTRUCTIONS.values():
        lengths[spec.opcode] = len(spec.slots)
    return lengths


@derived
def _dropped() -> NDArray[np.bool_]:
    """The slots that the public assembler throws away, [opcode, slot]."""
    dropped = np.zeros((1 << OPCODE_BITS, most_slots()), np.bool_)
    for spec in INSTRUCTIONS.values():
        dropped[spec.opcode, : len(spec.slots)] = [slot.upstream_drops for slot in spec.slots]
    return dropped


@derived
def _placement(upstream: bool) -> _Placement:
    return _Placement.of(upstream)


def columns(instructions: Sequence[AsmInstruction]) -> Columns:
    """The opcodes and slot values of a program as arrays."""
    count = len(instructions)
    opcodes = np.fromiter((i.spec.opcode for i in instructions), np.uint8, count)
    lengths = _lengths()[opcodes]
    flat = np.fromiter(chain.from_iterable(i.values for i in instructions), np.int64)
    if flat.size != lengths.sum():
        raise PlenaError("an instruction has another number of values than its declaration has slots")
    starts = np.cumsum(lengths) - lengths
    values = np.zeros((count, most_slots()), np.int64)
    for position in range(values.shape[1]):
        present = lengths > position
        values[present, position] = flat[starts[present] + position]
    return Columns(opcodes, values)


def encode(instructions: Sequence[AsmInstruction], upstream_quirks: bool = False) -> NDArray[np.uint32]:
    """The words of a program, uint32[n], each operand where the machine decodes it.

    With `upstream_quirks` the words that the public assembler makes of the printed text: masks of V_EXP_V,
    V_RECI_V, V_RED_* and the immediates of the two-operand write-outs land elsewhere (plena_isa.md section
    6.4). Generated programs have 0 there, so both encodings agree.

    Raises:
        PlenaError: a value does not fit its field, or the public assembler has no form for a literal word.
    """
    table = columns(instructions)
    placement = _placement(upstream_quirks)
    values = table.values
    if upstream_quirks:
        values = np.where(_dropped()[table.opcodes], 0, values)
    literal = [position for position, i in enumerate(instructions) if i.word is not None]
    if upstream_quirks and literal:
        raise PlenaError(
            "the public assembler has no literal words",
            f"instruction {literal[0]}",
            "Load the words instead.",
        )
    unfit = (values < 0) | (values >= placement.limit[table.opcodes])
    unfit[literal] = False
    if unfit.any():
        position, column = (int(i) for i in np.argwhere(unfit)[0])
        raise _unfit(instructions[position], column, position)
    words = table.opcodes.astype(np.int64)
    for column in range(values.shape[1]):
        words |= values[:, column] << placement.shift[table.opcodes, column]
    for position in literal:
        words[position] = instructions[position].word or 0
    return words.astype(np.uint32)


def _unfit(instruction: AsmInstruction, column: int, position: int) -> PlenaError:
    slot = instruction.spec.slots[column]
    return PlenaError(
        f"{instruction.mnemonic}: {slot.name} = {instruction.values[column]} does not fit "
        f"{slot.field.width} unsigned bits",
        f"instruction {position}",
    )


def encode_values(spec: InstructionSpec, values: Iterable[int], upstream_quirks: bool = False) -> int:
    """One word from slot values that are known to fit."""
    word = spec.opcode
    for slot, value in zip(spec.slots, values, strict=True):
        if upstream_quirks:
            word |= upstream_bits(slot, value)
        else:
            word |= value << slot.field.lsb
    return word


def upstream_bits(slot: Slot, value: int) -> int:
    """What a slot contributes to the public assembler's word."""
    return 0 if slot.upstream_drops else value << (slot.upstream or slot.field).lsb


def decode_word(word: int) -> AsmInstruction:
    """The instruction that a word decodes to; it keeps the word if bits are set that the decoder ignores."""
    spec = OPCODES.get(word & (1 << OPCODE_BITS) - 1)
    if spec is None:
        return AsmInstruction(INVALID, (), word)
    values = tuple([slot.field.extract(word) for slot in spec.slots])
    is_canonical = encode_values(spec, values) == word
    return AsmInstruction(spec, values, None if is_canonical else word)


def decode(words: Sequence[int] | NDArray[np.integer]) -> list[AsmInstruction]:
    """The instructions of a program; `encode(decode(words))` gives the words back, whatever they are.

    Raises:
        PlenaError: a number that is not a 32-bit unsigned word.
    """
    array = np.asarray(words)
    if array.size == 0:
        return []
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise PlenaError("a program is a sequence of 32-bit words", f"array of {array.dtype} {array.shape}")
    outside = (array < 0) | (array >= WORD_LIMIT)
    if outside.any():
        position = int(np.argmax(outside))
        raise PlenaError(f"{int(array[position])} is not a 32-bit unsigned word", f"instruction {position}")
    numbers: list[int] = array.tolist()
    decoded: dict[int, AsmInstruction] = {}
    for word in numbers:
        if word not in decoded:
            decoded[word] = decode_word(word)
    return [decoded[word] for word in numbers]
