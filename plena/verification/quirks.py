"""Warnings about single instructions: legal, but hardly as meant (plena_isa.md sections 3, 5, 6.4 and 7).

Most stand in the declarations (`Caution`); here are those that follow from what a slot is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from plena.dialects.plena_isa import OPCODES, ARegister, InstructionSpec, Integer, Kind
from plena.dialects.plena_isa.sizes import Fields
from plena.lifting.flat_program import FlatProgram
from plena.lifting.structure import END, START, writes_gp
from plena.machine.target import Target

HARDWARE_A_REGISTERS = len(ARegister.allocatable_registers())


@dataclass(frozen=True)
class Quirk:
    """One warning at one instruction."""

    pc: int
    code: str
    message: str
    operand: str | None = None


def quirks(code: FlatProgram, target: Target) -> Iterator[Quirk]:
    """The quirks of every instruction, in program order."""
    distinct, inverse = np.unique(code.words, return_inverse=True)
    first = np.zeros(len(distinct), np.int64)
    first[inverse.reshape(-1)[::-1]] = np.arange(len(code))[::-1]
    found = [list(_of_word(code, int(pc), target)) for pc in first]
    if any(found):
        for pc, number in enumerate(inverse.reshape(-1).tolist()):
            for name, message, operand in found[number]:
                yield Quirk(pc, name, message, operand)


def _of_word(code: FlatProgram, pc: int, target: Target) -> Iterator[tuple[str, str, str | None]]:
    spec = OPCODES.get(code.op[pc])
    if spec is None:
        return
    op = code.op[pc]
    is_nop = spec.integer is Integer.ADD_IMMEDIATE and not code.rs1[pc] and not code.imm[pc]
    if not code.rd[pc] and not is_nop and (writes_gp()[op] or op in (START, END)):
        yield "writes-gp0", "it writes gp0, which programs take for zero", None
    fields = spec.fields_of(int(code.words[pc]))
    for caution in spec.cautions:
        if caution.applies(fields):
            yield caution.code, caution.message, caution.operand
    for slot in spec.slots:
        if slot.kind is Kind.A and fields[slot.name] >= HARDWARE_A_REGISTERS:
            yield (
                "a-register",
                f"the hardware definition has only a0 .. a{HARDWARE_A_REGISTERS - 1}",
                slot.name,
            )
    if spec.transfer is not None:
        yield from _of_transfer(spec, fields, target)


def _of_transfer(
    spec: InstructionSpec, fields: Fields, target: Target
) -> Iterator[tuple[str, str, str | None]]:
    assert spec.transfer is not None
    if fields["rstride"] > 1:
        yield "stride-selector", "only 1 selects the stride register; this is the contiguous mode", "rstride"
    number_format = spec.transfer.number_format(target, fields["precision"])
    if fields["rstride"] != 1 and number_format.element_bits > 8:
        yield "overlapping-rows", "rows of the contiguous mode are VLEN bytes apart: they overlap", "rstride"


def counter_writes(code: FlatProgram) -> Iterator[Quirk]:
    """Writes to the counter of an open loop, and loops that are never closed, in any program."""
    open_loops: list[tuple[int, int]] = []
    table = writes_gp()
    for pc, op in enumerate(code.op):
        register = code.rd[pc]
        if op == END:
            position = next(
                (i for i in reversed(range(len(open_loops))) if open_loops[i][1] == register), None
            )
            if position is not None:
                del open_loops[position]
        elif op == START or table[op]:
            if any(counter == register for _, counter in open_loops):
                yield Quirk(pc, "writes-loop-counter", f"it writes gp{register}, the counter of an open loop")
            if op == START:
                open_loops.append((pc, register))
    for pc, _ in open_loops:
        yield Quirk(pc, "open-loop", "the loop is never closed: its body runs once")
