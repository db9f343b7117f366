"""`peel-loops`: the first or last iterations out of a loop."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.loop.nests import loops_numbered
from plena.errors import CompileError
from plena.loops import peel


@dataclass(frozen=True)
class PeelLoops(ModulePass):
    """Takes the `first` and the `last` iterations out of loops, as straight code before and behind them.

    `loop` chooses loops by pre-order number, by default all.

    Before::

        builtin.module {
          loop.for %i = 0 to 5 {
            %row = loop.affine 0 + 64 * %i
            plena_isa.v_exp_v dst(%row) a(%row)
          }
        }

    After::

        builtin.module {
          %0 = loop.affine 0
          plena_isa.v_exp_v dst(%0) a(%0)
          loop.for %i = 0 to 4 {
            %1 = loop.affine 64 + 64 * %i
            plena_isa.v_exp_v dst(%1) a(%1)
          }
        }
    """

    name = "peel-loops"
    loop: tuple[int, ...] = ()
    first: int = 1
    last: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if min(self.first, self.last) < 0:
            raise CompileError("the numbers of iterations to peel must not be negative", self.name)
        for loop in reversed(loops_numbered(op, self.loop)):
            peel(loop, first=self.first, last=self.last)


__all__ = ["PeelLoops"]
