"""`fuse-loops`: adjacent loops of equal trip count as one."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp, ForOp
from plena.dialects.loop.nests import iteration_length
from plena.loops import fuse
from plena.loops.dependence import Legality
from plena.loops.effects import EffectTable
from plena.machine.target import Target


@dataclass(frozen=True)
class FuseLoops(ModulePass):
    """Merges neighbouring loops of equal trip count wherever the dependences allow it, outer loops first.

    Outermost loops stay apart whose iterations together would fill more than a share of what the watchdog allows.

    Before::

        builtin.module {
          loop.for %i = 0 to 8 {
            %x = loop.affine 0 + 64 * %i
            plena_isa.v_exp_v dst(%x) a(%x)
          }
          loop.for %j = 0 to 8 {
            %y = loop.affine 0 + 64 * %j
            plena_isa.v_reci_v dst(%y) a(%y)
          }
        }

    After::

        builtin.module {
          loop.for %i = 0 to 8 {
            %0 = loop.affine 0 + 64 * %i
            plena_isa.v_exp_v dst(%0) a(%0)
            plena_isa.v_reci_v dst(%0) a(%0)
          }
        }
    """

    name = "fuse-loops"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = Target.from_module(op)
        # Loops become one from the outside in, and a new one: what is remembered of others stays true.
        legality = Legality(EffectTable(target))
        _fuse_in(op.body.block, legality, int(SHARE_OF_WATCHDOG * target.max_loop_instructions))


SHARE_OF_WATCHDOG = 0.25
"""How much of what the watchdog allows an iteration of fused loops may run, address arithmetic apart: it takes as much
again, and there is little to gain for longer ones."""


def _fuse_in(block: Block, legality: Legality, longest: int | None = None) -> None:
    """Fuses loops in a block and in the loops in it.

    Args:
        longest: operations that an iteration of a loop of this block may run, None where no watchdog counts them.
    """
    op = block.first_op
    while op is not None:
        following = op.next_op
        if isinstance(op, ForOp):
            while isinstance(following, AffineOp):
                following = following.next_op
            if isinstance(following, ForOp) and _should_fuse(op, following, legality, longest):
                op = fuse(op, following)
                continue
        op = following
    for inner in block.ops:
        if isinstance(inner, ForOp):
            _fuse_in(inner.body.block, legality)


def _should_fuse(first: ForOp, second: ForOp, legality: Legality, longest: int | None) -> bool:
    if longest is not None and iteration_length(first) + iteration_length(second) > longest:
        return False
    return legality.can_fuse(first, second)


__all__ = ["FuseLoops"]
