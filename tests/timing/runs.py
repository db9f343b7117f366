"""Assembly as timing profiles see it."""

from __future__ import annotations

import numpy as np

from plena.assembly import columns, parse_asm
from plena.assembly.loop_tree import static_loops
from plena.machine.target import Target
from plena.timing.run import Run


def run_of(text: str, target: Target | None = None) -> Run:
    """A program of static loops."""
    instructions = parse_asm(text)
    table, loops = columns(instructions), static_loops(instructions)
    executions = np.ones(len(instructions), np.int64)
    for loop in loops:
        executions[loop.start + 1 : loop.end + 1] *= loop.trips
    return Run(table.opcodes, table.values, executions, loops, target or Target())
