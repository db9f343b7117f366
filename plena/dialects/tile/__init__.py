"""The `tile` dialect: buffers in named memories and operations on whole tiles and rows, between `loop.for` loops."""

from xdsl.ir import Dialect

from plena.dialects.tile import ops, row_ops
from plena.dialects.tile.buffers import (
    AddressOp,
    BufferOp,
    BufferType,
    ConstantOp,
    DataOp,
    ViewOp,
    is_declaration,
    root_of,
)
from plena.dialects.tile.choices import CHOICES, ChoicesAttr
from plena.dialects.tile.elementwise import ElementwiseOp, LanesType, LanesYieldOp, LanewiseOp, PanelRows
from plena.dialects.tile.matrices import MatrixAttr
from plena.dialects.tile.operation import TileOp
from plena.dialects.tile.placements import PlacementAttr, SourceAttr, StepAttr

TILE_OPS: tuple[type[TileOp], ...] = tuple(
    value
    for module in (ops, row_ops)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, TileOp) and hasattr(value, "name")
)
"""The tile operations with named operands; `ElementwiseOp` has any number of inputs and a body."""

Tile = Dialect(
    "tile",
    [BufferOp, ConstantOp, DataOp, ViewOp, AddressOp, ElementwiseOp, LanewiseOp, LanesYieldOp, *TILE_OPS],
    [BufferType, ChoicesAttr, LanesType, MatrixAttr, PlacementAttr, SourceAttr, StepAttr],
)

__all__ = [
    "CHOICES",
    "TILE_OPS",
    "AddressOp",
    "BufferOp",
    "BufferType",
    "ChoicesAttr",
    "ConstantOp",
    "DataOp",
    "ElementwiseOp",
    "LanesType",
    "LanesYieldOp",
    "LanewiseOp",
    "MatrixAttr",
    "PanelRows",
    "PlacementAttr",
    "SourceAttr",
    "StepAttr",
    "Tile",
    "TileOp",
    "ViewOp",
    "is_declaration",
    "ops",
    "root_of",
    "row_ops",
]
