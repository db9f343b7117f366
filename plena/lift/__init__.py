"""Raises flat code into the affine form: loops, and every operand a linear function of their indices.

words --Code--> LoopCode (structure) --SymbolicRun--> records on symbols --Resolver--> LiftedProgram --> IR
"""

from plena.lift.code import Code, Program
from plena.lift.lifting import lift_code, lift_module, lifted_program
from plena.lift.preloaded import Preloaded, Span
from plena.lift.tree import Affine, LiftedInstruction, LiftedLoop, LiftedProgram, Number

__all__ = [
    "Affine",
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
