"""allocate-registers keeps what every instruction is given, with artificially few registers."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from plena.dialects.plena_isa import FRegister, GPRegister, PlenaRegister, instructions_in
from plena.errors import CompileError
from plena.passes.allocate_registers import AllocateRegisters
from plena.passes.materialize_addresses import MaterializeAddresses
from tests.register_form.programs import Program, programs
from tests.register_form.trace import trace

FLOATS = ("S_LD_FP", "S_ST_FP", "S_ADD_FP", "V_RED_MAX", "M_MM")


def registers_of(module: ModuleOp, kind: type[PlenaRegister]) -> set[int | None]:
    """The numbers of the machine registers that instructions touch, zero registers apart."""
    return {
        value.type.number
        for op in instructions_in(module)
        for value, _ in op.cells()
        if isinstance(value.type, kind) and not value.type.is_zero
    }


@given(programs(), st.integers(6, 15), st.integers(3, 7))
def test_same_program(program: Program, gp: int, f: int) -> None:
    before = trace(program.module)
    MaterializeAddresses().apply(Context(), program.module)
    try:
        AllocateRegisters(gp=gp, f=f).apply(Context(), program.module)
    except CompileError as error:
        assert "too few" in error.what
        assume(False)
    program.module.verify()
    assert trace(program.module) == before
    assert registers_of(program.module, GPRegister) <= set(range(1, gp + 1))
    assert registers_of(program.module, FRegister) <= set(range(1, f + 1))


@given(programs(kinds=FLOATS, most=25), st.integers(3, 4))
def test_float_spills(program: Program, f: int) -> None:
    before = trace(program.module)
    MaterializeAddresses().apply(Context(), program.module)
    AllocateRegisters(f=f).apply(Context(), program.module)
    assert trace(program.module) == before
    assert len(registers_of(program.module, FRegister)) <= f


@given(programs(depth=2), st.integers(6, 7))
def test_integer_spills(program: Program, gp: int) -> None:
    """Two open loops and the operands of one instruction fit, whatever was live around them."""
    before = trace(program.module)
    MaterializeAddresses().apply(Context(), program.module)
    AllocateRegisters(gp=gp).apply(Context(), program.module)
    assert trace(program.module) == before
