"""`limit-loop-depth`: loops inside each other no deeper than the machine counts."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block
from xdsl.passes import ModulePass

from plena.dialects.loop import ForOp
from plena.errors import CompileError
from plena.gc_pause import without_collection
from plena.loops import expand
from plena.machine.rtl_build import rtl_build


@dataclass(frozen=True)
class LimitLoopDepth(ModulePass):
    """Expands the innermost loops of nests that are deeper than `depth`, by default what the public RTL counts.

    Before::

        builtin.module {
          loop.for %a = 0 to 4 {
            loop.for %b = 0 to 4 {
              loop.for %c = 0 to 4 {
                loop.for %d = 0 to 4 {
                  loop.for %e = 0 to 2 {
                    %x = loop.affine 0 + 128 * %a + 64 * %e
                    plena_isa.v_exp_v dst(%x) a(%x)
                  }
                }
              }
            }
          }
        }

    After::

        builtin.module {
          loop.for %a = 0 to 4 {
            loop.for %b = 0 to 4 {
              loop.for %c = 0 to 4 {
                loop.for %d = 0 to 4 {
                  %0 = loop.affine 0 + 128 * %a
                  plena_isa.v_exp_v dst(%0) a(%0)
                  %1 = loop.affine 64 + 128 * %a
                  plena_isa.v_exp_v dst(%1) a(%1)
                }
              }
            }
          }
        }
    """

    name = "limit-loop-depth"
    depth: int = 0

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.depth < 0:
            raise CompileError(f"depth must be positive, got {self.depth}", self.name)
        with without_collection():
            _limit(op.body.block, self.depth or rtl_build().loop_depth)


def _limit(block: Block, depth: int) -> None:
    """Leaves at most so many loops around each other in a block."""
    for loop in [op for op in block.ops if isinstance(op, ForOp)]:
        _limit(loop.body.block, max(depth - 1, 0))
        if not depth:
            expand(loop)


__all__ = ["LimitLoopDepth"]
