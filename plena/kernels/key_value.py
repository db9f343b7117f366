"""Keys and values in HBM, tile by tile: staged by the host, or computed and stored by the program."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.dialects.plena_isa.transfer import ACTIVATIONS
from plena.dialects.tile import LoadTilesOp, PanelRows
from plena.host.view import Pad, Reshape, Slice
from plena.kernels.context import KernelContext, lane_masks
from plena.kernels.stored_operands import StoredShape, Tiles, placed_tiles, stored_tiles
from plena.kernels.tensors import HostTensor, Panel, StateRows


@dataclass(frozen=True)
class KeyValueShape:
    """[batch*length, heads*size] with `pitch` lanes from one head to the next."""

    batch: int
    length: int
    heads: int
    size: int
    pitch: int

    @property
    def stored(self) -> StoredShape:
        """Its samples."""
        return StoredShape(self.batch, self.length)


def key_value_tiles(
    ctx: KernelContext, name: str, op: AttentionOp, value: SSAValue, shape: KeyValueShape
) -> Tiles:
    """A tensor's tiles, heads side by side in the lanes of column blocks as `pitch` says."""
    state = ctx.locations[value]
    if isinstance(state, StateRows) and fits(state, shape.heads, shape.pitch):
        unit = ctx.target.vlen * ctx.element_bytes(ACTIVATIONS[state.kv])
        return Tiles(state.buffer, op.key_rows * state.row, unit, ctx.target.mlen * state.row, state.row)
    tensor = ctx.host(value)
    if tensor is None:
        return stored_tiles(ctx, name, op, _used_rows(ctx, op, value), shape.stored)
    heads = Reshape((shape.batch, shape.length, shape.heads, shape.size))
    lanes = shape.heads * shape.pitch
    padded = (heads, Pad(3, 0, shape.pitch - shape.size), Reshape((shape.batch, shape.length, lanes)))
    return placed_tiles(ctx, name, tensor.through(*padded))


def _used_rows(ctx: KernelContext, op: AttentionOp, value: SSAValue) -> Panel:
    """Computed keys or values in vector SRAM, of every sample the rows that take part."""
    panel, vlen = ctx.panel(value), ctx.target.vlen
    if op.key_length == op.key_rows:
        return panel
    samples = op.batch.value.data
    used = ctx.new_panel(
        "first_rows", samples * op.key_length, panel.columns, panel.groups, panel.group_pitch
    )
    with ctx.builder.step("first rows"), ctx.builder.loop(samples) as sample:
        ctx.builder.map(
            "copy",
            PanelRows(ctx.builder.view(used.buffer, sample * (op.key_length * vlen)), vlen, used.block),
            PanelRows(ctx.builder.view(panel.buffer, sample * (op.key_rows * vlen)), vlen, panel.block),
            size=(op.key_length, panel.blocks(vlen)),
        )
    return used


def fits(state: StateRows, heads: int, pitch: int) -> bool:
    """Whether the heads of a state lie where attention wants them."""
    flat = state.is_packed and pitch * heads == state.columns
    return flat or (state.groups, state.group_pitch) == (heads, pitch)


def load_key_value_tiles(
    ctx: KernelContext, dst: SSAValue, tiles: Tiles, source: Linear, blocks: int, count: int
) -> None:
    """Brings in `count` tiles of each of `blocks` column blocks, `source` bytes into them, one behind the other."""
    tile = ctx.target.tile
    if tiles.block == count * tiles.tile:
        blocks, count = 1, blocks * count
    ctx.builder.insert(
        LoadTilesOp(
            dst=dst,
            src=ctx.builder.view(tiles.buffer, source),
            outer=blocks,
            inner=count,
            dst_outer=count * tile,
            dst_inner=tile,
            src_outer=tiles.block,
            src_inner=tiles.tile,
            src_row=tiles.row,
            kv=1,
        )
    )


def separated_value_tiles(
    ctx: KernelContext, name: str, op: AttentionOp, value: SSAValue, shape: KeyValueShape, width: int
) -> Tiles:
    """As `key_value_tiles` for heads that share a column block, `width` each: every head alone in a block of its own.

    Head h keeps the lanes that it has in the shared block and all others are 0, so that products with all heads of a
    block add up to the block. Block h of the result is head h.
    """
    tensor = ctx.host(value)
    if tensor is not None:
        return placed_tiles(ctx, name, _separated(tensor, shape, width))
    panel = _used_rows(ctx, op, value)
    vlen, builder = ctx.target.vlen, ctx.builder
    rows = lane_masks(ctx, width, shape.size)
    separated = ctx.new_panel(name, panel.rows, shape.heads * vlen)
    physical, blocks = panel.physical_rows(vlen), panel.blocks(vlen)
    with builder.step("separate heads"):
        for lane in range(width):
            builder.map(
                "mul",
                PanelRows(
                    builder.view(separated.buffer, lane * separated.block), vlen, width * separated.block
                ),
                PanelRows(panel.buffer, vlen, panel.block),
                PanelRows(builder.view(rows, lane * vlen), 0, 0),
                size=(physical, blocks),
            )
    return stored_tiles(ctx, name, op, separated, shape.stored)


def _separated(tensor: HostTensor, shape: KeyValueShape, width: int) -> HostTensor:
    """Block diagonal of the heads of a block: rows of one head followed by a block's lanes of zeros, cut again."""
    batch, length, bundles, size = shape.batch, shape.length, shape.heads // width, shape.size
    lanes = width * size
    return tensor.through(
        Reshape((batch, length, bundles, width, size)),
        Pad(4, 0, lanes),
        Reshape((batch, length, bundles, width * (size + lanes))),
        Slice(3, 0, width * lanes),
        Reshape((batch, length, shape.heads * lanes)),
    )
