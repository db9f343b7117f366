"""Packed operands of broadcast products: made once per tensor, with the packing tiles that make them."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import LinearOp, ProjectionsOp
from plena.dialects.tensor_shapes import shape_of
from plena.dialects.tile import LoadTilesOp, PackOp, PackVectorsOp, ZeroOp
from plena.host.view import Array, Pad, Permute, Reshape
from plena.integers import ceil_div
from plena.kernels.context import KernelContext
from plena.kernels.tensors import HostTensor, PackedPanel, Panel, PanelShape
from plena.machine.number_formats import Mx

PACKING_FACTOR = 16.0
"""Entries of the packing tiles: with the unit's two factors of 0.25 a packed product has no factor left."""

PACKED_SCALE = 0.25 * PACKING_FACTOR
"""What packed rows are times the rows they are made of: the product with a packing tile has one of the two factors."""


def packing_tile(ctx: KernelContext, *, transposed: bool, factor: float = PACKING_FACTOR) -> SSAValue:
    """The identity (transposed products) or the lane permutation (untransposed ones) times 16, in matrix SRAM."""
    target = ctx.target
    mlen, hlen, slots = target.mlen, target.hlen, target.broadcast_amount
    tile = np.zeros((mlen, mlen), np.float32)
    d, b = np.meshgrid(np.arange(hlen), np.arange(slots), indexing="ij")
    rows = b * hlen + d if transposed else d * slots + b
    tile[rows, b * hlen + d] = factor
    return constant_tile(ctx, f"packing_{'identity' if transposed else 'permutation'}_{factor:g}", tile)


def constant_tile(ctx: KernelContext, name: str, tile: Array) -> SSAValue:
    """A constant tile in matrix SRAM.

    Loaded once for the whole program, on first use, which must be outside of a kernel's own loops.
    """
    known = ctx.constant_tiles.get(name)
    if known is not None:
        return known
    target, builder = ctx.target, ctx.builder
    constant = ctx.constant_rows(name, tile)
    source = ctx.place(name, constant, "tiled", "HBM_M_WEIGHT_TYPE", (target.mlen, target.mlen))
    buffer = builder.buffer(f"{name}_tile", "matrix", target.m_prefetch_tiles * target.tile)
    with ctx.once(constant), builder.step("load constant tile"):
        builder.insert(
            LoadTilesOp(
                dst=buffer, src=source, outer=1, inner=1, dst_outer=0, dst_inner=0, src_outer=0, src_inner=0
            )
        )
    ctx.constant_tiles[name] = buffer
    return buffer


def define_tail(ctx: KernelContext, panel: Panel, rows: int = 0) -> None:
    """Zeroes the rows behind the last column block up to `rows` in its place (0: whole row blocks of MLEN)."""
    target, vlen = ctx.target, ctx.target.vlen
    physical = panel.physical_rows(vlen)
    missing = (rows or ceil_div(panel.rows, target.mlen) * target.mlen) - physical
    defined = ctx.defined_tails.get(panel.buffer, 0)
    if missing <= defined:
        return
    ctx.defined_tails[panel.buffer] = missing
    with ctx.builder.step("zero padding"):
        end = panel.blocks(vlen) * panel.block + defined * vlen
        ctx.builder.insert(ZeroOp(dst=ctx.builder.view(panel.buffer, end), rows=missing - defined))


def zero_rows(ctx: KernelContext, panel: Panel, first: int) -> None:
    """Zeroes the rows of every column block from number `first` on."""
    missing = panel.physical_rows(ctx.target.vlen) - first
    with ctx.builder.loop(panel.blocks(ctx.target.vlen)) as block:
        behind = ctx.builder.view(panel.buffer, block * panel.block + first * ctx.target.vlen)
        ctx.builder.insert(ZeroOp(dst=behind, rows=missing))


def define_rows(ctx: KernelContext, panel: Panel, reach: int) -> None:
    """Zeroes the rows behind the last one of every column block, where NaN may be, if `reach` is more."""
    missing = panel.physical_rows(ctx.target.vlen) - panel.rows
    if not missing or reach <= panel.rows or panel.buffer in ctx.defined_rows:
        return
    ctx.defined_rows.add(panel.buffer)
    with ctx.builder.step("zero padding"):
        zero_rows(ctx, panel, panel.rows)


def pack_value(ctx: KernelContext, value: SSAValue) -> PackedPanel:
    """The packed form of a tensor in vector SRAM, made on first use."""
    known = ctx.packed.get(value)
    if known is None:
        known = ctx.packed[value] = pack_panel(ctx, ctx.panel(value))
    return known


def pack_panel(ctx: KernelContext, panel: Panel) -> PackedPanel:
    """A panel packed for transposed products."""
    define_rows(ctx, panel, panel.physical_rows(ctx.target.vlen))
    define_tail(ctx, panel)
    target, builder = ctx.target, ctx.builder
    slots, tile = target.broadcast_amount, target.tile
    row_blocks = ceil_div(panel.rows, target.mlen)
    groups, blocks = ceil_div(row_blocks, slots), panel.blocks(target.vlen)
    buffer = builder.buffer("packed", "vector", groups * blocks * slots * tile)
    packed = PackedPanel(buffer, groups, blocks, tile, slots)
    p = packing_tile(ctx, transposed=True)

    def pack(group: Linear, count: int) -> None:
        builder.insert(
            PackOp(
                out=builder.view(buffer, group * packed.group),
                x=builder.view(panel.buffer, group * (slots * tile)),
                p=p,
                row_blocks=count,
                x_row_block=tile,
                blocks=blocks,
                x_block=panel.block,
                out_block=packed.block,
            )
        )

    with builder.step("pack"):
        builder.by_groups(row_blocks, slots, pack)
    return packed


def pack_vectors(ctx: KernelContext, value: SSAValue) -> PackedPanel:
    """The rows of a tensor packed BROADCAST at a time for products with vectors, made on first use."""
    known = ctx.packed_vectors.get(value)
    if known is not None:
        return known
    if is_packed_by_host(ctx, value):
        packed = ctx.packed_vectors[value] = _load_packed_vectors(ctx, value)
        return packed
    panel, target, builder = ctx.panel(value), ctx.target, ctx.builder
    slots, vlen = target.broadcast_amount, target.vlen
    groups, blocks = ceil_div(panel.rows, slots), panel.blocks(vlen)
    buffer = builder.buffer("packed_vectors", "vector", groups * blocks * slots * vlen)
    packed = PackedPanel(buffer, groups, blocks, vlen, slots)
    p = packing_tile(ctx, transposed=True)

    def pack(group: Linear, vectors: int) -> None:
        builder.insert(
            PackVectorsOp(
                out=builder.view(buffer, group * packed.group),
                x=builder.view(panel.buffer, group * (slots * vlen)),
                p=p,
                vectors=vectors,
                x_vector=vlen,
                blocks=blocks,
                x_block=panel.block,
                out_block=packed.block,
            )
        )

    with builder.step("pack"):
        builder.by_groups(panel.rows, slots, pack)
    ctx.packed_vectors[value] = packed
    return packed


def shape_in_lanes(ctx: KernelContext, value: SSAValue) -> PanelShape:
    """The columns of a matrix in lanes, as `ctx.panel` has them or, if the host packs it, would have them."""
    if is_packed_by_host(ctx, value):
        rows, columns = shape_of(value)
        return PanelShape(rows, 1, columns, columns)
    return ctx.panel(value).shape


def is_packed_by_host(ctx: KernelContext, value: SSAValue) -> bool:
    """Whether the host stages a matrix in the form that products with vectors read: it has not been loaded, nothing but
    products reads it, and slices are whole blocks of its number format."""
    tensor, target = ctx.host(value), ctx.target
    number_format = target.precision["HBM_V_ACT_TYPE"]
    block = number_format.block if isinstance(number_format, Mx) else 1
    return (
        tensor is not None
        and len(tensor.shape) == 2
        and target.hlen % block == 0
        and all(isinstance(use.operation, LinearOp | ProjectionsOp) and use.index == 0 for use in value.uses)
    )


def _load_packed_vectors(ctx: KernelContext, value: SSAValue) -> PackedPanel:
    """The packed rows of a tensor that the host has packed: one row of vector SRAM behind the other."""
    tensor, target = ctx.locations[value], ctx.target
    assert isinstance(tensor, HostTensor)
    (rows, columns), slots, vlen = tensor.shape, target.broadcast_amount, target.vlen
    groups, blocks = ceil_div(rows, slots), ceil_div(columns, vlen)
    tensor = tensor.through(
        Pad(0, 0, groups * slots - rows),
        Pad(1, 0, blocks * vlen - columns),
        Reshape((groups, slots, blocks * slots, target.hlen)),
        Permute((0, 2, 1, 3)),
        Reshape((groups * blocks * slots, vlen)),
    )
    rows_of_slices = ctx.load_staged(tensor, "packed", scale=PACKED_SCALE)
    return PackedPanel(rows_of_slices.buffer, groups, blocks, vlen, slots)
