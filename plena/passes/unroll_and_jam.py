"""`unroll-and-jam`: several iterations of an outer loop share one pass over the inner loop."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.loop.nests import loops_numbered
from plena.errors import CompileError
from plena.loops import jam
from plena.loops.dependence import Legality
from plena.loops.effects import EffectTable
from plena.loops.reorder import perfect_inner
from plena.machine.target import Target


@dataclass(frozen=True)
class UnrollAndJam(ModulePass):
    """Unrolls the outer loop `loop` (pre-order number) of a perfect nest and merges the copies of the inner loop.

    What is invariant in the inner loop then serves `factor` times as many instructions per update of what varies.
    Refuses if the new order changes results.

    Before::

        builtin.module {
          loop.for %i = 0 to 4 {
            loop.for %j = 0 to 8 {
              %x = loop.affine 0 + 512 * %i + 64 * %j
              plena_isa.v_exp_v dst(%x) a(%x)
            }
          }
        }

    After::

        builtin.module {
          loop.for %i = 0 to 2 {
            loop.for %j = 0 to 8 {
              %0 = loop.affine 0 + 1024 * %i + 64 * %j
              plena_isa.v_exp_v dst(%0) a(%0)
              %1 = loop.affine 512 + 1024 * %i + 64 * %j
              plena_isa.v_exp_v dst(%1) a(%1)
            }
          }
        }
    """

    name = "unroll-and-jam"
    loop: int = 0
    factor: int = 2

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.factor < 1:
            raise CompileError(f"the unroll factor must be at least 1, got {self.factor}", self.name)
        (outer,) = loops_numbered(op, (self.loop,))
        perfect_inner(outer)
        if not Legality(EffectTable(Target.from_module(op))).can_jam(outer, self.factor):
            raise CompileError(
                f"jamming {self.factor} iterations would change the result: they depend on each other",
                f"loop {self.loop}",
                "use a smaller factor, or unroll-loops",
            )
        jam(outer, self.factor)


__all__ = ["UnrollAndJam"]
