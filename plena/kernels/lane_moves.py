"""Moving the columns of computed matrices to other lanes: products with bands of constant tiles, which are exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd, lcm

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation, SSAValue

from plena.dialects.tile import LoadTilesOp
from plena.host.view import Array
from plena.integers import ceil_div
from plena.kernels.column_products import broadcast_column, matmul_column
from plena.kernels.context import KernelContext
from plena.kernels.finite_operands import require_finite
from plena.kernels.packing import pack_panel
from plena.kernels.product_cost import ProductShape, prefers_broadcast
from plena.kernels.tensors import Panel


@dataclass(frozen=True)
class Band:
    """A matrix, most of it zeros, by its other entries: dense, that of 10,000 lanes would take 0.4 GB.

    Args:
        shape: [p * VLEN, q * VLEN].
        at: rows and columns of the entries.
    """

    shape: tuple[int, int]
    at: tuple[NDArray[np.int64], NDArray[np.int64]]
    entries: Array

    @staticmethod
    def of(matrix: Array) -> Band:
        """A small one that is there."""
        rows, columns = np.nonzero(matrix)
        return Band((matrix.shape[0], matrix.shape[1]), (rows, columns), matrix[rows, columns])

    def tiles_of_columns(self, vlen: int) -> list[tuple[int, int]]:
        """For every column of tiles the first that is not all zeros, and how many from it to the last one; at least
        one."""
        first = np.full(self.shape[1] // vlen, self.shape[0] // vlen)
        last = np.full(len(first), -1)
        rows, columns = (lanes // vlen for lanes in self.at)
        np.minimum.at(first, columns, rows)
        np.maximum.at(last, columns, rows)
        return [
            (start, end - start + 1) if start <= end else (0, 1)
            for start, end in zip(first.tolist(), last.tolist(), strict=True)
        ]

    def tiles(self, vlen: int) -> Array:
        """Those tiles, transposed, below each other, column of tiles by column."""
        first, counts = np.array(self.tiles_of_columns(vlen)).T
        rows, columns = self.at
        column = columns // vlen
        tile = (np.cumsum(counts) - counts)[column] + rows // vlen - first[column]
        found = np.zeros((int(counts.sum()) * vlen, vlen), np.float32)
        found[tile * vlen + columns % vlen, rows % vlen] = self.entries
        return found


def relaid(ctx: KernelContext, op: Operation, panel: Panel, groups: int, pitch: int) -> Panel:
    """The columns of a panel as `groups` groups `pitch` lanes apart, zeros between them; itself if they lie so.

    Columns and lanes of both layouts repeat after a number of whole column blocks: one such period is a band of
    tiles, and all periods are one loop.

    Raises:
        CompileError: the model puts infinities into the panel, and 0 times infinity is NaN.
    """
    vlen, size = ctx.target.vlen, panel.columns // groups
    if (panel.groups, panel.group_pitch) == (groups, pitch):
        return panel
    if panel.is_packed and size == pitch:
        return replace(panel, groups=groups, group_columns=size, group_pitch=size)
    moved = [value for value in op.operands if ctx.locations.get(value) is panel]
    require_finite(ctx, op, "moving the columns", of=moved)
    result = ctx.new_panel("relaid", panel.rows, panel.columns, groups, pitch)
    own = (1, 1) if panel.is_packed else (panel.group_columns, panel.group_pitch)
    wanted = (1, 1) if result.is_packed else (size, pitch)
    columns = lcm(own[0], wanted[0])
    advance = [columns // width * step for width, step in (own, wanted)]
    columns *= lcm(*(vlen // gcd(vlen, lanes) for lanes in advance))
    times, rest = divmod(panel.columns, columns)
    done = 0
    for count, width in ((times, columns), (1, rest)):
        if count and width:
            number = np.arange(width)
            lanes = [number // w * step + number % w for w, step in (own, wanted)]
            rows, columns_of_result = (ceil_div(int(side.max()) + 1, vlen) * vlen for side in lanes)
            matrix = Band((rows, columns_of_result), (lanes[0], lanes[1]), np.ones(width, np.float32))
            name = "move_{}_{}_to_{}_{}_of_{}".format(*own, *wanted, width)
            first = [done // w * step // vlen for w, step in (own, wanted)]
            times_band(ctx, name, panel, result, matrix, count, (first[0], first[1]), of=moved or op.operands)
            done += count * width
    return result


def times_band(
    ctx: KernelContext,
    name: str,
    source: Panel,
    result: Panel,
    matrix: Band,
    times: int,
    first: tuple[int, int] = (0, 0),
    *,
    of: Sequence[SSAValue],
) -> None:
    """Column blocks of `result` = those of `source` times `matrix`, over and over: `times` stretches of blocks.

    `matrix` [p * VLEN, q * VLEN] takes p column blocks to q; tiles of zeros at either end of a column of tiles are
    left out. `first` is the first block of source and result, `of` what is moved: packing multiplies, which takes
    numbers close to the ends of float32 beyond them. Entries must be exact in the weight format, equal names
    mean equal matrices.
    """
    target, builder, vlen = ctx.target, ctx.builder, ctx.target.vlen
    steps = (matrix.shape[0] // vlen, matrix.shape[1] // vlen)
    bands = matrix.tiles_of_columns(vlen)
    tiles = sum(count for _, count in bands)
    constant = ctx.constant_rows(name, matrix.tiles(vlen))
    placed = ctx.place(name, constant, "tiled", "HBM_M_WEIGHT_TYPE", (tiles * vlen, vlen))
    tile_bytes = target.tile * ctx.element_bytes("HBM_M_WEIGHT_TYPE")
    most = max(count for _, count in bands)
    held = builder.buffer(f"{name}_tiles", "matrix", (most + target.m_prefetch_tiles - 1) * target.tile)
    shape = ProductShape(source.rows, 1, times * tiles, times * steps[0])
    broadcast = prefers_broadcast(shape, target, ctx.schedule) and not ctx.spreads_nan(*of)
    packed = pack_panel(ctx, source) if broadcast else None
    with builder.step("move lanes"), builder.loop(times) as period:
        loaded = 0
        for n, (start, count) in enumerate(bands):
            builder.insert(
                LoadTilesOp(
                    dst=held,
                    src=builder.view(placed, loaded * tile_bytes),
                    outer=1,
                    inner=count,
                    dst_outer=0,
                    dst_inner=target.tile,
                    src_outer=0,
                    src_inner=tile_bytes,
                )
            )
            loaded += count
            block, out = period * steps[0] + (first[0] + start), period * steps[1] + (first[1] + n)
            if packed is None:
                matmul_column(
                    ctx,
                    builder.view(result.buffer, out * result.block),
                    builder.view(source.buffer, block * source.block),
                    held,
                    rows=ctx.physical_rows(source.rows),
                    k_tiles=count,
                    x_block=source.block,
                )
                continue
            with builder.loop(packed.groups) as group:
                broadcast_column(
                    ctx,
                    builder.view(result.buffer, out * result.block + group * packed.block),
                    builder.view(packed.buffer, group * packed.group + block * packed.block),
                    held,
                    k_tiles=count,
                    x_block=packed.block,
                )
