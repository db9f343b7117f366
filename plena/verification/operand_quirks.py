"""Warnings about operand values: transfers whose scales go astray, write-outs onto themselves (section 5.5)."""

from __future__ import annotations

from collections.abc import Iterator

from plena.dialects.plena_isa import Field
from plena.lifting.code import opcode
from plena.lifting.records import HBM_TYPES, layout
from plena.lifting.tree import LiftedInstruction, LiftedProgram
from plena.machine.constants import HBM_WORD
from plena.verification.affine_checks import bounds_of, residues
from plena.verification.quirks import Quirk

_MM_WO = opcode("M_MM_WO")
_STORE = opcode("H_STORE_V")


def operand_quirks(program: LiftedProgram) -> Iterator[Quirk]:
    """The quirks of every instruction's operands, in program order."""
    op = program.code.op
    for item in program.instructions():
        if op[item[0]] in HBM_TYPES:
            yield from _of_transfer(program, item)
        elif op[item[0]] == _MM_WO and item[2] == 0 and program.target.blen > 1:
            yield Quirk(
                item[0],
                "write-out-stride",
                "a stride register that holds 0 writes all rows onto one",
                "stride",
            )


def _of_transfer(program: LiftedProgram, item: LiftedInstruction) -> Iterator[Quirk]:
    code, target, bounds, steps = program.code, program.target, program.bounds, program.steps
    pc = item[0]
    op = code.op[pc]
    number_format = target.precision[HBM_TYPES[op][code.number(pc, Field.FUNCT1) != 0]]
    scale_bytes, ratio = number_format.scale_bytes(target.vlen), number_format.ratio
    if not scale_bytes:
        return
    position = 1 + layout(op).addresses.index("off")
    off, high, low, scales, stride = item[position : position + 5]
    pitch = stride if code.rs3[pc] == 1 else target.vlen
    for number, name, what in ((off, "off", "an offset"), (pitch, "rstride", "a row pitch")):
        if any(residues(number, ratio, bounds, steps)):
            message = f"{what} that is not a multiple of {ratio} pairs elements with wrong scales"
            yield Quirk(pc, f"{what.split()[-1]}-in-block", message, name)
            return
    if op == _STORE or not isinstance(pitch, int) or bounds_of(high, bounds)[1] > 0:
        return
    rows = target.hbm_v_prefetch_amount if "V" in layout(op).spec.mnemonic[-1] else target.mlen
    starts = {0}
    for number, divisor in ((low, 1), (scales, 1), (off, ratio)):
        values = {r // divisor for r in residues(number, HBM_WORD * divisor, bounds, steps)}
        starts = {(a + b) % HBM_WORD for a in starts for b in values}
    for start in starts:
        if any((start + row * (pitch // ratio)) % HBM_WORD + scale_bytes > HBM_WORD for row in range(rows)):
            message = f"the {scale_bytes} scale bytes of a row cross a 64-byte word: the rest reads as 0"
            yield Quirk(pc, "split-scales", message, "scale")
            return
