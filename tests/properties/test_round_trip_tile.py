"""Text is a faithful form of every module of the tile level, custom and generic."""

from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.printer import Printer

from plena.dialects.tile import Tile
from plena.driver import context
from tests.properties.strategies_isa import Text
from tests.properties.strategies_tile import DRAWN, WITH_BODY, tile_modules


def text_of(module: ModuleOp, generic: bool) -> str:
    stream = StringIO()
    Printer(stream, print_generic_format=generic).print_op(module)
    return stream.getvalue()


def check_round_trips(module: ModuleOp) -> None:
    module.verify()
    for generic in (False, True):
        text = text_of(module, generic)
        again = Parser(context(), text).parse_module()
        again.verify()
        assert module.is_structurally_equivalent(again), text
        assert text_of(again, generic) == text


def test_every_operation_has_a_strategy() -> None:
    """But host values: tests/host draws their graphs."""
    assert {op for op in Tile.operations if op.name != "tile.host"} == set(DRAWN)


@pytest.mark.parametrize("op", DRAWN, ids=lambda op: op.name)
@settings(max_examples=5)
@given(data=st.data())
def test_every_operation_round_trips(op: type[Operation], data: st.DataObject) -> None:
    module = data.draw(tile_modules(op, 2)).module
    assert any(isinstance(inner, op) for inner in module.walk())
    if op not in WITH_BODY:
        assert isinstance(module.body.block.last_op, op)
    check_round_trips(module)


@given(tile_modules())
def test_modules_round_trip(text: Text) -> None:
    check_round_trips(text.module)
