"""Keys and values in HBM, tile by tile: staged by the host, or computed and stored by the program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from plena.backend.view import Pad, Reshape, Slice
from plena.dialects.loop import Linear
from plena.kernels.context import KernelContext
from plena.kernels.packing import define_tail
from plena.kernels.tensors import HostTensor, Panel
from plena.lowering.kernel import round_up


@dataclass(frozen=True)
class Tiles:
    """Tiles of keys or values in HBM: tile t of column block c of sample b; distances in bytes."""

    buffer: SSAValue
    sample: int
    block: int
    tile: int

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


def key_value_tiles(ctx: KernelContext, name: str, value: SSAValue, shape: KeyValueShape) -> Tiles:
    """A tensor's tiles, heads side by side in the lanes of column blocks as `pitch` says."""
    tensor = ctx.host(value)
    if tensor is None:
        return _store(ctx, name, ctx.panel(value), shape)
    heads = Reshape((shape.batch, shape.length, shape.heads, shape.size))
    lanes = shape.heads * shape.pitch
    padded = (heads, Pad(3, 0, shape.pitch - shape.size), Reshape((shape.batch, shape.length, lanes)))
    return _place(ctx, name, tensor.through(*padded))


def separated_value_tiles(
    ctx: KernelContext, name: str, value: SSAValue, shape: KeyValueShape, width: int
) -> Tiles:
    """As `key_value_tiles` for heads that share a column block, `width` each: every head alone in a block of its own.

    Head h keeps the lanes that it has in the shared block and all others are 0, so that products with all heads of a
    block add up to the block. Block h of the result is head h.
    """
    tensor = ctx.host(value)
    if tensor is not None:
        return _place(ctx, name, _separated(tensor, shape, width))
    panel = ctx.panel(value)
    vlen, builder = ctx.target.vlen, ctx.builder
    masks = np.repeat(np.eye(width, dtype=np.float32), shape.size, axis=1)
    rows = ctx.load("lane_masks", ctx.constant_rows(f"lane_masks_{width}_{shape.size}", masks))
    separated = ctx.new_panel(name, panel.rows, shape.heads * vlen)
    physical, blocks = panel.physical_rows(vlen), panel.blocks(vlen)
    with builder.step("separate heads"):
        for lane in range(width):
            builder.emit(
                "map",
                kind="mul",
                out=builder.view(separated.buffer, lane * separated.block),
                a=panel.buffer,
                b=builder.view(rows.buffer, lane * vlen),
                rows=physical,
                blocks=blocks,
                out_row=vlen,
                out_block=width * separated.block,
                a_row=vlen,
                a_block=panel.block,
            )
    return _store(ctx, name, separated, shape)


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


def _store(ctx: KernelContext, name: str, panel: Panel, shape: KeyValueShape) -> Tiles:
    """Writes a computed panel to HBM column block by column block: MLEN consecutive rows are a tile.

    The rows that a last tile reads past its sample are the next sample's, the next block's, or written as zeros.
    """
    target, builder, vlen = ctx.target, ctx.builder, ctx.target.vlen
    unit = ctx.element_bytes("HBM_V_KV_TYPE")
    physical, blocks = panel.physical_rows(vlen), panel.blocks(vlen)
    reach = (shape.batch - 1) * shape.length + round_up(shape.length, target.mlen)
    tail = max(0, round_up(reach - physical, max(1, target.hbm_v_writeback_amount)))
    buffer = builder.buffer(
        name, "hbm", (blocks * physical + tail + target.hbm_v_writeback_amount) * vlen * unit
    )
    define_tail(ctx, panel, physical + tail)
    with builder.step("store"):
        builder.emit(
            "store_rows",
            dst=buffer,
            src=panel.buffer,
            rows=physical,
            blocks=blocks,
            src_block=panel.block,
            dst_row=vlen * unit,
            dst_block=physical * vlen * unit,
            kv=1,
        )
        if tail:
            end = blocks * physical * vlen
            builder.emit(
                "store_rows",
                dst=builder.view(buffer, end * unit),
                src=builder.view(panel.buffer, end),
                rows=tail,
                blocks=1,
                dst_row=vlen * unit,
                kv=1,
            )
    return Tiles(buffer, shape.length * vlen * unit, physical * vlen * unit, target.mlen * vlen * unit)
