"""`roll-loops`: repeated blocks of instructions become loops."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.loop.nests import loops_in
from plena.gc_pause import without_collection
from plena.loops.rolling.apply import roll_block


@dataclass(frozen=True)
class RollLoops(ModulePass):
    """Finds blocks of instructions that repeat with addresses advancing by constants, and folds them into loops.

    Outer loops are found before the loops in their bodies, the longest saving first; loops that are already there
    can become part of a body. Executing the result gives the same sequence of instructions.

    Before::

        builtin.module {
          %0 = loop.affine 0
          %1 = loop.affine 64
          %2 = loop.affine 128
          %3 = loop.affine 192
          %4 = loop.affine 4096
          plena_isa.v_add_vv dst(%0) a(%0) b(%4)
          plena_isa.v_add_vv dst(%1) a(%1) b(%4)
          plena_isa.v_add_vv dst(%2) a(%2) b(%4)
          plena_isa.v_add_vv dst(%3) a(%3) b(%4)
        }

    After::

        builtin.module {
          loop.for %0 = 0 to 4 {
            %1 = loop.affine 0 + 64 * %0
            %2 = loop.affine 4096
            plena_isa.v_add_vv dst(%1) a(%1) b(%2)
          }
        }
    """

    name = "roll-loops"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        roll_module(op)


def roll_module(module: ModuleOp, *, by_origin: bool = False) -> None:
    """Rolls every loop body, inner ones first, then the top level of a module."""
    with without_collection():
        for loop in reversed(list(loops_in(module))):
            roll_block(loop.body.block, by_origin=by_origin)
        roll_block(module.body.block, by_origin=by_origin)


__all__ = ["RollLoops", "roll_module"]
