"""What is added to attention scores: bands (causal, windows), biases, key padding, and the padding of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import Float32Type, i1
from xdsl.ir import Attribute, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp, BandAttr
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import element_type_of
from plena.host.layout import MASK_FLOOR
from plena.host.view import Reshape
from plena.integers import ceil_div
from plena.kernels.attention.heads import HeadPlace
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.context import KernelContext
from plena.kernels.elementwise import map_constant
from plena.kernels.tensors import HostTensor
from plena.kernels.words import constant_panel
from plena.machine.number_formats import Mx

HIDDEN = -(2.0**14)
"""Added to the score of a key that is not seen: exact in every MX format, and its exponential vanishes."""


@dataclass(frozen=True)
class QueryRows:
    """Rows of score panels: at most `block`; a load of so many defines `loaded`; `staged` in all, surplus included."""

    block: int
    loaded: int
    staged: int


@dataclass(frozen=True)
class Scores:
    """A panel of scores to be masked: `tiles` tiles of keys from number `first_tile`, for query rows from `row`.

    `hidden` are the stretches (first, count) of these tiles in which the band hides keys; `is_last` says whether the
    last tile is the last of all keys.
    """

    panel: SSAValue
    block: int
    rows: int
    place: HeadPlace
    row: Linear
    first_tile: Linear
    tiles: int
    hidden: Sequence[tuple[int, int]]
    is_last: bool


@dataclass(frozen=True)
class KeyRows:
    """Mask rows for all queries, in vector SRAM: one per tile, sample and head as far as these differ."""

    buffer: SSAValue
    sample: int
    head: int
    tile: int

    def at(self, place: HeadPlace, tile: Linear) -> Linear:
        """Where the rows from a tile on begin."""
        return place.sample * self.sample + place.head * self.head + tile * self.tile


class AttentionMasks:
    """The masks of one attention, brought into vector SRAM before its loops and added inside them.

    A band is a table of rows: the row of distance d = query - first key of a tile has 0 where the band lets the query
    see the key and HIDDEN elsewhere, so that the mask of every query row and tile is one table row at a linear address.
    """

    def __init__(
        self,
        op: AttentionOp,
        shape: AttentionShape,
        rows: QueryRows,
        ctx: KernelContext,
        *,
        tile_by_tile: bool,
    ) -> None:
        self.tile_by_tile = tile_by_tile
        self.op, self.shape, self.rows, self.ctx = op, shape, rows, ctx
        self.builder, self.vlen = ctx.builder, ctx.target.vlen
        self.key_tiles = ceil_div(shape.keys, ctx.target.mlen)
        self.table: SSAValue | None = None
        self.padding: SSAValue | None = None
        self.key_rows: list[KeyRows] = []
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
            elif self.shape.keys % self.ctx.target.mlen and not self._band_hides_padding():
                self._load_tile_padding()
            if self.op.bias is not None:
                self._place_bias(self.op.bias)
            if self.op.sinks is not None:
                self._place_sinks(self.op.sinks)

    def add(self, scores: Scores) -> None:
        """Emits what happens to a panel of scores."""
        if self.table is not None:
            for first, count in scores.hidden:
                self._add_band(scores, first, count)
        if self.bias_rows is not None:
            self._load_bias(scores)
            self._add(scores, 0, scores.tiles, self.bias_rows, self.vlen, self.rows.block * self.vlen)
        for rows in self.key_rows:
            mask = self.builder.view(rows.buffer, rows.at(scores.place, scores.first_tile))
            self._add(scores, 0, scores.tiles, mask, 0, rows.tile)
        if self.padding is not None and self.tile_by_tile:
            start = self.builder.view(self.padding, scores.first_tile * self.vlen)
            self._add(scores, 0, scores.tiles, start, 0, self.vlen)
        elif self.padding is not None and scores.is_last:
            self._add(scores, scores.tiles - 1, 1, self.padding, 0, 0)

    def _add_band(self, scores: Scores, first: int, count: int) -> None:
        """One tile further to the right is VLEN rows further up in the table: blocks descend."""
        assert self.table is not None
        tile = self.vlen * self.vlen
        with self.builder.loop(count) as number:
            at = (scores.row + self._band_origin()) * self.vlen - (scores.first_tile + first + number) * tile
            panel = self.builder.view(scores.panel, (number + first) * scores.block)
            self._add_rows(
                panel, scores.block, scores.rows, 1, self.builder.view(self.table, at), self.vlen, 0
            )

    def _add(self, scores: Scores, first: int, count: int, mask: SSAValue, row: int, block: int) -> None:
        panel = self.builder.view(scores.panel, first * scores.block)
        self._add_rows(panel, scores.block, scores.rows, count, mask, row, block)

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
        return (self.key_tiles - 1) * self.vlen

    def _band_hides_padding(self) -> bool:
        """Whether the band alone hides the padding of the last tile from every query."""
        band = self.op.band
        return (
            band is not None
            and band.upper is not None
            and self.shape.queries - 1 + band.upper < self.shape.keys
        )

    def _load_band(self, band: BandAttr) -> None:
        distance = np.arange(self._band_origin() + self.rows.staged)[:, None] - self._band_origin()
        offset = np.arange(self.vlen)[None, :] - distance
        seen = np.ones(offset.shape, bool)
        if band.lower is not None:
            seen &= offset >= band.lower
        if band.upper is not None:
            seen &= offset <= band.upper
        name = f"band_{band.lower}_{band.upper}_{len(distance)}"
        self.table = constant_panel(self.ctx, name, np.where(seen, 0.0, HIDDEN).astype(np.float32))

    def _load_tile_padding(self) -> None:
        used = self.shape.keys % self.ctx.target.mlen
        rows = self.key_tiles if self.tile_by_tile else 1
        mask = np.zeros((rows, self.vlen), np.float32)
        mask[-1, used:] = HIDDEN
        self.padding = constant_panel(self.ctx, f"key_padding_{used}_{rows}", mask)

    def _load_key_padding(self, operand: SSAValue) -> None:
        """Rows of HIDDEN * (kept - 1); tile padding counts as not kept."""
        tensor = self._host(operand, "key padding mask")
        matrices = tensor.through(Reshape((self.shape.batch, 1, 1, self.shape.keys)))
        self._load_key_rows("key_padding", matrices, element_type_of(operand))

    def _load_key_rows(self, name: str, tensor: HostTensor, element: Attribute) -> None:
        """Brings in a mask [b, h, 1, keys] once, a tile of keys in `row_unit` rows of which the first counts."""
        samples, heads = tensor.shape[:2]
        unit, physical = self.ctx.element_bytes("HBM_V_ACT_TYPE"), self.ctx.physical_rows(1)
        rows = samples * heads * self.key_tiles * physical
        truth = not isinstance(element, Float32Type) or name == "key_padding"
        exact = not truth and self._is_exact(tensor)
        loaded = 2 * rows if exact else rows
        buffer = self.builder.buffer(f"{name}_rows", "vector", (loaded + self.ctx.row_unit) * self.vlen)
        with self.ctx.once(tensor):
            source = self.ctx.place(
                name,
                tensor,
                "column_blocks",
                "HBM_V_ACT_TYPE",
                (physical, self.key_tiles * self.vlen),
                scale=-HIDDEN if truth else 1.0,
                floor=None if truth else MASK_FLOOR,
                exact=exact,
            )
            self.builder.emit(
                "load_rows", dst=buffer, src=source, rows=loaded, blocks=1, src_row=self.vlen * unit
            )
            if exact:
                self._add_rows(buffer, 0, rows, 1, self.builder.view(buffer, rows * self.vlen), self.vlen, 0)
            if truth and element != i1:
                map_constant(self.ctx, "min", buffer, -HIDDEN, rows, 1, 0)
            if truth:
                map_constant(self.ctx, "add", buffer, HIDDEN, rows, 1, 0)
        tile = physical * self.vlen
        head = self.key_tiles * tile
        self.key_rows.append(
            KeyRows(buffer, heads * head if samples > 1 else 0, head if heads > 1 else 0, tile)
        )

    def _is_exact(self, tensor: HostTensor) -> bool:
        """Whether a bias is staged with what its format loses of it: an error of a score is one of its exponential."""
        number_format = self.ctx.target.precision["HBM_V_ACT_TYPE"]
        return tensor.source.kind == "data" and isinstance(number_format, Mx)

    def _place_bias(self, operand: SSAValue) -> None:
        """Matrices [queries, keys]; booleans as 0 and -HIDDEN, which the loaded rows turn into HIDDEN and 0."""
        tensor, element = self._host(operand, "attention bias"), element_type_of(operand)
        if tensor.shape[2] == 1:
            self._load_key_rows("bias", tensor, element)
            return
        truth = not isinstance(element, Float32Type)
        self._bias_shape, self._bias_is_truth, self._bias_is_bit = tensor.shape, truth, element == i1
        self._bias_parts = 2 if not truth and self._is_exact(tensor) else 1
        self.bias = self.ctx.place(
            "bias",
            tensor,
            "column_blocks",
            "HBM_V_ACT_TYPE",
            (self.rows.staged, self.key_tiles * self.vlen),
            scale=-HIDDEN if truth else 1.0,
            floor=None if truth else MASK_FLOOR,
            exact=self._bias_parts > 1,
        )
        size = (self.key_tiles - 1) * self.rows.block + self.rows.loaded
        self._bias_part = size * self.vlen
        self.bias_rows = self.builder.buffer("bias_rows", "vector", self._bias_parts * self._bias_part)

    def _host(self, operand: SSAValue, what: str) -> HostTensor:
        tensor = self.ctx.host(operand)
        if tensor is None:
            raise refusal(
                self.op,
                f"the {what} is computed",
                f"Make the {what} a parameter, a buffer or an input, or a function of constants.",
            )
        return tensor

    def _place_sinks(self, operand: SSAValue) -> None:
        self.sinks = self.ctx.place_words("sinks", self._host(operand, "attention sink"), "fp")

    def _load_bias(self, scores: Scores) -> None:
        assert self.bias is not None and self.bias_rows is not None
        samples, heads = self._bias_shape[:2]
        matrix = Linear(0)
        if samples > 1:
            matrix = matrix + scores.place.sample * heads
        if heads > 1:
            matrix = matrix + scores.place.head
        unit = self.ctx.element_bytes("HBM_V_ACT_TYPE")
        block = self.rows.staged * self.vlen
        offset = matrix * (self.key_tiles * block) + scores.row * self.vlen + scores.first_tile * block
        pitch = samples * heads * self.key_tiles * block
        with self.builder.loop(self._bias_parts) as part:
            self.builder.emit(
                "load_rows",
                dst=self.builder.view(self.bias_rows, part * self._bias_part),
                src=self.builder.view(self.bias, (offset + part * pitch) * unit),
                rows=scores.rows,
                blocks=scores.tiles,
                dst_block=self.rows.block * self.vlen,
                src_row=self.vlen * unit,
                src_block=block * unit,
            )
        if self._bias_parts > 1:
            rest = self.builder.view(self.bias_rows, self._bias_part)
            row, pitch = self.vlen, self.rows.block * self.vlen
            self._add_rows(self.bias_rows, pitch, scores.rows, scores.tiles, rest, row, pitch)
        if self._bias_is_truth:
            size = (scores.rows, scores.tiles, self.rows.block * self.vlen)
            if not self._bias_is_bit:
                map_constant(self.ctx, "min", self.bias_rows, -HIDDEN, *size)
            map_constant(self.ctx, "add", self.bias_rows, HIDDEN, *size)
