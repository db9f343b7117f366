"""Raises flat code into the affine form: loops, and every operand a linear function of their indices.

words --Code--> LoopCode (structure) --SymbolicRun--> records on symbols --Resolver--> LiftedProgram --> IR
"""

from plena.lifting.code import Code, Program
from plena.lifting.entry import lift_code, lift_module, lifted_program
from plena.lifting.preloaded import Preloaded, Span
from plena.lifting.tree import LiftedInstruction, LiftedLoop, LiftedProgram, Number

__all__ = [
    "Code",
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
