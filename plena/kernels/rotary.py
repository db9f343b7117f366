"""Rotary position embedding: two products with tables, the rotation itself by addresses or a product."""

from __future__ import annotations

from math import lcm

import numpy as np
from xdsl.ir import Operation, SSAValue

from plena.backend.view import Array, Expand, Reshape
from plena.dialects.loop import Linear
from plena.dialects.plena import RotaryOp
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import PanelRows
from plena.kernels.context import KernelContext, kernel_for, unsupported
from plena.kernels.lanes import Lanes, emit_elementwise, rows_of
from plena.kernels.operands import like
from plena.kernels.packing import constant_tile, pack_panel
from plena.kernels.product_cost import ProductShape, prefers_broadcast
from plena.kernels.tensors import HostTensor, Panel


@kernel_for(RotaryOp)
def lower_rotary(op: Operation, ctx: KernelContext) -> None:
    """result = x * cos + rotated(x) * sin, both tables repeated over heads and samples.

    Halves of whole column blocks are rotated by reading the other half, with the signs in the table of sines. In
    narrower heads the rotation is a product with a signed permutation of the lanes of a row, which is exact.
    """
    assert isinstance(op, RotaryOp)
    x, vlen = ctx.panel(op.input), ctx.target.vlen
    size = op.head_dim
    cos, sin = ctx.host(op.cos), ctx.host(op.sin)
    if cos is None or sin is None:
        raise unsupported(op, "computed rotary tables have no kernel")
    width = lcm(x.group_pitch if x.groups > 1 else size, vlen)
    if shape_of(op.cos)[1] != size or not x.is_packed or width > max(size, vlen):
        raise unsupported(op, f"rotary embedding of heads of {size} features needs rows of {vlen} lanes to match")
    tables = [
        _table(ctx, name, tensor, x.rows, max(1, vlen // size)) for name, tensor in (("cos", cos), ("sin", sin))
    ]
    half_blocks = size // 2 // vlen if op.style.data == "half" and size % (2 * vlen) == 0 else 0
    result = like(ctx, "rotary", x)
    with ctx.builder.step("rotary"):
        if half_blocks:
            _by_blocks(ctx, x, result, *tables, half_blocks)
        else:
            rotated = _by_product(ctx, op.input, x, _rotation(size, vlen, op.style.data))
            _combine(ctx, x, rotated, result, *tables)
    ctx.set(op.result, result)


def _table(ctx: KernelContext, name: str, tensor: HostTensor, rows: int, heads: int) -> Panel:
    """A table [P, R] for all rows, side by side for the heads that share a row of lanes."""
    period, size = tensor.shape
    known = ctx.tables.get((tensor, rows, heads))
    if known is None:
        repeated = tensor.through(
            Reshape((1, period, 1, size)),
            Expand((rows // period, period, heads, size)),
            Reshape((rows, heads * size)),
        )
        known = ctx.tables[(tensor, rows, heads)] = ctx.load_exact(name, repeated)
    return known


def _rotation(size: int, vlen: int, style: str) -> Array:
    """The matrix R with rotated(x) = x R^T on the lanes of one row."""
    tile = np.zeros((vlen, vlen), np.float32)
    for lane in range(vlen):
        head, feature = divmod(lane, size)
        if style == "half":
            other = feature + size // 2 if feature < size // 2 else feature - size // 2
            sign = -1.0 if feature < size // 2 else 1.0
        else:
            other, sign = feature ^ 1, -1.0 if feature % 2 == 0 else 1.0
        tile[lane, head * size + other] = sign
    return tile


def _by_product(ctx: KernelContext, value: SSAValue, x: Panel, rotation: Array) -> Panel:
    """Every column block of a panel times the rotation."""
    target, builder, vlen = ctx.target, ctx.builder, ctx.target.vlen
    blocks = x.blocks(vlen)
    distance = int(np.nonzero(rotation[0])[0][0])
    tile = constant_tile(ctx, f"rotation_by_{distance}", rotation)
    rotated = like(ctx, "rotated", x)
    shape = ProductShape(x.rows, 1, blocks, 0 if (value, True) in ctx.packed else blocks)
    if prefers_broadcast(shape, target, ctx.schedule):
        packed = pack_panel(ctx, value, transposed=True)
        with builder.loop(blocks) as block, builder.loop(packed.groups) as group:
            builder.emit(
                "broadcast_matmul",
                out=builder.view(rotated.buffer, block * rotated.block + group * packed.block),
                x=builder.view(packed.buffer, group * packed.group + block * packed.block),
                w=tile,
                k_tiles=1,
                n_tiles=1,
                transposed=1,
            )
        return rotated
    with builder.loop(blocks) as block:
        builder.emit(
            "matmul",
            out=builder.view(rotated.buffer, block * rotated.block),
            x=builder.view(x.buffer, block * x.block),
            w=tile,
            rows=x.physical_rows(vlen),
            k_tiles=1,
            columns=target.mlen,
            transposed=1,
        )
    return rotated


def _combine(ctx: KernelContext, x: Panel, rotated: Panel, result: Panel, cos: Panel, sin: Panel) -> None:
    """All column blocks with the same tables."""
    vlen = ctx.target.vlen

    def expression(lanes: Lanes) -> SSAValue:
        a, b, c, s = lanes.inputs
        return lanes.apply("add", lanes.apply("mul", a, c), lanes.apply("mul", b, s))

    inputs = [rows_of(ctx, x), rows_of(ctx, rotated), *(PanelRows(t.buffer, vlen, 0) for t in (cos, sin))]
    size = (x.physical_rows(vlen), x.blocks(vlen))
    emit_elementwise(ctx, [rows_of(ctx, result)], inputs, size, expression)


def _by_blocks(ctx: KernelContext, x: Panel, result: Panel, cos: Panel, sin: Panel, half: int) -> None:
    """Head by head: first half = a * cos - b * sin, second half = b * cos + a * sin."""
    builder, vlen = ctx.builder, ctx.target.vlen
    with builder.loop(x.blocks(vlen) // (2 * half)) as head:
        for second in (0, 1):

            def rows(panel: Panel, part: int, across: int = 1, head: Linear = head) -> PanelRows:
                offset = head * (2 * half * across) * panel.block + part * half * panel.block
                return PanelRows(builder.view(panel.buffer, offset), vlen, panel.block)

            def expression(lanes: Lanes, kind: str = "add" if second else "sub") -> SSAValue:
                a, b, c, s = lanes.inputs
                return lanes.apply(kind, lanes.apply("mul", a, c), lanes.apply("mul", b, s))

            inputs = [rows(x, second), rows(x, 1 - second), rows(cos, second, 0), rows(sin, second, 0)]
            emit_elementwise(ctx, [rows(result, second)], inputs, (x.physical_rows(vlen), half), expression)
