"""Bytes that a program moves between HBM and the chip, without running it."""

from __future__ import annotations

from collections.abc import Sequence

from plena.assembly import AsmInstruction
from plena.assembly.loop_tree import static_loops
from plena.machine.target import Target
from plena.statistics.statistics import Weights
from plena.statistics.traffic import payloads


def payload_bytes(instructions: Sequence[AsmInstruction], target: Target) -> tuple[int, int]:
    """Bytes read and written: elements and scales of all rows that the transfers of a flat program move.

    The words of 64 bytes in which a memory moves them are more: those that are touched in part count whole, and a store
    reads its words first (`EmulationResult.hbm_bytes_read`).

    Raises:
        PlenaError: loops that are not nested, a loop of 0 trips, more than 2^40 dynamic instructions.
    """
    executions = Weights.of(instructions, static_loops(instructions), target, ()).executions
    read = written = 0
    for position, (size, _) in payloads(instructions, target).items():
        transfer = instructions[position].spec.transfer
        moved = size * int(executions[position])
        if transfer is not None and transfer.is_load:
            read += moved
        else:
            written += moved
    return read, written
