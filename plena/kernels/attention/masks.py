"""What is added to attention scores: bands (causal, windows), biases, key padding, and the padding of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from xdsl.dialects.builtin import Float32Type
from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import AttentionOp, BandAttr
from plena.dialects.refusals import refusal
from plena.dialects.tensor_shapes import element_type_of
from plena.dialects.tile import LoadRowsOp, PanelRows
from plena.host.mask_steps import ABSORBING, LOWEST, UNSEEN, Biases, Hidden, Sighted, level_of
from plena.host.view import Expand, Reshape
from plena.integers import ceil_div
from plena.kernels.attention.heads import HeadPlace
from plena.kernels.attention.shape import AttentionShape
from plena.kernels.context import KernelContext, constant_panel
from plena.kernels.fp_sram import number
from plena.kernels.tensors import HostTensor
from plena.machine.number_formats import Mx

HIDDEN = -(2.0**LOWEST)
"""Added to the score of a key that is not seen: exact in every MX format, and its exponential vanishes."""

START = 2.0**-24
"""What the sum of exponentials starts from where it may have no other: those of hidden keys vanish beside it, and it
vanishes beside the 1 of any other row."""


@dataclass(frozen=True)
class Levels:
    """The powers of two, as exponents, that hide keys outside of the band and those of other masks.

    `unseen` hides for good. A query that sees no key may have to see those that a number hides, whose powers are lower.
    """

    unseen: int
    band: int
    mask: int
    empty: int
    """What other masks add in rows of nothing else, where they can tell: negative means nothing."""
    once: bool
    """Whether a key that several masks hide is hidden as by one of them."""

    @staticmethod
    def of(op: AttentionOp) -> Levels:
        number = None if op.fill is None else op.fill.value.data
        masked = "" if op.masked is None else op.masked.data
        small = number is not None and number > -ABSORBING
        by_number = number is not None and not small
        unseen = UNSEEN if by_number or _is_wide(op) else LOWEST
        level = level_of(number) if number is not None and not small else unseen
        band = level if masked in ("alike", "added", "beyond_band") else unseen
        mask = unseen if masked == "beyond_band" else level
        masks = [op.band is not None, op.key_padding is not None, _is_boolean(op.bias)]
        return Levels(unseen, band, mask, -1 if small else mask, masked == "alike" and sum(masks) > 1)


def skipped_band(op: AttentionOp) -> BandAttr | None:
    """The band, if no query needs the keys outside of it."""
    return op.band if Levels.of(op).band == Levels.of(op).unseen else None


def _is_boolean(bias: SSAValue | None) -> bool:
    return bias is not None and not isinstance(element_type_of(bias), Float32Type)


def _is_wide(op: AttentionOp) -> bool:
    """Whether a real bias may hide keys."""
    return op.bias is not None and not _is_boolean(op.bias) and op.moderate is None


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
        self.key_padded = False
        self.key_rows: list[KeyRows] = []
        self.bias: SSAValue | None = None
        self.bias_rows: SSAValue | None = None
        self.sinks: SSAValue | None = None
        self.levels = Levels.of(op)

    @cached_property
    def floor(self) -> SSAValue:
        """What a running maximum starts from: where a row may have no key, above all that hides for good."""
        if self.op.empty is None or self.op.sinks is not None:
            return self.builder.constant(float("-inf"))
        return number(self.ctx, -(2.0 ** (self.levels.unseen - 1)))

    @cached_property
    def start(self) -> SSAValue | None:
        """What a sum of exponentials starts from where a row without a key is zero."""
        zero = self.op.empty is not None and self.op.empty.data == "zero" and self.op.sinks is None
        return self.builder.constant(START) if zero else None

    @property
    def undefined(self) -> int:
        """Whether a query without any key gets NaN."""
        return int(self.op.empty is not None and self.op.empty.data == "nan")

    def load(self) -> None:
        """Emits what happens once, before the loops."""
        self._require_sight()
        with self.builder.step("load masks"):
            if self.op.band is not None:
                self._load_band(self.op.band)
            if self.op.key_padding is not None:
                self._load_key_padding(self.op.key_padding)
            if self.shape.keys % self.ctx.target.mlen and not self._padding_is_hidden():
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
        if self.levels.once:
            self._hide_once(scores)
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

    def _hide_once(self, scores: Scores) -> None:
        """No score lies below what one mask makes of it."""
        self.builder.map(
            "max",
            PanelRows(scores.panel, self.vlen, scores.block),
            PanelRows(scores.panel, self.vlen, scores.block),
            number(self.ctx, -(2.0**self.levels.mask)),
            size=(scores.rows, scores.tiles),
        )

    def _add_rows(
        self, panel: SSAValue, panel_block: int, rows: int, blocks: int, mask: SSAValue, row: int, block: int
    ) -> None:
        self.builder.map(
            "add",
            PanelRows(panel, self.vlen, panel_block),
            PanelRows(panel, self.vlen, panel_block),
            PanelRows(mask, row, block),
            size=(rows, blocks),
        )

    def _band_origin(self) -> int:
        """Table row of distance 0: the smallest distance is that of query 0 and the last tile."""
        return (self.key_tiles - 1) * self.vlen

    def _padding_is_hidden(self) -> bool:
        """Whether the padding of the last tile is hidden from every query by a mask of keys, or by the band alone."""
        if self.key_padded and not self.levels.once:
            return True
        band = skipped_band(self.op)
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
        hidden = self._power(self.levels.band)
        name = f"band_{band.lower}_{band.upper}_{len(distance)}_{self.levels.band}"
        self.table = constant_panel(self.ctx, name, np.where(seen, 0.0, hidden).astype(np.float32))

    def _load_tile_padding(self) -> None:
        used = self.shape.keys % self.ctx.target.mlen
        rows = self.key_tiles if self.tile_by_tile else 1
        mask = np.zeros((rows, self.vlen), np.float32)
        mask[-1, used:] = self._power(self.levels.unseen)
        self.padding = constant_panel(self.ctx, f"key_padding_{used}_{rows}_{self.levels.unseen}", mask)

    def _power(self, exponent: int) -> float:
        """-2^exponent, which the activation format must hold."""
        number = -(2.0**exponent)
        held = self.ctx.target.precision["HBM_V_ACT_TYPE"]
        if float(held.staged(np.full((1, self.vlen), number, np.float32), "public").flat[0]) != number:
            raise refusal(
                self.op,
                f"masks of this kind need a format of HBM_V_ACT_TYPE that holds {number:g}",
                "Set HBM_V_ACT_TYPE to one with more exponent bits (docs/number_formats.md), or hide keys by -inf.",
            )
        return number

    def _load_key_padding(self, operand: SSAValue) -> None:
        """Rows of what hides keys; tile padding is hidden too. Where the band decides, a matrix as other masks."""
        tensor = self._host(operand, "key padding mask")
        matrices = self._sighted(
            tensor.through(Reshape((self.shape.batch, 1, 1, self.shape.keys))), real=False
        )
        if self.levels.empty < 0 and self.op.band is not None:
            if self.op.bias is not None:
                raise refusal(
                    self.op,
                    "a mask of keys that adds a small number has no kernel beside a band and a bias",
                    "Hide keys by -inf, or add all masks up to one tensor before the attention.",
                )
            self._place_matrices([self._hidden(self._for_all_queries(matrices))], exact=False)
            return
        self.key_padded = True
        self._load_key_rows("key_padding", [self._hidden(matrices)], exact=False)

    @property
    def _must_see(self) -> bool:
        """Whether a query without a key would reach the keys of an attention as NaN."""
        return bool(self.undefined) and self.op in self.ctx.undefined.reaching_keys

    def _require_sight(self) -> None:
        """Where no single mask tells which queries see no key, none may be NaN."""
        masks = [self.op.key_padding is not None, _is_boolean(self.op.bias) or _is_wide(self.op)]
        if self._must_see and sum(masks) != 1:
            raise refusal(
                self.op,
                "a query without a key is NaN, and a later attention has it among its keys, which are stored in a "
                "number format without NaN",
                "Hide keys by a finite number such as -1e9, or join the masks to one by logical_and.",
            )

    def _sighted(self, mask: HostTensor, *, real: bool) -> HostTensor:
        """A mask [b, h, s, keys] that refuses queries without a key where they must see one."""
        if not self._must_see or (real and not _is_wide(self.op)):
            return mask
        band = self.op.band
        bounds = (None, None) if band is None else (band.lower, band.upper)
        lower, upper = (() if bound is None else (bound,) for bound in bounds)
        return mask.through(Sighted(lower, upper, self.shape.queries, int(real)))

    def _hidden(self, mask: HostTensor) -> HostTensor:
        """What a mask [b, h, s, keys] adds to scores."""
        self._power(self.levels.unseen)
        levels = self.levels
        band = self._bounds if levels.empty < 0 else ((), ())
        alone = self.op.band is None and self.op.bias is None
        width = self.shape.keys if levels.once else self.key_tiles * self.vlen
        hidden = levels.unseen if alone else levels.mask
        return mask.through(Hidden(*band, width, hidden, levels.empty))

    @property
    def _bounds(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The bounds of the band as steps of views have them, where it hides for good."""
        band = skipped_band(self.op)
        if band is None:
            return (), ()
        lower, upper = (() if bound is None else (bound,) for bound in (band.lower, band.upper))
        return lower, upper

    def _for_all_queries(self, tensor: HostTensor) -> HostTensor:
        samples, heads, _, keys = tensor.shape
        return tensor.through(Expand((samples, heads, self.shape.queries, keys)))

    def _load_key_rows(self, name: str, parts: list[HostTensor], *, exact: bool) -> None:
        """Brings in masks [b, h, 1, keys] once and adds them up.

        A tile of keys takes `row_unit` rows of which the first counts. With `exact` the first part has a rest.
        """
        samples, heads = parts[0].shape[:2]
        unit, physical = self.ctx.element_bytes("HBM_V_ACT_TYPE"), self.ctx.physical_rows(1)
        rows = samples * heads * self.key_tiles * physical
        copies = len(parts) + exact
        buffer = self.builder.buffer(
            f"{name}_rows", "vector", (copies * rows + self.ctx.row_unit) * self.vlen
        )
        with self.ctx.once(parts[0]):
            source = self.ctx.place(
                name,
                parts[0],
                "column_blocks",
                "HBM_V_ACT_TYPE",
                (physical, self.key_tiles * self.vlen),
                exact=exact,
                also=parts[1:],
            )
            self.builder.insert(
                LoadRowsOp(
                    dst=buffer,
                    src=source,
                    rows=copies * rows,
                    blocks=1,
                    dst_block=0,
                    src_row=self.vlen * unit,
                    src_block=0,
                )
            )
            for copy in range(1, copies):
                part = self.builder.view(buffer, copy * rows * self.vlen)
                self._add_rows(buffer, 0, rows, 1, part, self.vlen, 0)
        tile = physical * self.vlen
        head = self.key_tiles * tile
        self.key_rows.append(
            KeyRows(buffer, heads * head if samples > 1 else 0, head if heads > 1 else 0, tile)
        )

    @property
    def _is_exact(self) -> bool:
        """Whether a bias is staged with what its format loses of it: an error of a score is one of its exponential."""
        return isinstance(self.ctx.target.precision["HBM_V_ACT_TYPE"], Mx)

    def _place_bias(self, operand: SSAValue) -> None:
        """Matrices [queries, keys], or rows of keys if they are the same for all queries."""
        tensor = self._sighted(self._host(operand, "attention bias"), real=not _is_boolean(operand))
        rows_alike = tensor.shape[2] == 1
        exact = False
        if _is_boolean(operand):
            if rows_alike and self.levels.empty < 0 and self.op.band is not None:
                tensor, rows_alike = self._for_all_queries(tensor), False
            parts = [self._hidden(tensor)]
        else:
            exact, wide, shifted = self._is_exact, _is_wide(self.op), int(self.op.sinks is None)
            if rows_alike and skipped_band(self.op) is not None:
                tensor, rows_alike = self._for_all_queries(tensor), self.shape.queries == 1
            parts = [tensor.through(Biases(*self._bounds, shifted, int(wide)))]
            if wide:
                self._power(UNSEEN)
                numbers = (self.key_tiles * self.vlen, UNSEEN, 0, 1, shifted, int(self._is_alone))
                parts.append(tensor.through(Hidden(*self._bounds, *numbers)))
        if rows_alike:
            self._load_key_rows("bias", parts, exact=exact)
        else:
            self._place_matrices(parts, exact=exact)

    @property
    def _is_alone(self) -> bool:
        """Whether a bias is all that hides keys."""
        return self.op.key_padding is None and (self.op.band is None or skipped_band(self.op) is not None)

    def _place_matrices(self, parts: list[HostTensor], *, exact: bool) -> None:
        self._bias_shape, self._bias_parts = parts[0].shape, len(parts) + exact
        self.bias = self.ctx.place(
            "bias",
            parts[0],
            "column_blocks",
            "HBM_V_ACT_TYPE",
            (self.rows.staged, self.key_tiles * self.vlen),
            exact=exact,
            also=parts[1:],
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
        self.sinks = self.ctx.place_scalars("sinks", self._host(operand, "attention sink"), "fp")

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
            self.builder.insert(
                LoadRowsOp(
                    dst=self.builder.view(self.bias_rows, part * self._bias_part),
                    src=self.builder.view(self.bias, (offset + part * pitch) * unit),
                    rows=scores.rows,
                    blocks=scores.tiles,
                    dst_block=self.rows.block * self.vlen,
                    src_row=self.vlen * unit,
                    src_block=block * unit,
                )
            )
        for part in range(1, self._bias_parts):
            rest = self.builder.view(self.bias_rows, part * self._bias_part)
            row, pitch = self.vlen, self.rows.block * self.vlen
            self._add_rows(self.bias_rows, pitch, scores.rows, scores.tiles, rest, row, pitch)
