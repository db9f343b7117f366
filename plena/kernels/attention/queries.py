"""Query rows for the M_MM schedule: staged by the host and loaded block by block, or computed, in vector SRAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp
from plena.dialects.tile import LoadRowsOp, PanelRows
from plena.host.view import Permute, Reshape
from plena.kernels.attention.heads import HeadPlace
from plena.kernels.attention.shape import AttentionShape, Tiling
from plena.kernels.context import KernelContext, lane_masks
from plena.kernels.finite_operands import require_finite
from plena.kernels.fp_sram import number
from plena.kernels.head_layout import heads_per_block
from plena.kernels.packing import define_rows, define_tail
from plena.kernels.tensors import HostTensor, Panel
from plena.timing.registry import profile_named


@dataclass(frozen=True)
class LeftOperand:
    """Query rows as the left operand of a product: column blocks `block` elements apart."""

    rows: SSAValue
    block: int


class Queries(Protocol):
    """Where query rows come from."""

    def block(self, place: HeadPlace, row: Linear) -> LeftOperand:
        """Emits what brings in the scaled query block that begins at `row` of a sample, for one head."""
        ...


def queries_of(op: AttentionOp, shape: AttentionShape, tiling: Tiling, ctx: KernelContext) -> Queries:
    """The source of an attention's queries."""
    tensor = ctx.host(op.query)
    if tensor is not None:
        return StagedQueries(tensor, shape, tiling, ctx)
    panel = ctx.panel(op.query)
    return ComputedQueries(op, panel, shape, tiling, ctx)


class StagedQueries:
    """A matrix per sample and head in HBM, column-block major; the power of two in the scale is folded in, exactly."""

    def __init__(self, tensor: HostTensor, shape: AttentionShape, tiling: Tiling, ctx: KernelContext) -> None:
        self.shape, self.tiling, self.ctx = shape, tiling, ctx
        self.vlen = ctx.target.vlen
        power, self.scale = shape.split_scale()
        heads = Reshape((shape.batch, shape.queries, shape.heads, shape.head_dim))
        padded = (tiling.query_rows, tiling.head_blocks * self.vlen)
        self.source = ctx.place(
            "query",
            tensor.through(heads, Permute((0, 2, 1, 3))),
            "column_blocks",
            "HBM_V_ACT_TYPE",
            padded,
            scale=power,
        )
        rows = (tiling.head_blocks - 1) * tiling.query_block + tiling.loaded_rows
        self.rows = ctx.builder.buffer("queries", "vector", rows * self.vlen)

    def block(self, place: HeadPlace, row: Linear) -> LeftOperand:
        """Loads the block of one head, every column block behind the other."""
        tiling, builder = self.tiling, self.ctx.builder
        unit = self.ctx.element_bytes("HBM_V_ACT_TYPE")
        matrix = place.sample * self.shape.heads + place.head
        offset = matrix * (tiling.head_blocks * tiling.query_rows * self.vlen) + row * self.vlen
        block = tiling.query_block * self.vlen
        with builder.step("load queries"):
            builder.insert(
                LoadRowsOp(
                    dst=self.rows,
                    src=builder.view(self.source, offset * unit),
                    rows=tiling.query_block,
                    blocks=tiling.head_blocks,
                    dst_block=block,
                    src_row=self.vlen * unit,
                    src_block=tiling.query_rows * self.vlen * unit,
                )
            )
            if self.scale != 1.0:
                _multiply(self.ctx, self.rows, self.rows, block, tiling, self.scale)
        return LeftOperand(self.rows, block)


class ComputedQueries:
    """A panel with the heads side by side. Lanes of other heads are masked out, the scale is multiplied in."""

    def __init__(
        self, op: AttentionOp, panel: Panel, shape: AttentionShape, tiling: Tiling, ctx: KernelContext
    ) -> None:
        self.panel, self.shape, self.tiling, self.ctx = panel, shape, tiling, ctx
        self.vlen = ctx.target.vlen
        self.shared = heads_per_block(shape, ctx.target)
        reach = (shape.batch - 1) * shape.queries + tiling.query_blocks * tiling.query_block
        define_rows(ctx, panel, reach)
        define_tail(ctx, panel, reach)
        self.copied = self.shared > 1 or shape.scale != 1.0
        if self.copied:
            size = tiling.head_blocks * tiling.query_block * self.vlen
            self.rows = ctx.builder.buffer("queries", "vector", size)
        if self.shared > 1:
            require_finite(ctx, op, "attention whose heads share rows")
            self.masks = lane_masks(ctx, self.shared, shape.head_dim)
        # Where instructions wait for each other, one less a row counts more than those that make the masks.
        self.scale = shape.scale
        if self.shared > 1 and self.scale != 1.0 and profile_named(ctx.schedule.timing).work is not None:
            self.masks, self.scale = self._scaled_masks(), 1.0

    def block(self, place: HeadPlace, row: Linear) -> LeftOperand:
        """The block of one head, copied only if it changes on the way."""
        tiling, builder, panel = self.tiling, self.ctx.builder, self.panel
        number = place.head * tiling.head_blocks
        if self.shared > 1:
            number = place.bundle * self.shape.group + place.member
        offset = number * panel.block + (place.sample * self.shape.queries + row) * self.vlen
        source = builder.view(panel.buffer, offset)
        if not self.copied:
            return LeftOperand(source, panel.block)
        block = tiling.query_block * self.vlen
        with builder.step("scale queries"):
            if self.shared > 1:
                self._select(source, place.lane)
                source = self.rows
            if self.scale != 1.0:
                pitch = panel.block if self.shared == 1 else block
                _multiply(self.ctx, self.rows, source, pitch, tiling, self.scale)
        return LeftOperand(self.rows, block)

    def _scaled_masks(self) -> SSAValue:
        """The masks with the scale instead of 1, made once."""
        ctx, count = self.ctx, self.shared
        name = f"lane_masks_{count}_{self.shape.head_dim}_times_{self.scale}"
        known = ctx.constant_panels.get(name)
        if known is None:
            known = ctx.constant_panels[name] = ctx.builder.buffer(
                "scaled_masks", "vector", count * self.vlen
            )
            factor = number(ctx, self.scale)
            scaled, masks = (PanelRows(buffer, self.vlen, 0) for buffer in (known, self.masks))
            with ctx.builder.prologue(), ctx.builder.step("scaled masks"):
                ctx.builder.map("mul", scaled, masks, factor, size=(count, 1))
        return known

    def _select(self, source: SSAValue, lane: Linear) -> None:
        """The rows with the lanes of all heads but one zeroed."""
        self.ctx.builder.map(
            "mul",
            PanelRows(self.rows, self.vlen, 0),
            PanelRows(source, self.vlen, 0),
            PanelRows(self.ctx.builder.view(self.masks, lane * self.vlen), 0, 0),
            size=(self.tiling.query_block, 1),
        )


def _multiply(
    ctx: KernelContext, out: SSAValue, source: SSAValue, source_block: int, tiling: Tiling, factor: float
) -> None:
    """A query block times a constant."""
    vlen = ctx.target.vlen
    ctx.builder.map(
        "mul",
        PanelRows(out, vlen, tiling.query_block * vlen),
        PanelRows(source, vlen, source_block),
        ctx.builder.constant(factor),
        size=(tiling.query_block, tiling.head_blocks),
    )
