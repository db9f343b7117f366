"""`lift`: raises register-form code, also code that nobody here wrote, into the affine form."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.lifting import Preloaded, lift_module
from plena.lifting.read import is_affine


@dataclass(frozen=True)
class Lift(ModulePass):
    """Loops become `loop.for`, every address, count, offset and piece of sticky state a `loop.affine`.

    Integer registers, C_SET_*, constants in pieces and fillers disappear; f registers become virtual cells (those
    that rely on their reset value are cleared at the top). Whatever cannot be lifted exactly is an error that names
    the instruction. A module that is in affine form already stays as it is. Source: plena_isa.md sections 2.8, 3, 4.

    Options:
        preloaded: what the host loads into INT SRAM, as `int:start-stop=low..high`; a number loaded from there stays
            a run-time value, its bounds let sums with it be proven not to wrap.

    Before::

        builtin.module {
          %0 = plena_isa.register : !plena_isa.gp<gp0>
          %1 = plena_isa.register : !plena_isa.gp<gp1>
          %2 = plena_isa.register : !plena_isa.gp<gp2>
          plena_isa.s_addi_int dst(%1 : !plena_isa.gp<gp1>) a(%0 : !plena_isa.gp<gp0>) imm = 4096
          plena_isa.c_loop_start counter(%2 : !plena_isa.gp<gp2>) count = 16
          plena_isa.v_exp_v dst(%1 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp1>)
          plena_isa.s_addi_int dst(%1 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp1>) imm = 64
          plena_isa.c_loop_end counter(%2 : !plena_isa.gp<gp2>)
        }

    After::

        builtin.module {
          loop.for %0 = 0 to 16 {
            %1 = loop.affine 4096 + 64 * %0
            plena_isa.v_exp_v dst(%1) a(%1)
          }
        }
    """

    name = "lift"
    preloaded: str = ""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if is_affine(op):
            return
        lifted = lift_module(op, Preloaded.of(self.preloaded))
        block = op.body.block
        for old in reversed(list(block.ops)):
            block.erase_op(old, safe_erase=False)
        for new in list(lifted.body.block.ops):
            new.detach()
            block.add_op(new)
