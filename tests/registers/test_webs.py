"""Splitting cells into webs and spilling them."""

from __future__ import annotations

from hypothesis import given
from xdsl.context import Context

from plena.dialects.plena_isa import FRegister, GPRegister, RegisterOp, instructions_in
from plena.passes.materialize_addresses import MaterializeAddresses
from plena.registers.spilling import Spiller
from plena.registers.webs import split_webs
from tests.affine.programs import parse
from tests.register_form.programs import Program, programs
from tests.register_form.trace import trace


@given(programs())
def test_webs_share_no_value(program: Program) -> None:
    before = trace(program.module)
    MaterializeAddresses().apply(Context(), program.module)
    split_webs(program.module, GPRegister)
    split_webs(program.module, FRegister)
    program.module.verify()
    assert trace(program.module) == before


@given(programs(depth=2))
def test_every_cell_that_counts_no_loop_can_be_spilled(program: Program) -> None:
    before = trace(program.module)
    MaterializeAddresses().apply(Context(), program.module)
    split_webs(program.module, GPRegister)
    for kind in (GPRegister, FRegister):
        victims = [
            op.cell
            for op in program.module.body.block.ops
            if isinstance(op, RegisterOp)
            and isinstance(op.cell.type, kind)
            and not op.cell.type.is_allocated
            and all(use.operation.name != "loop.for" for use in op.cell.uses)
        ]
        Spiller(program.module, kind).spill(victims)
        assert not any(v.uses for v in victims)
    program.module.verify()
    assert trace(program.module) == before


def test_two_lives_of_a_cell_become_two_cells() -> None:
    module = parse("""
    builtin.module {
      %z = plena_isa.register : !plena_isa.gp<gp0>
      %c = plena_isa.register : !plena_isa.gp
      plena_isa.s_addi_int dst(%c : !plena_isa.gp) a(%z : !plena_isa.gp<gp0>) imm = 64
      plena_isa.v_exp_v dst(%c : !plena_isa.gp) a(%c : !plena_isa.gp)
      loop.for %i = 0 to 4 counter(%c : !plena_isa.gp) {
        plena_isa.v_exp_v dst(%z : !plena_isa.gp<gp0>) a(%z : !plena_isa.gp<gp0>)
      }
    }""")
    split_webs(module, GPRegister)
    cells = [op.cell for op in module.body.block.ops if isinstance(op, RegisterOp)]
    assert sum(isinstance(c.type, GPRegister) and not c.type.is_allocated for c in cells) == 2


def test_32_bit_constants_are_rebuilt_by_both_halves() -> None:
    module = parse("""
    builtin.module {
      %z = plena_isa.register : !plena_isa.gp<gp0>
      %c = plena_isa.register : !plena_isa.gp
      plena_isa.s_lui_int dst(%c : !plena_isa.gp) imm = 32768
      plena_isa.s_addi_int dst(%c : !plena_isa.gp) a(%c : !plena_isa.gp) imm = 64
      plena_isa.v_exp_v dst(%c : !plena_isa.gp) a(%c : !plena_isa.gp)
      plena_isa.v_exp_v dst(%c : !plena_isa.gp) a(%c : !plena_isa.gp)
    }""")
    before = trace(module)
    cell = next(op.operands[0] for op in instructions_in(module))
    Spiller(module, GPRegister).spill([cell])
    assert [op.SPEC.mnemonic for op in instructions_in(module)] == ["S_LUI_INT", "S_ADDI_INT", "V_EXP_V"] * 2
    assert trace(module) == before
