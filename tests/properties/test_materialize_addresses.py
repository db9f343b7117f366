"""materialize-addresses leaves every instruction the same addresses, with ever fewer registers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from plena.dialects.plena_isa import GPRegister, RegisterOp, instructions_in
from plena.errors import CompileError
from plena.passes.materialize_addresses import MaterializeAddresses
from plena.registers.addressing.extract import program_of
from plena.registers.addressing.planner import QUICK, Planner, plan_program
from tests.register_form.programs import Program, programs
from tests.register_form.trace import Trace, trace


def virtual_cells(module: ModuleOp) -> int:
    return sum(
        isinstance(op, RegisterOp) and isinstance(op.cell.type, GPRegister) and not op.cell.type.is_allocated
        for op in module.body.block.ops
    )


@given(programs(), st.integers(7, 15))
def test_same_addresses(program: Program, registers: int) -> None:
    before = trace(program.module)
    MaterializeAddresses(registers=registers).apply(Context(), program.module)
    program.module.verify()
    assert trace(program.module) == before
    assert not any(op.is_affine and op.SPEC.mnemonic == "M_MM" for op in instructions_in(program.module))
    assert virtual_cells(program.module) <= registers


@given(programs(depth=2, most=20), st.integers(5, 6))
def test_few_registers(program: Program, registers: int) -> None:
    before = trace(program.module)
    try:
        MaterializeAddresses(registers=registers).apply(Context(), program.module)
    except CompileError:
        pytest.fail("two loops and three operands fit in five registers")
    assert trace(program.module) == before
    assert virtual_cells(program.module) <= registers


@given(programs(), st.integers(7, 15))
def test_is_idempotent(program: Program, registers: int) -> None:
    MaterializeAddresses(registers=registers).apply(Context(), program.module)
    text = str(program.module)
    MaterializeAddresses(registers=registers).apply(Context(), program.module)
    assert str(program.module) == text


@given(programs(), st.integers(7, 15))
def test_costs_what_was_planned(program: Program, registers: int) -> None:
    abstract = program_of(program.module)
    plan = plan_program(abstract, registers)
    before = sum(op.SPEC.mnemonic in ("S_LD_INT", "S_ST_INT") for op in instructions_in(program.module))
    MaterializeAddresses(registers=registers).apply(Context(), program.module)
    executed = Trace(program.module)
    executed.events()
    assert executed.scalar_instructions == plan.cost
    static = sum(op.SPEC.mnemonic.endswith("_INT") for op in instructions_in(program.module))
    assert static == plan.static + before


@given(programs(depth=2), st.integers(8, 15))
def test_estimates_are_close(program: Program, registers: int) -> None:
    """The quick plan that estimates use against the one that is emitted."""
    abstract = program_of(program.module)
    quick = Planner(abstract.classes, QUICK).block(abstract.block, registers, None)
    assert quick is not None
    assert quick.cost <= 1.25 * plan_program(abstract, registers).cost + 4
