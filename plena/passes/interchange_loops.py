"""`interchange-loops`: the two loops of a perfect nest change places."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.loop.nests import loops_numbered
from plena.errors import CompileError
from plena.loops import interchange
from plena.loops.dependence import Legality
from plena.loops.effects import EffectTable
from plena.loops.reorder import perfect_inner
from plena.machine.target import Target


@dataclass(frozen=True)
class InterchangeLoops(ModulePass):
    """Swaps the loop with pre-order number `loop` and the one loop that is its body; refuses if that changes results.

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
          loop.for %j = 0 to 8 {
            loop.for %i = 0 to 4 {
              %0 = loop.affine 0 + 512 * %i + 64 * %j
              plena_isa.v_exp_v dst(%0) a(%0)
            }
          }
        }
    """

    name = "interchange-loops"
    loop: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        (outer,) = loops_numbered(op, (self.loop,))
        perfect_inner(outer)
        if not Legality(EffectTable(Target.from_module(op))).can_interchange(outer):
            raise CompileError(
                "interchange would change the result: an iteration depends on an earlier one",
                f"loop {self.loop}",
                "strip-mine or unroll the loop instead",
            )
        interchange(outer)


__all__ = ["InterchangeLoops"]
