"""The vector schedule: products with few rows by M_BTMV, BROADCAST rows at a time (docs/matmul_schedules.md)."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.integers import ceil_div
from plena.kernels.column_products import vector_product
from plena.kernels.context import KernelContext
from plena.kernels.packing import pack_vectors
from plena.kernels.tensors import Panel
from plena.kernels.weight_stream import WeightStream, resident_tiles


def multiply_vectors(value: SSAValue, weight: SSAValue, result: Panel, ctx: KernelContext) -> None:
    """For each column block of the output: its tiles to matrix SRAM, then all groups of BROADCAST rows.

    A write-out always writes BROADCAST rows. Those of a last group that is not full are zeros that may reach into the
    next column block, which is written later, or behind the panel.

    Tiles that one group uses, and a reduction that matrix SRAM cannot hold, are streamed one by one: the accumulator
    survives the loads, and a loop that fetches and multiplies is one loop with one place for the tile.
    """
    target, builder = ctx.target, ctx.builder
    x = ctx.panel(value)
    packed = pack_vectors(ctx, value)
    stream = WeightStream.of(weight, x, result, ctx)
    whole, rest = divmod(x.lanes, target.mlen)
    slices = ceil_div(rest, target.hlen)
    resident = packed.groups > 1 and stream.k_tiles <= resident_tiles(ctx)
    held = stream.k_tiles if resident else 1
    tiles = builder.buffer("weight_tiles", "matrix", (held + target.m_prefetch_tiles - 1) * target.tile)

    def product(group: Linear, out: Linear, k: Linear, k_tiles: int, slices: int, partial: int) -> None:
        with builder.step("product"):
            vectors = builder.view(packed.buffer, group * packed.group + k * packed.block)
            rows = builder.view(result.buffer, out)
            vector_product(ctx, rows, vectors, tiles, k_tiles, slices, 1, target.tile, partial=partial)

    with builder.loop(stream.n_tiles) as n:
        if resident:
            stream.load(ctx, tiles, n * stream.row_bytes, stream.k_tiles)
        with builder.loop(packed.groups) as group:
            out = n * result.block + group * (target.broadcast_amount * target.vlen)
            if resident:
                product(group, out, Linear(0), whole, slices, partial=0)
            else:
                if whole:
                    with builder.loop(whole) as k:
                        stream.load(ctx, tiles, n * stream.row_bytes + k * stream.tile_bytes, 1)
                        product(group, out, k, 1, 0, partial=1)
                if slices:
                    stream.load(ctx, tiles, n * stream.row_bytes + whole * stream.tile_bytes, 1)
                product(group, out, Linear(whole), 0, slices, partial=0)
