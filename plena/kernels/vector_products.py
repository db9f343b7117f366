"""The vector schedule: products with few rows by M_BTMV, BROADCAST rows at a time (docs/matmul_schedules.md)."""

from __future__ import annotations

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import PanelRows
from plena.integers import ceil_div
from plena.kernels.column_products import vector_product
from plena.kernels.context import KernelContext
from plena.kernels.packing import pack_vectors, shape_in_lanes
from plena.kernels.tensors import PackedPanel, Panel
from plena.kernels.weight_stream import WeightStream, resident_tiles


def multiply_vectors(
    value: SSAValue, weight: SSAValue, result: Panel, ctx: KernelContext, *, once: bool = False
) -> None:
    """For each column block of the output: its tiles to matrix SRAM, then all groups of BROADCAST rows.

    A write-out always writes BROADCAST rows. Those of a last group that is not full are zeros that may reach into the
    next column block, which is written later, or behind the panel.

    Tiles that one group uses, and a reduction that matrix SRAM cannot hold, are streamed one by one: the accumulator
    survives the loads, and a loop that fetches and multiplies is one loop with one place for the tile. If tiles are to
    come `once`, such a reduction is split: each part is rounded to bf16 and added, the report says so.
    """
    target, builder = ctx.target, ctx.builder
    x = shape_in_lanes(ctx, value)
    packed = pack_vectors(ctx, value)
    stream = WeightStream.of(weight, x, result, ctx)
    whole, rest = divmod(x.lanes, target.mlen)
    slices = ceil_div(rest, target.hlen)
    most = resident_tiles(ctx)
    resident = packed.groups > 1 and stream.k_tiles <= most
    parts = ceil_div(stream.k_tiles, max(1, most)) if once and packed.groups > 1 else 1
    held = ceil_div(stream.k_tiles, parts) if resident or parts > 1 else 1
    tiles = builder.buffer("weight_tiles", "matrix", (held + target.m_prefetch_tiles - 1) * target.tile)
    if parts > 1:
        _in_parts(stream, packed, result, tiles, held, (whole, slices), ctx)
        return

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


def _in_parts(
    stream: WeightStream,
    packed: PackedPanel,
    result: Panel,
    tiles: SSAValue,
    held: int,
    reduction: tuple[int, int],
    ctx: KernelContext,
) -> None:
    """Parts of the reduction of `held` tiles each, the last one what is left: all groups with each, sums in bf16.

    `reduction` is its whole tiles and the slices behind them.
    """
    target, builder = ctx.target, ctx.builder
    (whole, slices), count = reduction, ceil_div(stream.k_tiles, held)
    rows = target.broadcast_amount
    partial = builder.buffer("partial_sums", "vector", rows * target.vlen)
    ctx.decisions.append(
        f"a reduction over {stream.k_tiles} tiles is split in {count}: partial sums round to bf16"
    )

    def part(n: Linear, first: Linear, k_tiles: int, of_last: int, *, added: bool) -> None:
        stream.load(ctx, tiles, n * stream.row_bytes + first * stream.tile_bytes, k_tiles + (of_last > 0))
        with builder.loop(packed.groups) as group:
            out = builder.view(result.buffer, n * result.block + group * (rows * target.vlen))
            vectors = builder.view(packed.buffer, group * packed.group + first * packed.block)
            with builder.step("product"):
                written = partial if added else out
                vector_product(ctx, written, vectors, tiles, k_tiles, of_last, 1, target.tile, partial=0)
                if added:
                    each, other = PanelRows(out, target.vlen, 0), PanelRows(partial, target.vlen, 0)
                    builder.map("add", each, each, other, size=(rows, 1))

    last = (count - 1) * held
    with builder.loop(stream.n_tiles) as n:
        part(n, Linear(0), held, 0, added=False)
        if count > 2:
            with builder.loop(count - 2) as number:
                part(n, (number + 1) * held, held, 0, added=True)
        part(n, Linear(last), whole - last, slices, added=True)
