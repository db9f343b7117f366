"""Computed queries, keys and values with their heads where the kernels of attention want them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from xdsl.ir import SSAValue

from plena.dialects.plena import AttentionOp
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.context import KernelContext
from plena.kernels.empty_lanes import with_empty_gaps
from plena.kernels.head_layout import head_pitch
from plena.kernels.key_value import fits
from plena.kernels.lane_moves import relaid
from plena.kernels.tensors import StateRows, TensorLocation


@contextmanager
def heads_in_place(op: AttentionOp, shape: AttentionShape, ctx: KernelContext) -> Generator[None]:
    """Moves the heads of computed operands to the lanes that attention reads, with zeros between them.

    Afterwards the operands are where they were: other kernels may want them together.
    """
    wanted = (
        (op.query, shape.heads, shape.head_dim),
        (op.key, shape.kv_heads, shape.head_dim),
        (op.value, shape.kv_heads, shape.value_dim),
    )
    moved: dict[SSAValue, TensorLocation] = {}
    for value, heads, size in wanted:
        if ctx.host(value) is not None or value in moved:
            continue
        location, pitch = ctx.locations[value], head_pitch(shape, size, ctx.target)
        if isinstance(location, StateRows) and fits(location, heads, pitch):
            continue
        panel = ctx.panel(value)
        found = relaid(ctx, op, panel, heads, pitch)
        if found.buffer == panel.buffer and not found.is_packed:
            found = with_empty_gaps(ctx, value, found)
        if found.buffer != panel.buffer:
            moved[value] = location if isinstance(location, StateRows) else panel
            ctx.set(value, found)
    yield
    for value, location in moved.items():
        ctx.set(value, location)
        ctx.packed.pop(value, None)
