"""The `tile` dialect: buffers in named memories and operations on whole tiles and rows, between `loop.for` loops."""

from xdsl.ir import Dialect

from plena.dialects.tile import ops
from plena.dialects.tile.buffers import (
    AddressOp,
    BufferOp,
    BufferType,
    ConstantOp,
    ViewOp,
    is_declaration,
    root_of,
)
from plena.dialects.tile.operation import TileOp

TILE_OPS: tuple[type[TileOp], ...] = tuple(
    value
    for value in vars(ops).values()
    if isinstance(value, type) and issubclass(value, TileOp) and value is not TileOp
)
"""Every tile operation."""

Tile = Dialect("tile", [BufferOp, ConstantOp, ViewOp, AddressOp, *TILE_OPS], [BufferType])

__all__ = [
    "TILE_OPS",
    "AddressOp",
    "BufferOp",
    "BufferType",
    "ConstantOp",
    "Tile",
    "TileOp",
    "ViewOp",
    "is_declaration",
    "ops",
    "root_of",
]
