"""A given program made ready for the loop optimiser: lifted, in affine form, with room for spills."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects.builtin import ModuleOp

from plena.dialects.plena_isa.instruction import integer
from plena.errors import PlenaError
from plena.gc_pause import without_collection
from plena.lifting.build import module_of
from plena.lifting.entry import code_of_module, lifted_program
from plena.lifting.flat_program import FlatProgram
from plena.lifting.flat_program import Program as Source
from plena.lifting.preloaded import Preloaded
from plena.lifting.read import is_affine, program_of_module
from plena.lifting.roll import rolled
from plena.lifting.stores import without_dead_stores
from plena.lifting.tree import LiftedProgram
from plena.machine.target import Target
from plena.registers.spill_region import SpillMemory
from plena.verification.accesses import ANYWHERE, Cells, cell_accesses
from plena.verification.footprints import CellSet, cells

ROLLING: tuple[str, ...] = ("roll-loops", "canonicalize-loops", "hoist-invariants")
"""Affine form: as few instructions as possible."""

LARGE = 20_000
"""Static instructions from which code is only emitted again after rolling."""


@dataclass
class Task:
    """The given program: flat if it came that way, in affine form if that is possible."""

    target: Target
    preloaded: Preloaded
    code: FlatProgram | None
    lifted: LiftedProgram
    affine: ModuleOp
    problems: list[PlenaError] = field(default_factory=list[PlenaError])

    @staticmethod
    def of(program: Source | FlatProgram | ModuleOp, target: Target | None, preloaded: Preloaded) -> Task:
        """Lifts assembly, words or a module; a module in affine form is copied.

        Raises:
            AssemblyError: the text cannot be parsed.
            PlenaError: naming the line of whatever cannot be lifted exactly.
        """
        if isinstance(program, ModuleOp):
            module: ModuleOp = program
            target = target or Target.from_module(module)
            if is_affine(module):
                affine = module.clone()
                target.attach(affine)
                return Task(target, preloaded, None, program_of_module(affine), affine)
            code = code_of_module(module)
        else:
            target, code = target or Target(), FlatProgram.of(program)
        with without_collection():
            lifted = without_dead_stores(lifted_program(code, target, preloaded))
            return Task(
                target, preloaded, code, lifted, module_of(lifted if len(code) <= LARGE else rolled(lifted))
            )

    def reserve_spills(self) -> None:
        """Points register allocation to words of the scalar memories that the program leaves alone."""
        for memory, which, name in (
            (SpillMemory.INT, Cells.INT, "int"),
            (SpillMemory.FP, Cells.FP, "fp"),
        ):
            size = memory.size(self.target)
            taken = CellSet(size)
            taken.add([(s.start, s.stop) for s in self.preloaded.of_memory(name)])
            code = self.lifted.code
            for item in self.lifted.instructions():
                for access in cell_accesses(self.target, code.op[item[0]], code.flags[item[0]]):
                    if access.cells is which:
                        pieces = None
                        if access.number != ANYWHERE:
                            pieces = cells(item[1 + access.number], 1, access.count, self.lifted.bounds)
                        taken.add(pieces or [(0, size)])
            first, length = taken.longest_gap()
            if length:
                self.affine.attributes[memory.base_attribute] = integer(first)
