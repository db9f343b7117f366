"""Warnings about single instructions: legal, but hardly as meant (plena_isa.md sections 3, 5, 6.4 and 7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from plena.dialects.plena_isa import OPCODES, Field, Kind
from plena.lifting.code import Code
from plena.lifting.records import HBM_TYPES
from plena.lifting.structure import END, START, WRITES_GP
from plena.machine.target import Target

HARDWARE_A_REGISTERS = 8
LUI_BITS = 20


@dataclass(frozen=True)
class Quirk:
    """One warning at one instruction."""

    pc: int
    code: str
    message: str
    operand: str | None = None


def quirks(code: Code, target: Target) -> Iterator[Quirk]:
    """The quirks of every instruction, in program order."""
    distinct, inverse = np.unique(code.words, return_inverse=True)
    first = np.zeros(len(distinct), np.int64)
    first[inverse.reshape(-1)[::-1]] = np.arange(len(code))[::-1]
    found = [list(_of_word(code, int(pc), target)) for pc in first]
    if any(found):
        for pc, number in enumerate(inverse.reshape(-1).tolist()):
            for name, message, operand in found[number]:
                yield Quirk(pc, name, message, operand)


def _of_word(code: Code, pc: int, target: Target) -> Iterator[tuple[str, str, str | None]]:
    spec = OPCODES.get(code.op[pc])
    if spec is None:
        return
    mnemonic, op, rs3 = spec.mnemonic, code.op[pc], code.rs3[pc]
    is_nop = mnemonic == "S_ADDI_INT" and not code.rs1[pc] and not code.imm[pc]
    if not code.rd[pc] and not is_nop and (WRITES_GP[op] or op in (START, END)):
        yield "writes-gp0", "it writes gp0, which programs take for zero", None
    match mnemonic:
        case "S_LD_FP" if not code.rd[pc]:
            yield "writes-f0", "it writes f0, which programs take for zero", "dst"
        case "V_RED_SUM" if rs3 and code.rd[pc]:
            yield "masked-reduction", "the masked sum multiplies the sums of selected heads by HLEN", "mask"
        case "V_RED_MAX" if rs3 and code.rd[pc]:
            yield "masked-reduction", "the mask has no effect on the maximum", "mask"
        case "V_EXP_V" if rs3:
            yield (
                "misplaced-mask",
                "the public assembler loses this mask; unselected lanes are clamped",
                "mask",
            )
        case "V_RECI_V" if rs3:
            yield "misplaced-mask", "the public assembler loses this mask", "mask"
        case "M_MV_WO" | "M_BMM_WO" | "M_BMV_WO" if code.imm[pc]:
            yield "write-out-immediate", "the public assembler puts this immediate 4 bits too low", "imm"
        case "C_BREAK":
            yield "break", "C_BREAK pops a loop and goes on with the next instruction; it ends nothing", None
        case "M_TMV":
            yield (
                "first-row-block",
                "M_TMV only reaches the first BLEN rows of a tile; M_TMM is the usable form",
                None,
            )
        case "S_LUI_INT" if code.imm[pc] >> LUI_BITS:
            yield "lost-bits", "only 20 bits of the immediate reach the register", "imm"
        case "C_SET_ADDR_REG" | "H_PREFETCH_M" | "H_PREFETCH_V" | "H_STORE_V":
            yield from _of_transfer(code, pc, target)
        case _:
            pass


def _of_transfer(code: Code, pc: int, target: Target) -> Iterator[tuple[str, str, str | None]]:
    spec = OPCODES[code.op[pc]]
    register = next(s for s in spec.slots if s.kind is Kind.A)
    if code.number(pc, register.field) >= HARDWARE_A_REGISTERS:
        yield "a-register", "the hardware definition has only a0 .. a7", register.name
    if spec.mnemonic == "C_SET_ADDR_REG":
        return
    if code.rs3[pc] > 1:
        yield "stride-selector", "only 1 selects the stride register; this is the contiguous mode", "rstride"
    number_format = target.precision[HBM_TYPES[code.op[pc]][code.number(pc, Field.FUNCT1) != 0]]
    if code.rs3[pc] != 1 and number_format.element_bits > 8:
        yield "overlapping-rows", "rows of the contiguous mode are VLEN bytes apart: they overlap", "rstride"


def counter_writes(code: Code) -> Iterator[Quirk]:
    """Writes to the counter of an open loop, and loops that are never closed, in any program."""
    open_loops: list[tuple[int, int]] = []
    for pc, op in enumerate(code.op):
        register = code.rd[pc]
        if op == END:
            position = next(
                (i for i in reversed(range(len(open_loops))) if open_loops[i][1] == register), None
            )
            if position is not None:
                del open_loops[position]
        elif op == START or WRITES_GP[op]:
            if any(counter == register for _, counter in open_loops):
                yield Quirk(pc, "writes-loop-counter", f"it writes gp{register}, the counter of an open loop")
            if op == START:
                open_loops.append((pc, register))
    for pc, _ in open_loops:
        yield Quirk(pc, "open-loop", "the loop is never closed: its body runs once")
