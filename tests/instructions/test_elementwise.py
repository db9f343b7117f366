"""Elementwise bodies leave what the tile level says: every kind, chains of them, panels of any strides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from plena.dialects.tile import BufferOp, ConstantOp, ElementwiseOp, PanelRows
from plena.dialects.tile.elementwise import BINARY_KINDS, SCALAR_KINDS, UNARY_KINDS
from plena.instructions.row_plan import plan_rows
from plena.machine.target import Target
from tests.harness_tile import SMALL, TARGETS, run_both
from tests.properties.strategies_isa import Text
from tests.properties.strategies_tile import bodies

targets = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
POSITIVE = np.random.default_rng(0).random(1 << 14) * 6 + 0.1


@targets
@pytest.mark.parametrize("kind", UNARY_KINDS)
def test_one_row(kind: str, target: Target) -> None:
    vlen = target.vlen
    text = f"""
    %x = tile.buffer @x [{6 * vlen}] : !tile.buffer<vector>
    %y = tile.buffer @y [{6 * vlen}] : !tile.buffer<vector>
    tile.elementwise rows = 3 blocks = 2 out(%y[{vlen}, {3 * vlen}]) in(%x[{2 * vlen}, {vlen}]) {{
    ^bb0(%a : !tile.lanes):
      %r = tile.lanewise "{kind}" %a
      tile.yield %r
    }}"""
    run_both(text, target, {"x": POSITIVE[: 6 * vlen]}).assert_equal()


@targets
@pytest.mark.parametrize("kind", BINARY_KINDS)
@pytest.mark.parametrize("row", [0, 1])
def test_two_rows(row: int, kind: str, target: Target) -> None:
    """The second operand may repeat one row."""
    vlen = target.vlen
    text = f"""
    %x = tile.buffer @x [{6 * vlen}] : !tile.buffer<vector>
    %y = tile.buffer @y [{6 * vlen}] : !tile.buffer<vector>
    tile.elementwise rows = 3 blocks = 2 out(%x[{vlen}, {3 * vlen}]) in(%x[{vlen}, {3 * vlen}])
        in(%y[{row * vlen}, {row * 3 * vlen}]) {{
    ^bb0(%a : !tile.lanes, %b : !tile.lanes):
      %r = tile.lanewise "{kind}" %b, %a : !tile.lanes
      tile.yield %r
    }}"""
    run_both(text, target).assert_equal()


@targets
@pytest.mark.parametrize("kind", [*BINARY_KINDS, *SCALAR_KINDS])
@pytest.mark.parametrize("number", [0.0, 1.375])
def test_a_row_and_a_word(number: float, kind: str, target: Target) -> None:
    vlen = target.vlen
    text = f"""
    %x = tile.buffer @x [{3 * vlen}] : !tile.buffer<vector>
    %c = tile.constant [{number}]
    tile.elementwise rows = 3 blocks = 1 out(%x[{vlen}, {3 * vlen}]) in(%x[{vlen}, {3 * vlen}]) {{
    ^bb0(%a : !tile.lanes):
      %r = tile.lanewise "{kind}" %a, %c : !tile.buffer<fp>
      tile.yield %r
    }}"""
    run_both(text, target).assert_equal()


@pytest.mark.parametrize("kind", [*BINARY_KINDS, *SCALAR_KINDS, *UNARY_KINDS])
@pytest.mark.parametrize("word", [False, True])
def test_blocks_that_lie_apart(word: bool, kind: str) -> None:
    other, second = "", ""
    if kind not in UNARY_KINDS:
        is_word = word or kind in SCALAR_KINDS
        other = ", %c : !tile.buffer<fp>" if is_word else ", %b : !tile.lanes"
        second = "" if is_word else f" in(%y[{SMALL.vlen}, {3 * SMALL.vlen}])"
    vlen = SMALL.vlen
    text = f"""
    %x = tile.buffer @x [{6 * vlen}] : !tile.buffer<vector>
    %y = tile.buffer @y [{6 * vlen}] : !tile.buffer<vector>
    %z = tile.buffer @z [{6 * vlen}] : !tile.buffer<vector>
    %c = tile.constant [0.75]
    tile.elementwise rows = 3 blocks = 2 out(%z[{vlen}, {3 * vlen}]) in(%x[{2 * vlen}, {vlen}]){second} {{
    ^bb0(%a : !tile.lanes{", %b : !tile.lanes" if second else ""}):
      %r = tile.lanewise "{kind}" %a{other}
      tile.yield %r
    }}"""
    run_both(text, SMALL, {"x": POSITIVE[: 6 * vlen]}).assert_equal()


@st.composite
def programs(draw: st.DrawFn) -> Text:
    """An elementwise operation on up to three panels with one or two results, some of them in place."""
    vlen, rows, blocks = SMALL.vlen, draw(st.integers(1, 3)), draw(st.integers(1, 3))
    module = ModuleOp([])
    block = module.body.block

    def buffer(name: str, space: str, size: int) -> SSAValue:
        op = BufferOp(name, space, size)
        block.add_op(op)
        return op.buffer

    def panel(name: str, *, repeats: bool) -> PanelRows:
        row = draw(st.sampled_from([0, vlen, 2 * vlen] if repeats else [vlen, 2 * vlen]))
        pitch = rows * 2 * vlen if not repeats or draw(st.booleans()) else 0
        return PanelRows(buffer(name, "vector", blocks * rows * 2 * vlen), row, pitch)

    constant = ConstantOp((0.5, -1.25))
    block.add_op(constant)
    words = [constant.buffer, buffer("word", "fp", 1)]
    inputs = [panel(f"in_{i}", repeats=True) for i in range(draw(st.integers(1, 3)))]
    outs = [panel(f"out_{i}", repeats=False) for i in range(draw(st.integers(1, 2)))]
    if draw(st.booleans()):
        inputs[-1] = outs[-1]
    body = draw(bodies(len(inputs), len(outs), words, 8))
    plan = plan_rows(body, outs, inputs)
    assume(plan is not None)
    assert plan is not None and body.parent is not None
    scratch = buffer("scratch", "vector", plan.scratch * vlen) if plan.scratch else None
    block.add_op(ElementwiseOp(outs, inputs, scratch, (rows, blocks), body.parent))
    return Text(module)


@given(programs(), st.integers(0, 99))
def test_any_body(program: Text, seed: int) -> None:
    run_both(program.module.clone(), SMALL, seed=seed).assert_equal(skip=["scratch"])
