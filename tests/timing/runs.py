"""Assembly as timing profiles see it."""

from __future__ import annotations

from plena.assembly import parse_asm
from plena.assembly.loop_tree import static_loops
from plena.machine.target import Target
from plena.statistics.statistics import Weights
from plena.timing.run import Run


def run_of(text: str) -> Run:
    """A program of static loops."""
    instructions = parse_asm(text)
    return Weights.of(instructions, static_loops(instructions), Target(), ()).run
