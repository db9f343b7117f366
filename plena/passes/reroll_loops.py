"""`reroll-loops`: short loops expanded, so that their iterations can join what stands beside them in longer ones."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.loop import ForOp
from plena.dialects.loop.nests import loops_in
from plena.dialects.plena_isa import Instruction
from plena.gc_pause import without_collection
from plena.loops import expand
from plena.passes.roll_loops import roll_module


@dataclass(frozen=True)
class RerollLoops(ModulePass):
    """Expands loops of at most `trips` iterations and `length` instructions over all of them, then rolls again.

    Kernels write one loop for each tensor and part of a tensor. Where the next one goes on where the last one ended,
    or does the same once more, one loop is enough; short ones hide that. What serves different modules or steps of the
    model stays apart. Executing the result gives the same sequence of instructions.

    Before::

        builtin.module {
          loop.for %i = 0 to 2 {
            %x = loop.affine 0 + 64 * %i
            plena_isa.v_exp_v dst(%x) a(%x)
          }
          %0 = loop.affine 128
          plena_isa.v_exp_v dst(%0) a(%0)
          loop.for %j = 0 to 3 {
            %y = loop.affine 192 + 64 * %j
            plena_isa.v_exp_v dst(%y) a(%y)
          }
        }

    After::

        builtin.module {
          loop.for %0 = 0 to 6 {
            %1 = loop.affine 0 + 64 * %0
            plena_isa.v_exp_v dst(%1) a(%1)
          }
        }
    """

    name = "reroll-loops"
    trips: int = 4
    length: int = 64

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        with without_collection():
            for loop in reversed(list(loops_in(op))):
                if loop.trips <= self.trips and loop.trips * _length(loop) <= self.length:
                    expand(loop)
            roll_module(op, by_origin=True)


def _length(loop: ForOp) -> int:
    """Instructions and loops in the text of a body."""
    return sum(1 for op in loop.body.walk() if isinstance(op, Instruction | ForOp))


__all__ = ["RerollLoops"]
