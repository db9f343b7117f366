"""Counted loops and linear index arithmetic: one loop op from the tile level down to the hardware loop."""

from xdsl.ir import Dialect

from plena.dialects.loop.builder import Address, LoopBuilder
from plena.dialects.loop.linear import Linear
from plena.dialects.loop.ops import AffineOp, ForOp, YieldOp, linear_of

Loop = Dialect("loop", [ForOp, YieldOp, AffineOp], [])

__all__ = ["Address", "AffineOp", "ForOp", "Linear", "Loop", "LoopBuilder", "YieldOp", "linear_of"]
