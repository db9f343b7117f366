"""Anchored buffers: placed as a whole, beside what is there, or an error that says why."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import VerifyException

from plena.dialects.tile import BufferOp
from plena.driver import run_pipeline
from plena.errors import CompileError
from tests.harness_tile import SMALL, parse

TILE = SMALL.tile


def use(name: str, memory: str) -> str:
    """An operation that reads a whole tile of a buffer."""
    if memory == "matrix":
        return f"""tile.matmul out(%z : vector) x(%z : vector) w(%{name} : matrix) rows = 4 k_tiles = 1 columns = 16
            x_block = 64"""
    return f"tile.shift out(%z : vector) x(%{name} : vector) rows = 1 blocks = 1"


def buffer(name: str, size: int, memory: str, anchor: str = "") -> str:
    return f"%{name} = tile.buffer @{name} [{size}] : !tile.buffer<{memory}> {anchor}"


def allocated(*lines: str) -> dict[str, int]:
    """Addresses by name; `z` is a small buffer for the results of `use`."""
    module: ModuleOp = parse("\n".join([buffer("z", 8 * TILE, "vector"), *lines]), SMALL)
    module.verify()
    run_pipeline(module, ("allocate-buffers",))
    buffers = [op for op in module.body.block.ops if isinstance(op, BufferOp)]
    return {op.symbol.data: op.address.data for op in buffers if op.address is not None}


def test_offsets_hold_across_memories() -> None:
    at = allocated(
        buffer("x", 2 * TILE, "vector"),
        buffer("copy", 2 * TILE, "vector", f"anchor @x[-{2 * TILE}]"),
        buffer("w", 4 * TILE, "matrix", f"anchor @x[-{2 * TILE}]"),
        *(use(name, "vector") for name in ("x", "copy")),
        use("w", "matrix"),
        use("x", "vector"),
    )
    assert at["copy"] == at["w"] == at["x"] - 2 * TILE
    assert at["x"] % TILE == 0


def test_a_group_keeps_clear_of_buffers_in_use() -> None:
    lines = [
        buffer("x", TILE, "vector"),
        buffer("w", 2 * TILE, "matrix", "anchor @x[0]"),
        buffer("y", TILE, "vector"),
        buffer("v", 2 * TILE, "matrix", "anchor @y[0]"),
    ]
    uses = {name: use(name, "matrix" if name in "vw" else "vector") for name in "xywv"}
    together = allocated(*lines, *(uses[n] for n in "xywvxywv"))
    assert abs(together["w"] - together["v"]) >= 2 * TILE
    apart = allocated(*lines, *(uses[n] for n in "xwxwyvyv"))
    assert apart["w"] == apart["v"] == apart["x"] == apart["y"]


def test_buffers_without_anchors_go_around_groups() -> None:
    names = {"x": "vector", "w": "matrix", "free": "vector", "tiles": "matrix"}
    at = allocated(
        buffer("x", TILE, "vector"),
        buffer("w", TILE, "matrix", "anchor @x[0]"),
        buffer("free", 2 * TILE, "vector"),
        buffer("tiles", 2 * TILE, "matrix"),
        *(use(n, m) for n, m in [*names.items(), *names.items()]),
    )
    assert at["w"] == at["x"]
    assert at["free"] >= at["x"] + TILE or at["free"] + 2 * TILE <= at["x"]
    assert at["tiles"] >= at["w"] + TILE or at["tiles"] + 2 * TILE <= at["w"]


def test_matrix_memory_bounds_the_common_address() -> None:
    """What needs an address beyond matrix SRAM is an error of that memory."""
    with pytest.raises(CompileError, match="does not fit in matrix memory"):
        allocated(
            buffer("x", TILE, "vector"),
            buffer("w", TILE, "matrix", f"anchor @x[{40 * TILE}]"),
            use("x", "vector"),
            use("w", "matrix"),
        )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([buffer("w", TILE, "matrix", "anchor @nothing[0]")], "anchored to nothing"),
        (
            [
                buffer("x", TILE, "vector"),
                buffer("w", TILE, "matrix", "anchor @x[0]"),
                buffer("v", TILE, "matrix", "anchor @w[0]"),
            ],
            "not anchored itself",
        ),
        ([buffer("x", TILE, "vector"), buffer("w", TILE, "matrix", "anchor @x[16]")], "not aligned"),
        (
            [
                buffer("x", TILE, "vector"),
                buffer("y", TILE, "vector", "anchor @x[16]"),
                *(use(name, "vector") for name in "xyx"),
            ],
            "addresses meet",
        ),
    ],
)
def test_errors(lines: list[str], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        allocated(*lines)


def test_only_srams_of_elements_have_anchors() -> None:
    with pytest.raises(VerifyException, match="matrix and vector"):
        allocated(buffer("x", TILE, "vector"), buffer("s", 8, "fp", "anchor @x[0]"))
