"""`strip-mine-loops`: one loop as two, the inner one of a given length."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.loop.nests import loops_numbered
from plena.errors import CompileError
from plena.loops import strip_mine


@dataclass(frozen=True)
class StripMineLoops(ModulePass):
    """Splits loops into an outer one and an inner one of `factor` trips; iterations left over are a loop of their own.

    `loop` chooses loops by pre-order number, by default all.

    Before::

        builtin.module {
          loop.for %i = 0 to 8 {
            %row = loop.affine 0 + 64 * %i
            plena_isa.v_exp_v dst(%row) a(%row)
          }
        }

    After::

        builtin.module {
          loop.for %i = 0 to 2 {
            loop.for %0 = 0 to 4 {
              %1 = loop.affine 0 + 256 * %i + 64 * %0
              plena_isa.v_exp_v dst(%1) a(%1)
            }
          }
        }
    """

    name = "strip-mine-loops"
    loop: tuple[int, ...] = ()
    factor: int = 4

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.factor < 1:
            raise CompileError(f"the strip length must be at least 1, got {self.factor}", self.name)
        for loop in reversed(loops_numbered(op, self.loop)):
            strip_mine(loop, self.factor)


__all__ = ["StripMineLoops"]
