"""One declaration of a tile operation gives its constructor, fields, text and verifier; type checkers see the calls."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import pytest
from xdsl.ir import SSAValue
from xdsl.parser import Parser
from xdsl.utils.exceptions import VerifyException

from plena.dialects.tile import BufferOp, LoadRowsOp, NormalizeRowsOp
from plena.dialects.tile.operation import DeclaredOp, keyword, number, read, tile_op, written
from plena.driver import context


@tile_op("toy")
class ToyOp(DeclaredOp):
    """An operation of this test."""

    out: SSAValue = written("vector", "matrix")
    x: SSAValue = read("hbm")
    table: SSAValue | None = read("fp", default=None)
    rows: int = number()
    step: int = number(default=3)
    kind: str = keyword("up", "down")


def buffers(*spaces: str) -> list[SSAValue]:
    return [BufferOp(space, space, 64).buffer for space in spaces]


def test_fields_are_what_was_given() -> None:
    out, x, table = buffers("matrix", "hbm", "fp")
    op = ToyOp(out=out, x=x, rows=4, kind="up")
    op.verify()
    assert (op.out, op.x, op.table, op.rows, op.step, op.kind) == (out, x, None, 4, 3, "up")
    assert ToyOp(out=out, x=x, table=table, rows=4, kind="up").table is table
    assert {"out"} == op.WRITES


def test_text() -> None:
    text = """builtin.module {
  %m = tile.buffer @m [64] : !tile.buffer<matrix>
  %h = tile.buffer @h [64] : !tile.buffer<hbm>
  tile.toy kind = "down" out(%m : matrix) x(%h : hbm) rows = 7
}"""
    known = context()
    known.load_op(ToyOp)
    module = Parser(known, text).parse_module()
    toy = module.body.block.last_op
    assert isinstance(toy, ToyOp)
    assert (toy.rows, toy.step, toy.kind) == (7, 0, "down")
    assert str(module) == text


@pytest.mark.parametrize(
    ("spaces", "kind", "rows", "message"),
    [
        (("fp", "hbm"), "up", 1, "out must be a buffer in vector or matrix"),
        (("vector", "hbm"), "left", 1, "kind must be one of up, down"),
        (("vector", "hbm"), "up", -1, "rows must not be negative"),
    ],
)
def test_verifier(spaces: tuple[str, str], kind: str, rows: int, message: str) -> None:
    out, x = buffers(*spaces)
    with pytest.raises(VerifyException, match=message):
        ToyOp(out=out, x=x, rows=rows, kind=kind).verify()


def test_wrong_calls() -> None:
    """`reportUnnecessaryTypeIgnoreComment` makes pyright fail where one of these calls is right in its eyes."""
    out, x = buffers("vector", "hbm")
    with pytest.raises(TypeError, match=r"tile\.toy needs rows"):
        ToyOp(out=out, x=x, kind="up")  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match=r"tile\.toy needs x"):
        ToyOp(out=out, rows=3, kind="up")  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match=r"tile\.toy has no columns"):
        ToyOp(out=out, x=x, rows=3, kind="up", columns=1)  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="positional"):
        ToyOp(out, x=x, rows=3, kind="up")  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match=r"tile\.toy has no regions"):
        ToyOp(out=out, x=x, rows=3, kind="up", regions=())  # pyright: ignore[reportCallIssue]


def test_pyright_knows_the_fields_of_the_dialect() -> None:
    """Strides that an operation has more than one block for cannot be left out, nor misspelt."""
    vector, hbm, words = buffers("vector", "hbm", "fp")
    with pytest.raises(TypeError, match="needs dst_block"):
        LoadRowsOp(dst=vector, src=hbm, rows=1, blocks=2)  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="has no blok"):
        NormalizeRowsOp(
            out=vector,
            scratch=vector,
            x=vector,
            eps=words,
            inverse=words,
            rows=1,
            blocks=1,
            x_block=0,
            out_block=0,
            kind="rms",
            blok=1,  # pyright: ignore[reportCallIssue]
        )
