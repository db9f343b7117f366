"""Text is a faithful form of every module of `aten` and `plena`."""

from __future__ import annotations

from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, IntegerAttr, ModuleOp, TensorType, i64
from xdsl.dialects.func import Func
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from plena.dialects.aten import Aten
from plena.dialects.plena import Plena
from tests.properties.strategies_tensor import INSIDE_OTHERS, TENSOR_OPS, Text, tensor_modules


def text_of(module: ModuleOp, generic: bool = False) -> str:
    stream = StringIO()
    Printer(stream, print_generic_format=generic).print_op(module)
    return stream.getvalue()


def parse(text: str) -> ModuleOp:
    context = Context()
    for dialect in (Builtin, Func, Aten, Plena):
        context.load_dialect(dialect)
    return Parser(context, text).parse_module()


def check_round_trips(module: ModuleOp) -> None:
    module.verify()
    for generic in (False, True):
        text = text_of(module, generic)
        again = parse(text)
        again.verify()
        assert module.is_structurally_equivalent(again)
        assert text_of(again, generic) == text


def test_every_operation_has_a_strategy() -> None:
    assert {*Aten.operations, *Plena.operations} == {*TENSOR_OPS, *INSIDE_OTHERS}


@pytest.mark.parametrize("op", TENSOR_OPS, ids=lambda op: op.name)
@settings(max_examples=4)
@given(data=st.data())
def test_every_operation_round_trips(op: type[Any], data: st.DataObject) -> None:
    module = data.draw(tensor_modules(last=op)).module
    assert any(isinstance(made, op) for made in module.walk())
    check_round_trips(module)


@given(tensor_modules())
def test_modules_round_trip(text: Text) -> None:
    check_round_trips(text.module)


@given(tensor_modules(most=8), st.data())
def test_mutated_modules_fail_to_verify_or_verify(text: Text, data: st.DataObject) -> None:
    """Whatever is changed in a module, the verifiers either accept it or say why not."""
    ops = [op for op in text.module.walk() if op.name.startswith(("aten.", "plena."))]
    if not ops:
        return
    op = data.draw(st.sampled_from(ops))
    numbers = [name for name, value in op.properties.items() if isinstance(value, IntegerAttr)]
    if numbers and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(numbers))
        op.properties[name] = IntegerAttr(data.draw(st.integers(-3, 9)), i64)
    elif op.results:
        old = op.results[0].type
        assert isinstance(old, TensorType)
        shape = data.draw(st.lists(st.integers(0, 4), max_size=4))
        op.results[0]._type = TensorType(old.element_type, shape)
    with suppress(VerifyException):
        text.module.verify()
