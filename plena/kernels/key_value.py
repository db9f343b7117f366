"""Keys and values in HBM, tile by tile: staged by the host, or computed and stored by the program."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.dialects.plena_isa.transfer import ACTIVATIONS
from plena.dialects.refusals import refusal
from plena.dialects.tile import LoadTilesOp, PanelRows, StoreRowsOp, ZeroOp
from plena.host.layout import Source, TensorPlacement
from plena.host.view import Pad, Reshape, Slice
from plena.integers import round_up
from plena.kernels.context import KernelContext, lane_masks
from plena.kernels.head_layout import HeadLayout, require_layout
from plena.kernels.packing import define_rows
from plena.kernels.tensors import HostTensor, Panel, StateRows


@dataclass(frozen=True)
class Tiles:
    """Tiles of keys or values in HBM: tile t of column block c of sample b; distances in bytes.

    `row` are those from row to row, 0 if rows follow each other.
    """

    buffer: SSAValue
    sample: int
    block: int
    tile: int
    row: int = 0

    def at(self, sample: Linear, block: Linear, tile: Linear) -> Linear:
        return sample * self.sample + block * self.block + tile * self.tile


@dataclass(frozen=True)
class KeyValueShape:
    """[batch*length, heads*size] with `pitch` lanes from one head to the next."""

    batch: int
    length: int
    heads: int
    size: int
    pitch: int


def key_value_tiles(
    ctx: KernelContext, name: str, op: AttentionOp, value: SSAValue, shape: KeyValueShape
) -> Tiles:
    """A tensor's tiles, heads side by side in the lanes of column blocks as `pitch` says."""
    state = ctx.locations[value]
    if isinstance(state, StateRows) and _fits(state, shape):
        unit = ctx.target.vlen * ctx.element_bytes(ACTIVATIONS[state.kv])
        return Tiles(state.buffer, shape.length * state.row, unit, ctx.target.mlen * state.row, state.row)
    tensor = ctx.host(value)
    if tensor is None:
        panel = ctx.panel(value)
        require_layout(op, panel, HeadLayout(shape.heads, shape.pitch))
        return _store(ctx, name, op, panel, shape)
    heads = Reshape((shape.batch, shape.length, shape.heads, shape.size))
    lanes = shape.heads * shape.pitch
    padded = (heads, Pad(3, 0, shape.pitch - shape.size), Reshape((shape.batch, shape.length, lanes)))
    return _place(ctx, name, tensor.through(*padded))


def _fits(state: StateRows, shape: KeyValueShape) -> bool:
    """Whether the heads of a state lie where attention wants them."""
    flat = state.is_packed and shape.pitch * shape.heads == state.columns
    return flat or (state.groups, state.group_pitch) == (shape.heads, shape.pitch)


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
        return _place(ctx, name, _separated(tensor, shape, width))
    panel = ctx.panel(value)
    require_layout(op, panel, HeadLayout(shape.heads, shape.pitch))
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
    return _store(ctx, name, op, separated, shape)


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


def _place(ctx: KernelContext, name: str, tensor: HostTensor) -> Tiles:
    _, length, lanes = tensor.shape
    mlen, unit = ctx.target.mlen, ctx.element_bytes("HBM_M_KV_TYPE")
    padded = (round_up(length, mlen), round_up(lanes, mlen))
    buffer = ctx.place(name, tensor, "tiled", "HBM_M_KV_TYPE", padded, order="columns")
    tile = mlen * mlen * unit
    block = padded[0] // mlen * tile
    return Tiles(buffer, padded[1] // mlen * block, block, tile)


def _store(ctx: KernelContext, name: str, op: AttentionOp, panel: Panel, shape: KeyValueShape) -> Tiles:
    """Writes a computed panel to HBM column block by column block: MLEN consecutive rows are a tile.

    The rows that a last tile reads past its sample are the next sample's, the next block's, or written as zeros;
    so are those between the last sample and the next block, which may hold what is not a number.
    """
    target, builder, vlen = ctx.target, ctx.builder, ctx.target.vlen
    precision, number_format = _stored_type(ctx, op)
    unit = ctx.element_bytes(number_format)
    physical, blocks = panel.physical_rows(vlen), panel.blocks(vlen)
    reach = (shape.batch - 1) * shape.length + round_up(shape.length, target.mlen)
    surplus = (target.m_prefetch_tiles - 1) * target.mlen
    tail = round_up(max(0, reach + surplus - physical), max(1, target.hbm_v_writeback_amount))
    rows = blocks * physical + tail
    scratch = TensorPlacement(name, "hbm", 0, (rows, vlen), "rows", number_format, Source("scratch"))
    buffer = ctx.placed_buffer(name, "hbm", rows * vlen * unit, [scratch])
    define_rows(ctx, panel, reach)
    with builder.step("store"):
        builder.insert(
            StoreRowsOp(
                dst=buffer,
                src=panel.buffer,
                rows=physical,
                blocks=blocks,
                src_block=panel.block,
                dst_row=vlen * unit,
                dst_block=physical * vlen * unit,
                kv=precision,
            )
        )
    if tail:
        _store_zeros(ctx, builder.view(buffer, blocks * physical * vlen * unit), tail, vlen * unit, precision)
    return Tiles(buffer, shape.length * vlen * unit, physical * vlen * unit, target.mlen * vlen * unit)


def _stored_type(ctx: KernelContext, op: AttentionOp) -> tuple[int, str]:
    """Precision bit and key of the type that H_STORE_V writes what H_PREFETCH_M reads with.

    Raises:
        CompileError: the target has none.
    """
    precision = ctx.target.precision
    for bit in (1, 0):
        if precision[ACTIVATIONS[bit]] == precision["HBM_M_KV_TYPE"]:
            return bit, ACTIVATIONS[bit]
    raise refusal(
        op,
        "computed keys and values need HBM_V_KV_TYPE or HBM_V_ACT_TYPE to be HBM_M_KV_TYPE",
        "Make the formats equal in the settings of the target.",
    )


def _store_zeros(ctx: KernelContext, dst: SSAValue, rows: int, row_bytes: int, precision: int) -> None:
    """Rows of zeros behind what a program stores: reused HBM can decode to infinity."""
    zeros = ctx.builder.buffer("zeros", "vector", rows * ctx.target.vlen)
    with ctx.builder.step("store padding"):
        ctx.builder.insert(ZeroOp(dst=zeros, rows=rows))
        ctx.builder.insert(
            StoreRowsOp(
                dst=dst,
                src=zeros,
                rows=rows,
                blocks=1,
                src_block=0,
                dst_row=row_bytes,
                dst_block=0,
                kv=precision,
            )
        )
