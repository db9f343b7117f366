"""`schedule-transfers`: matrix loads run beside vector work, ahead of the products that need them."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp, ForOp
from plena.gc_pause import without_collection
from plena.loops.effects import EffectTable
from plena.loops.scheduling.buffering import double_buffer, shared_out
from plena.loops.scheduling.growth import Allowance
from plena.loops.scheduling.pipelining import fuse_with_work, pipeline
from plena.loops.scheduling.preloading import move_up, split_for_preloading
from plena.loops.scheduling.reach import Reach
from plena.loops.scheduling.tiles import Room, untouched
from plena.machine.target import Target
from plena.timing.profile import Profile
from plena.timing.registry import profile_named

GROWTH_OF_TRANSFERS = 1.3
"""How much longer than without it the compiler lets a program get by this pass."""


@dataclass(frozen=True)
class ScheduleTransfers(ModulePass):
    """Moves loads of matrix tiles ahead of the products that need them, beside vector work, as far as effects allow.

    A loop of products and the loop of vector work behind it become one if that is legal; its loads are then those of
    the next iteration and stand in the vector work, one every few rows. Loads in front of a loop move up into
    vector work before it, with `spare_tiles` those of several iterations, into tiles that the program leaves alone.
    Under a profile in which loads run beside products a loop fills two runs of tiles in turn: the tiles of the next
    iteration are loaded beside the products of this one. Every other memory holds the same afterwards.

    `timing`: the profile whose cycles say how far loads are apart. `room`: the instructions that it may add, about.

    Before::

        builtin.module {
          %a = plena_isa.register : !plena_isa.a<a0>
          loop.for %i = 0 to 4 {
            %tile = loop.affine 0
            %weights = loop.affine 0 + 4096 * %i
            %scale = loop.affine 16384
            plena_isa.h_prefetch_m dst(%tile) off(%weights) base(%a : !plena_isa.a<a0>) scale(%scale)
            plena_isa.m_btmm mat(%tile) vec(%tile)
            %y = loop.affine 4096 + 16384 * %i
            plena_isa.m_bmm_wo dst(%y)
          }
          loop.for %row = 0 to 1024 {
            %x = loop.affine 4096 + 64 * %row
            plena_isa.v_exp_v dst(%x) a(%x)
          }
        }

    After::

        builtin.module {
          %a = plena_isa.register : !plena_isa.a<a0>
          %0 = loop.affine 0
          %1 = loop.affine 16384
          plena_isa.h_prefetch_m dst(%0) off(%0) base(%a : !plena_isa.a<a0>) scale(%1)
          loop.for %i = 0 to 3 {
            plena_isa.m_btmm mat(%0) vec(%0)
            %2 = loop.affine 4096 + 16384 * %i
            plena_isa.m_bmm_wo dst(%2)
            %3 = loop.affine 4096 + 4096 * %i
            plena_isa.h_prefetch_m dst(%0) off(%3) base(%a : !plena_isa.a<a0>) scale(%1)
            loop.for %4 = 0 to 256 {
              %5 = loop.affine 4096 + 16384 * %i + 64 * %4
              plena_isa.v_exp_v dst(%5) a(%5)
            }
          }
          plena_isa.m_btmm mat(%0) vec(%0)
          %6 = loop.affine 53248
          plena_isa.m_bmm_wo dst(%6)
          loop.for %7 = 0 to 256 {
            %8 = loop.affine 53248 + 64 * %7
            plena_isa.v_exp_v dst(%8) a(%8)
          }
        }
    """

    name = "schedule-transfers"
    timing: str = "serialized"
    spare_tiles: bool = True
    room: int | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        profile = profile_named(self.timing, self.name)
        target = Target.from_module(op)
        with without_collection():
            spare = untouched(op, EffectTable(target)) if self.spare_tiles else Room(0, 0)
            allowance, reach = Allowance(self.room), Reach.of(op, target)
            single, buffering = set[ForOp](), allowance
            if profile.beside_products:
                operations = op.body.block.ops
                single, buffering = shared_out(operations, target, profile, spare, allowance, reach)
            _Scheduler(target, profile, spare, allowance, buffering, single, reach).block(op.body.block)
            for affine in [o for o in op.walk(reverse=True) if isinstance(o, AffineOp) and not o.result.uses]:
                affine.detach()
                affine.erase()


@dataclass(frozen=True)
class _Scheduler:
    target: Target
    profile: Profile
    spare: Room
    allowance: Allowance
    buffering: Allowance
    """For loops that fill two runs of tiles; `allowance` is for everything else."""
    single: set[ForOp]
    """Loops that fill one run of tiles, for want of instructions."""
    reach: Reach
    """How far into HBM the program loads."""
    buffered: set[ForOp] = field(default_factory=set[ForOp])
    """Loops whose loads are those of the next iteration already."""

    def block(self, block: Block) -> None:
        """Schedules a block, those of its loops first."""
        beside_products = self.profile.beside_products
        if beside_products:
            self._double_buffer(block, halves=True)
        for op in list(block.ops):
            if isinstance(op, ForOp):
                self.block(op.body.block)
        if beside_products:
            self._double_buffer(block, halves=False)
        fuse_with_work(block, self.target, self.spare, self.allowance)
        for op in list(block.ops):
            if isinstance(op, ForOp) and op not in self.buffered:
                pipeline(op, self.target, self.profile, self.allowance)
        split_for_preloading(block, self.target, self.spare, self.allowance)
        move_up(block, self.target, self.profile, self.allowance)

    def _double_buffer(self, block: Block, *, halves: bool) -> None:
        found = double_buffer(
            block,
            self.target,
            self.profile,
            self.spare,
            self.buffering,
            self.reach,
            halves=halves,
            but=self.single,
        )
        self.buffered.update(found)


__all__ = ["GROWTH_OF_TRANSFERS", "ScheduleTransfers"]
