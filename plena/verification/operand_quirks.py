"""Warnings about operand values: transfers whose scales go astray, write-outs onto themselves (section 5.5)."""

from __future__ import annotations

from collections.abc import Iterator

from plena.dialects.plena_isa import Field
from plena.lifting.records import layout
from plena.lifting.tree import LiftedInstruction, LiftedProgram, range_of
from plena.machine.constants import HBM_WORD
from plena.verification.affine_checks import residues
from plena.verification.quirks import Quirk


def operand_quirks(program: LiftedProgram) -> Iterator[Quirk]:
    """The quirks of every instruction's operands, in program order."""
    op = program.code.op
    for item in program.instructions():
        shape = layout(op[item[0]])
        if shape.transfer:
            yield from _of_transfer(program, item)
        elif shape.pitch is not None:
            place, rows = shape.pitch
            if item[1 + place] == 0 and rows(program.target) > 1:
                message = "a stride register that holds 0 writes all rows onto one"
                yield Quirk(item[0], "write-out-stride", message, shape.addresses[place])


def _of_transfer(program: LiftedProgram, item: LiftedInstruction) -> Iterator[Quirk]:
    code, target, bounds, steps = program.code, program.target, program.bounds, program.steps
    pc = item[0]
    shape = layout(code.op[pc])
    transfer = shape.spec.transfer
    assert transfer is not None
    number_format = transfer.number_format(target, code.number(pc, Field.FUNCT1))
    scale_bytes, ratio = number_format.scale_bytes(target.vlen), number_format.ratio
    if not scale_bytes:
        return
    off, high, low, scales, stride = item[shape.hbm_side]
    pitch = stride if shape.uses_stride(code.flags[pc]) else target.vlen
    for number, name, what in ((off, "off", "an offset"), (pitch, "rstride", "a row pitch")):
        if any(residues(number, ratio, bounds, steps)):
            message = f"{what} that is not a multiple of {ratio} pairs elements with wrong scales"
            yield Quirk(pc, f"{what.split()[-1]}-in-block", message, name)
            return
    if not transfer.is_load or not isinstance(pitch, int) or range_of(high, bounds)[1] > 0:
        return
    rows = transfer.rows(target)
    starts = {0}
    for number, divisor in ((low, 1), (scales, 1), (off, ratio)):
        values = {r // divisor for r in residues(number, HBM_WORD * divisor, bounds, steps)}
        starts = {(a + b) % HBM_WORD for a in starts for b in values}
    for start in starts:
        if any((start + row * (pitch // ratio)) % HBM_WORD + scale_bytes > HBM_WORD for row in range(rows)):
            message = f"the {scale_bytes} scale bytes of a row cross a 64-byte word: the rest reads as 0"
            yield Quirk(pc, "split-scales", message, "scale")
            return
