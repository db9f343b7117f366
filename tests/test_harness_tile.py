"""The comparison of tile level and machine notices what goes wrong."""

from __future__ import annotations

import numpy as np
import pytest

from plena.dialects.tile import ops
from plena.instructions.context import LOWERINGS, Lowering
from tests.harness_tile import SMALL, run_both, steps_between

TEXT = """
%x = tile.buffer @x [48] : !tile.buffer<vector>
tile.zero dst(%x : vector) rows = 2
"""


def test_nothing_wrong() -> None:
    run_both(TEXT, SMALL).assert_equal()


@pytest.mark.parametrize(("row", "rows"), [(0, 1), (1, 2), (0, 3)])
def test_other_rows(row: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(op: object, ctx: Lowering) -> None:
        assert isinstance(op, ops.ZeroOp)
        with ctx.builder.loop(rows) as r:
            dst = ctx.at(op.dst) + (r + row) * 16
            ctx.builder.emit("V_SHFT_V", dst=dst, a=dst, amount=16)

    monkeypatch.setitem(LOWERINGS, ops.ZeroOp, wrong)
    with pytest.raises(AssertionError, match="x\\["):
        run_both(TEXT, SMALL).assert_equal()


def test_rows_outside_of_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LOWERINGS[ops.ZeroOp]

    def wrong(op: ops.ZeroOp, ctx: Lowering) -> None:
        right(op, ctx)
        dst = ctx.at(op.dst) + 48
        ctx.builder.emit("V_SHFT_V", dst=dst, a=dst, amount=16)

    monkeypatch.setitem(LOWERINGS, ops.ZeroOp, wrong)
    with pytest.raises(AssertionError, match="vector SRAM is written outside"):
        run_both(TEXT, SMALL).assert_equal()


def test_steps() -> None:
    numbers = np.array([1.0, -1.0, 0.0, np.nan, 1.0], np.float32)
    others = np.array([1.0078125, -1.0078125, -0.0, np.nan, -1.0], np.float32)
    assert steps_between(numbers, others).tolist() == [1, 1, 0, 0, 2 * 0x3F80]
