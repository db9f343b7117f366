"""`unroll-loops`: several iterations per trip, or straight code."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.loop.nests import loops_numbered
from plena.errors import CompileError
from plena.gc_pause import without_collection
from plena.loops import expand, unroll


@dataclass(frozen=True)
class UnrollLoops(ModulePass):
    """Unrolls loops by a factor; the iterations left over follow as a second loop, or as straight code with `tail`.

    `full` replaces the loops by all their iterations. `loop` chooses loops by pre-order number, by default all.

    Before::

        builtin.module {
          loop.for %i = 0 to 5 {
            %row = loop.affine 64 + 64 * %i
            plena_isa.v_exp_v dst(%row) a(%row)
          }
        }

    After::

        builtin.module {
          loop.for %i = 0 to 2 {
            %0 = loop.affine 64 + 128 * %i
            plena_isa.v_exp_v dst(%0) a(%0)
            %1 = loop.affine 128 + 128 * %i
            plena_isa.v_exp_v dst(%1) a(%1)
          }
          %2 = loop.affine 320
          plena_isa.v_exp_v dst(%2) a(%2)
        }
    """

    name = "unroll-loops"
    factor: int = 2
    loop: tuple[int, ...] = ()
    full: bool = False
    tail: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.factor < 1:
            raise CompileError(f"the unroll factor must be at least 1, got {self.factor}", self.name)
        with without_collection():
            for loop in reversed(loops_numbered(op, self.loop)):
                if self.full:
                    expand(loop)
                else:
                    unroll(loop, self.factor, tail=self.tail)


__all__ = ["UnrollLoops"]
