"""An operation that fits its definition is not looked at again; one that is changed afterwards is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import IndexType, IntAttr, IntegerAttr, ModuleOp, StringAttr, f32, i64
from xdsl.ir import Block, Operation, Region
from xdsl.irdl import OpDef
from xdsl.parser import Parser
from xdsl.utils.exceptions import VerifyException

from plena.dialects import remembered_checks as checks
from plena.dialects.loop import AffineOp, ForOp
from plena.dialects.plena_isa import OP_OF_MNEMONIC
from plena.driver import context

TEXT = """
%a = loop.affine 64
loop.for %i = 0 to 4 {
  plena_isa.m_mm mat(%a) vec(%a)
  plena_isa.m_mm mat(%a) vec(%a)
  plena_isa.v_exp_v dst(%a) a(%a)
}
"""


def parsed(ctx: Context) -> ModuleOp:
    return Parser(ctx, TEXT).parse_module()


def op_of(module: ModuleOp, kind: type[Operation]) -> Operation:
    return [op for op in module.walk() if isinstance(op, kind)][-1]


M_MM, V_EXP_V = OP_OF_MNEMONIC["M_MM"], OP_OF_MNEMONIC["V_EXP_V"]


def without_an_operand(module: ModuleOp) -> None:
    op = op_of(module, M_MM)
    op.operands = op.operands[:1]


def of_another_type(module: ModuleOp) -> None:
    stranger = Block(arg_types=[f32]).args[0]
    op_of(module, M_MM).operands[0] = stranger


def without_a_property(module: ModuleOp) -> None:
    del op_of(module, V_EXP_V).properties["mask"]


def with_a_property_too_many(module: ModuleOp) -> None:
    op_of(module, M_MM).properties["colour"] = StringAttr("red")


def with_a_property_of_another_kind(module: ModuleOp) -> None:
    op_of(module, V_EXP_V).properties["mask"] = IntAttr(0)


def with_another_argument(module: ModuleOp) -> None:
    block = op_of(module, ForOp).regions[0].block
    block.insert_arg(IndexType(), 1)


def with_a_region_too_many(module: ModuleOp) -> None:
    op_of(module, AffineOp).add_region(Region(Block()))


def with_a_number_out_of_range(module: ModuleOp) -> None:
    """By the verifier of the operation, which is asked each time."""
    op_of(module, V_EXP_V).properties["mask"] = IntegerAttr(1 << 20, i64)


BROKEN: list[Callable[[ModuleOp], None]] = [
    without_an_operand,
    of_another_type,
    without_a_property,
    with_a_property_too_many,
    with_a_property_of_another_kind,
    with_another_argument,
    with_a_region_too_many,
    with_a_number_out_of_range,
]


@pytest.mark.parametrize("break_it", BROKEN)
def test_what_xdsl_refuses_is_refused_after_a_good_one(break_it: Callable[[ModuleOp], None]) -> None:
    messages: list[str] = []
    for surroundings in (nullcontext, checks.remembered_checks, checks.remembered_checks):
        module = parsed(context())
        with checks.remembered_checks():
            module.verify()
        break_it(module)
        with surroundings(), pytest.raises(VerifyException) as error:
            module.verify()
        messages.append(str(error.value))
    assert len({*messages}) == 1


def test_equal_operations_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    own: list[Operation] = []

    def check(definition: OpDef, op: Operation) -> None:
        checked.append(op.name)

    def verify_slots(op: Operation) -> None:
        own.append(op)

    def verified() -> None:
        with checks.remembered_checks():
            parsed(context()).verify()

    monkeypatch.setattr(OpDef, "verify", OpDef.verify)  # as it is, again afterwards
    monkeypatch.setattr(checks, "_check", check)
    monkeypatch.setattr(M_MM, "_verify_slots", verify_slots)
    monkeypatch.setattr(checks, "_remembered", checks._Remembered())
    verified()
    verified()
    assert len(own) == 1
    assert sorted(checked) == sorted({*checked}) and "plena_isa.m_mm" in checked
    monkeypatch.setattr(checks, "MOST_ATTRIBUTES", 0)
    verified()
    assert checked.count("plena_isa.m_mm") == 3 and len(own) == 3
    parsed(context()).verify()
    assert len(own) == 5, "outside each time"


def test_xdsl_is_left_as_it_was() -> None:
    before = OpDef.verify
    with pytest.raises(VerifyException), checks.remembered_checks():
        assert OpDef.verify is not before
        raise VerifyException("so")
    assert OpDef.verify is before
