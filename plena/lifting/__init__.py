"""Raises flat code into the affine form: loops, and every operand a linear function of their indices.

words --FlatProgram--> FlatLoop (structure) --SymbolicRun--> records on symbols --Resolver--> LiftedProgram --> IR
"""

from plena.lifting.entry import lift_code, lift_module, lifted_program
from plena.lifting.flat_program import FlatProgram, Program
from plena.lifting.preloaded import Preloaded, Span
from plena.lifting.tree import LiftedInstruction, LiftedLoop, LiftedProgram, Number

__all__ = [
    "FlatProgram",
    "LiftedInstruction",
    "LiftedLoop",
    "LiftedProgram",
    "Number",
    "Preloaded",
    "Program",
    "Span",
    "lift_code",
    "lift_module",
    "lifted_program",
]
