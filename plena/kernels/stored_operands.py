"""What a program computes and needs in matrix SRAM: stored to HBM, where the unit that loads tiles finds it."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.dialects.plena_isa.transfer import ACTIVATIONS
from plena.dialects.refusals import origin_of, refusal
from plena.dialects.tile import StoreRowsOp, ZeroOp
from plena.host.layout import Source, TensorPlacement
from plena.integers import round_up
from plena.kernels.context import KernelContext
from plena.kernels.packing import define_rows
from plena.kernels.tensors import HostTensor, Panel
from plena.machine.number_formats import Mx


@dataclass(frozen=True)
class Tiles:
    """Tiles of a right operand in HBM: tile t of column block c of sample b; distances in bytes.

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
class StoredShape:
    """`batch` samples of `length` rows each."""

    batch: int
    length: int


def require_storable(op: Operation, ctx: KernelContext, *values: SSAValue) -> None:
    """What may hold NaN or infinity would be finite numbers once it is stored; the NaN of queries without a key is
    refused when a mask is staged that makes such a query.

    Raises:
        CompileError: something else makes them.
    """
    sources = {source for value in values for source in ctx.undefined.of(value)}
    for source in sorted(sources, key=lambda s: s.name):
        if isinstance(source, AttentionOp):
            continue
        what = "keys or values" if isinstance(op, AttentionOp) else "operands"
        raise refusal(
            op,
            f"{what} that may hold infinity or NaN, of {origin_of(source)}, have no "
            "kernel: they are stored in a number format without them",
            "Keep what overflows finite before, as in y / x.abs().clamp(min=1e-6), torch.sqrt(x.clamp(min=0)) or "
            "torch.acos(x.clamp(-1, 1)).",
        )


def placed_tiles(ctx: KernelContext, name: str, tensor: HostTensor) -> Tiles:
    """Tiles of a staged tensor [batch, length, lanes]."""
    _, length, lanes = tensor.shape
    mlen, unit = ctx.target.mlen, ctx.element_bytes("HBM_M_KV_TYPE")
    padded = (round_up(length, mlen), round_up(lanes, mlen))
    buffer = ctx.place(name, tensor, "tiled", "HBM_M_KV_TYPE", padded, order="columns")
    tile = mlen * mlen * unit
    block = padded[0] // mlen * tile
    return Tiles(buffer, padded[1] // mlen * block, block, tile)


def stored_tiles(ctx: KernelContext, name: str, op: Operation, panel: Panel, shape: StoredShape) -> Tiles:
    """Writes a computed panel to HBM column block by column block: MLEN consecutive rows are a tile.

    The rows that a last tile reads past its sample are the next sample's, the next block's, or written as zeros;
    so are those between the last sample and the next block, which may hold what is not a number.
    """
    target, builder, vlen = ctx.target, ctx.builder, ctx.target.vlen
    precision, number_format = stored_type(ctx, op)
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


def stored_type(ctx: KernelContext, op: Operation) -> tuple[int, str]:
    """Precision bit and key of the type that H_STORE_V writes what H_PREFETCH_M reads with.

    Raises:
        CompileError: the target has none.
    """
    precision = ctx.target.precision
    for bit in (1, 0):
        if precision[ACTIVATIONS[bit]] == precision["HBM_M_KV_TYPE"]:
            return bit, ACTIVATIONS[bit]
    what = "keys and values" if isinstance(op, AttentionOp) else "right operands of products"
    raise refusal(
        op,
        f"computed {what} need HBM_V_KV_TYPE or HBM_V_ACT_TYPE to be HBM_M_KV_TYPE",
        "Make the formats equal in the settings of the target.",
    )


def stored_block(ctx: KernelContext) -> int:
    """How many numbers of a row share a scale once they are stored."""
    number_format = ctx.target.precision["HBM_M_KV_TYPE"]
    return number_format.block if isinstance(number_format, Mx) else 1


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
