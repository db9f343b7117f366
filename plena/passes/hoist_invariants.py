"""`hoist-invariants`: what is the same in every iteration moves in front of the loop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp, ForOp
from plena.dialects.loop.nests import loops_in
from plena.loops.dependence import Legality
from plena.loops.effects import EffectTable, Resource
from plena.machine.target import Target


@dataclass(frozen=True)
class HoistInvariants(ModulePass):
    """Moves address arithmetic, sticky state set-up, constant loads and any other invariant instruction out of loops.

    An instruction moves when its operands do not change in the loop and nothing else in the loop writes what it
    reads or writes.

    Before::

        builtin.module {
          %f = plena_isa.register : !plena_isa.f
          loop.for %i = 0 to 8 {
            %word = loop.affine 3
            plena_isa.s_ld_fp dst(%f : !plena_isa.f) base(%word)
            %x = loop.affine 0 + 64 * %i
            plena_isa.v_mul_vf dst(%x) a(%x) b(%f : !plena_isa.f)
          }
        }

    After::

        builtin.module {
          %f = plena_isa.register : !plena_isa.f
          %word = loop.affine 3
          plena_isa.s_ld_fp dst(%f : !plena_isa.f) base(%word)
          loop.for %i = 0 to 8 {
            %x = loop.affine 0 + 64 * %i
            plena_isa.v_mul_vf dst(%x) a(%x) b(%f : !plena_isa.f)
          }
        }
    """

    name = "hoist-invariants"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        effects = EffectTable(Target.from_module(op))
        # From the inside out: no loop around one that changes has been asked for its effects.
        for loop in reversed(list(loops_in(op))):
            hoist_from(loop, Legality(effects))
            effects.forget(loop)


def hoist_from(loop: ForOp, legality: Legality) -> None:
    """Moves every invariant operation of a loop body in front of the loop, in order."""
    outside = loop.parent
    assert outside is not None
    writers: Counter[Resource] = Counter()
    for op in loop.operations:
        for resource, effects in legality.effects.of(op).items():
            writers[resource] += any(e.writes for e in effects)
    for op in loop.operations:
        written = [r for r, effects in legality.effects.of(op).items() if any(e.writes for e in effects)]
        contested = any(writers[r] > 1 and not getattr(r, "is_addressed", False) for r in written)
        if (
            not contested
            and (isinstance(op, AffineOp) or written or op.results)
            and legality.can_hoist(op, loop)
        ):
            loop.body.block.detach_op(op)
            outside.insert_op_before(op, loop)


__all__ = ["HoistInvariants", "hoist_from"]
