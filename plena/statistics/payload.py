"""Bytes that a program moves between HBM and the chip, without running it."""

from __future__ import annotations

from collections.abc import Sequence

from plena.assembly import AsmInstruction
from plena.assembly.loop_tree import static_loops
from plena.machine.target import Target
from plena.statistics.statistics import Weights


def payload_bytes(instructions: Sequence[AsmInstruction], target: Target) -> tuple[int, int]:
    """Bytes read and written: elements and scales of all rows that the transfers of a flat program move.

    The words of 64 bytes in which a memory moves them are more: those that are touched in part count whole, and a store
    reads its words first (`EmulationResult.hbm_bytes_read`).

    Raises:
        PlenaError: loops that are not nested, a loop of 0 trips, more than 2^40 dynamic instructions.
    """
    executions = Weights.of(instructions, static_loops(instructions), target, ()).executions
    read = written = 0
    for instruction, count in zip(instructions, executions.tolist(), strict=True):
        transfer = instruction.spec.transfer
        if transfer is None:
            continue
        names = [slot.name for slot in instruction.spec.slots]
        precision = instruction.values[names.index("precision")]
        number_format = transfer.number_format(target, precision)
        row = number_format.element_bytes(target.vlen) + number_format.scale_bytes(target.vlen)
        moved = count * transfer.rows(target) * row
        read, written = (read + moved, written) if transfer.is_load else (read, written + moved)
    return read, written
