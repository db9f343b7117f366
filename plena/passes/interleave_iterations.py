"""`interleave-iterations`: rows of vector work side by side, so that one's latencies are hidden by others."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp
from plena.gc_pause import without_collection
from plena.loops.scheduling.growth import Allowance
from plena.loops.scheduling.interleaving import Interleaver
from plena.machine.target import Target
from plena.timing.registry import profile_named


@dataclass(frozen=True)
class InterleaveIterations(ModulePass):
    """Has several iterations of loops of vector and scalar instructions take turns, as far as effects allow.

    What an iteration writes before it reads, f registers and rows of scratch, each of them gets for itself, with
    `spare_rows` rows that the program leaves alone; the last iteration uses what all did, so that every other memory
    holds the same afterwards. Then the instructions come in the order in which they wait least.

    `timing`: the profile whose latencies count; one that has none changes nothing. `room`: the instructions that it
    may add, about.

    Before::

        builtin.module {
          loop.for %i = 0 to 4 {
            %x = loop.affine 0 + 64 * %i
            plena_isa.v_exp_v dst(%x) a(%x)
            plena_isa.v_reci_v dst(%x) a(%x)
          }
        }

    After::

        builtin.module {
          loop.for %i = 0 to 2 {
            %0 = loop.affine 0 + 128 * %i
            %1 = loop.affine 64 + 128 * %i
            plena_isa.v_exp_v dst(%0) a(%0)
            plena_isa.v_exp_v dst(%1) a(%1)
            plena_isa.v_reci_v dst(%0) a(%0)
            plena_isa.v_reci_v dst(%1) a(%1)
          }
        }
    """

    name = "interleave-iterations"
    timing: str = "rtl-v1"
    spare_rows: bool = True
    room: int | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        work_of = profile_named(self.timing, self.name).work
        if work_of is None:
            return
        with without_collection():
            target, allowance = Target.from_module(op), Allowance(self.room)
            Interleaver(op, target, work_of, allowance, self.spare_rows).run()
            for affine in [o for o in op.walk(reverse=True) if isinstance(o, AffineOp) and not o.result.uses]:
                affine.detach()
                affine.erase()


__all__ = ["InterleaveIterations"]
