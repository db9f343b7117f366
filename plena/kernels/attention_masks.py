"""What is added to attention scores: bands (causal, windows), biases, key padding, and the padding of tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from plena.backend.layout import MASK_FLOOR
from plena.backend.view import Reshape
from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp, BandAttr
from plena.dialects.tensor_shapes import shape_of
from plena.kernels.attention_shape import AttentionShape, Tiling
from plena.kernels.context import KernelContext, unsupported
from plena.lowering.kernel import round_up

HIDDEN = -(2.0**14)
"""Added to the score of a key that is not seen: exact in every MX format, and its exponential vanishes."""


@dataclass(frozen=True)
class Scores:
    """A panel of scores to be masked: `tiles` tiles of keys from number `first_tile`, for query rows from `row`."""

    panel: SSAValue
    block: int
    rows: int
    sample: Linear
    head: Linear
    row: Linear
    first_tile: Linear
    tiles: int


class AttentionMasks:
    """The masks of one attention, brought into vector SRAM before its loops and added inside them.

    A band is a table of rows: the row of distance d = query - first key of a tile has 0 where the band lets the query
    see the key and HIDDEN elsewhere, so that the mask of every query row and tile is one table row at a linear address.
    """

    def __init__(
        self,
        op: AttentionOp,
        shape: AttentionShape,
        tiling: Tiling,
        ctx: KernelContext,
        *,
        tile_by_tile: bool,
    ) -> None:
        self.tile_by_tile = tile_by_tile
        self.op, self.shape, self.tiling, self.ctx = op, shape, tiling, ctx
        self.builder, self.vlen = ctx.builder, ctx.target.vlen
        self.table: SSAValue | None = None
        self.padding: SSAValue | None = None
        self.visible: SSAValue | None = None
        self.bias: SSAValue | None = None
        self.bias_rows: SSAValue | None = None
        self.sinks: SSAValue | None = None

    def load(self) -> None:
        """Emits what happens once, before the loops."""
        with self.builder.step("load masks"):
            if self.op.band is not None:
                self._load_band(self.op.band)
            if self.op.key_padding is not None:
                self._load_key_padding(self.op.key_padding)
            elif self.shape.keys % self.ctx.target.mlen:
                self._load_tile_padding()
            if self.op.bias is not None:
                self._place_bias(self.op.bias)
            if self.op.sinks is not None:
                self._place_sinks(self.op.sinks)

    def add(self, scores: Scores) -> None:
        """Emits what happens to a panel of scores."""
        vlen, builder = self.vlen, self.builder
        if self.table is not None:
            offset = scores.row * vlen - scores.first_tile * (vlen * vlen) + self._band_origin() * vlen
            # One tile further to the right is VLEN rows further up in the table: blocks descend.
            start = offset - (scores.tiles - 1) * vlen * vlen
            self._add(scores, builder.view(self.table, start), vlen, vlen * vlen, descending=True)
        if self.bias_rows is not None:
            self._load_bias(scores)
            self._add(scores, self.bias_rows, vlen, self._bias_block())
        if self.visible is not None:
            stride = self.tiling.key_tiles * self._padding_block()
            start = scores.sample * stride + scores.first_tile * self._padding_block()
            self._add(scores, builder.view(self.visible, start), 0, self._padding_block())
        elif self.padding is not None and self.tile_by_tile:
            self._add(scores, builder.view(self.padding, scores.first_tile * vlen), 0, vlen)
        elif self.padding is not None and scores.tiles == self.tiling.key_tiles:
            last = builder.view(scores.panel, (scores.tiles - 1) * scores.block)
            self._add_rows(last, scores.block, scores.rows, 1, self.padding, 0, 0)

    def _add(self, scores: Scores, mask: SSAValue, row: int, block: int, descending: bool = False) -> None:
        if not descending or scores.tiles == 1:
            self._add_rows(scores.panel, scores.block, scores.rows, scores.tiles, mask, row, block)
            return
        with self.builder.loop(scores.tiles) as tile:
            panel = self.builder.view(scores.panel, tile * scores.block)
            here = self.builder.view(mask, (Linear(scores.tiles - 1) - tile) * block)
            self._add_rows(panel, scores.block, scores.rows, 1, here, row, block)

    def _add_rows(
        self, panel: SSAValue, panel_block: int, rows: int, blocks: int, mask: SSAValue, row: int, block: int
    ) -> None:
        self.builder.emit(
            "map",
            kind="add",
            out=panel,
            a=panel,
            b=mask,
            rows=rows,
            blocks=blocks,
            out_row=self.vlen,
            out_block=panel_block,
            a_row=self.vlen,
            a_block=panel_block,
            b_row=row,
            b_block=block,
        )

    def _band_origin(self) -> int:
        """Table row of distance 0: the smallest distance is that of query 0 and the last tile."""
        return (self.tiling.key_tiles - 1) * self.vlen

    def _load_band(self, band: BandAttr) -> None:
        queries = self.tiling.query_blocks * self.tiling.query_block
        distance = np.arange(self._band_origin() + queries)[:, None] - self._band_origin()
        offset = np.arange(self.vlen)[None, :] - distance
        seen = np.ones(offset.shape, bool)
        if band.lower is not None:
            seen &= offset >= band.lower
        if band.upper is not None:
            seen &= offset <= band.upper
        name = f"band_{band.lower}_{band.upper}_{len(distance)}"
        table = self.ctx.constant_rows(name, np.where(seen, 0.0, HIDDEN).astype(np.float32))
        self.table = self.ctx.load(name, table).buffer

    def _load_tile_padding(self) -> None:
        used = self.shape.keys % self.ctx.target.mlen
        rows = self.tiling.key_tiles if self.tile_by_tile else 1
        mask = np.zeros((rows, self.vlen), np.float32)
        mask[-1, used:] = HIDDEN
        tensor = self.ctx.constant_rows(f"padding_{used}_{rows}", mask)
        self.padding = self.ctx.load("key_padding", tensor).buffer

    def _padding_block(self) -> int:
        return self.vlen * self.ctx.physical_rows(1)

    def _load_key_padding(self, operand: SSAValue) -> None:
        """Rows of HIDDEN * (kept - 1), one per sample and tile; tile padding counts as not kept."""
        tensor = self.ctx.host(operand)
        if tensor is None:
            raise unsupported(self.op, "a computed key padding mask has no kernel")
        batch, keys = self.shape.batch, self.shape.keys
        lanes = round_up(keys, self.vlen)
        source = self.ctx.place(
            "key_padding",
            tensor.through(Reshape((batch, 1, keys))),
            "column_blocks",
            "HBM_V_ACT_TYPE",
            (self.ctx.physical_rows(1), lanes),
            scale=-HIDDEN,
        )
        rows = batch * self.tiling.key_tiles * self.ctx.physical_rows(1)
        self.visible = self.builder.buffer("visible", "vector", (rows + self.ctx.row_unit) * self.vlen)
        unit = self.ctx.element_bytes("HBM_V_ACT_TYPE")
        self.builder.emit(
            "load_rows", dst=self.visible, src=source, rows=rows, blocks=1, src_row=self.vlen * unit
        )
        self.builder.emit(
            "map",
            kind="add",
            out=self.visible,
            a=self.visible,
            b=self.builder.constant(HIDDEN),
            rows=rows,
            blocks=1,
            out_row=self.vlen,
            a_row=self.vlen,
        )

    def _place_bias(self, operand: SSAValue) -> None:
        tensor = self.ctx.host(operand)
        if tensor is None:
            raise unsupported(self.op, "a computed attention bias has no kernel")
        if tensor.integer:
            raise unsupported(
                self.op, "a boolean attention mask given at run time must be a key padding mask"
            )
        self._bias_shape = shape_of(operand)
        padded = (self.tiling.query_rows, self.tiling.key_tiles * self.vlen)
        self.bias = self.ctx.place(
            "bias", tensor, "column_blocks", "HBM_V_ACT_TYPE", padded, floor=MASK_FLOOR
        )
        size = (self.tiling.key_tiles - 1) * self.tiling.query_block + self.tiling.loaded_rows
        self.bias_rows = self.builder.buffer("bias_rows", "vector", size * self.vlen)

    def _place_sinks(self, operand: SSAValue) -> None:
        tensor = self.ctx.host(operand)
        if tensor is None:
            raise unsupported(self.op, "computed attention sinks have no kernel")
        self.sinks = self.ctx.place_words("sinks", tensor, "fp")

    def _bias_block(self) -> int:
        return self.tiling.query_block * self.vlen

    def _load_bias(self, scores: Scores) -> None:
        assert self.bias is not None
        samples, heads = self._bias_shape[:2]
        matrix = Linear(0)
        if samples > 1:
            matrix = matrix + scores.sample * heads
        if heads > 1:
            matrix = matrix + scores.head
        unit = self.ctx.element_bytes("HBM_V_ACT_TYPE")
        block = self.tiling.query_rows * self.vlen
        offset = matrix * (self.tiling.key_tiles * block) + scores.row * self.vlen + scores.first_tile * block
        self.builder.emit(
            "load_rows",
            dst=self.bias_rows,
            src=self.builder.view(self.bias, offset * unit),
            rows=scores.rows,
            blocks=scores.tiles,
            dst_block=self._bias_block(),
            src_row=self.vlen * unit,
            src_block=block * unit,
        )
