"""The weights of an attention with one query times its values, which lie transposed or with a key in each row."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from plena.host.view import Permute, Reshape
from plena.kernels.attention.heads import HeadPlace
from plena.kernels.attention.sections import Section
from plena.kernels.attention.shape import AttentionShape, Tiling
from plena.kernels.column_products import broadcast_column, vector_product
from plena.kernels.context import KernelContext
from plena.kernels.key_value import load_key_value_tiles
from plena.kernels.stored_operands import Tiles
from plena.kernels.tensors import HostTensor


def turned_values(tensor: HostTensor, shape: AttentionShape, tiling: Tiling, ctx: KernelContext) -> Tiles:
    """Staged values as a matrix [value_dim, keys] a head."""
    mlen = ctx.target.mlen
    heads = Reshape((shape.batch, shape.keys, shape.kv_heads, shape.value_dim))
    padded = (tiling.value_blocks * mlen, tiling.key_tiles * mlen)
    tensor = tensor.through(heads, Permute((0, 2, 3, 1)))
    buffer = ctx.place("turned_value", tensor, "tiled", "HBM_M_KV_TYPE", padded)
    tile = ctx.target.tile * ctx.element_bytes("HBM_M_KV_TYPE")
    block = tiling.key_tiles * tile
    return Tiles(buffer, shape.kv_heads * tiling.value_blocks * block, block, tile)


@dataclass(frozen=True)
class ValueProducts:
    """Products of packed weights with a head's `values`, in matrix SRAM at `sram`: all if `resident`, or one tile
    at a time.

    `turned` values have a feature in each row, and M_BTMV takes them. `pitch`: elements from one tile of packed weights
    to the next.
    """

    ctx: KernelContext
    tiling: Tiling
    section: Section
    values: Tiles
    sram: SSAValue
    resident: bool
    turned: bool
    pitch: int

    @property
    def tile(self) -> int:
        """Elements of a tile."""
        return self.ctx.target.tile

    @property
    def slots(self) -> int:
        """Vectors at a time."""
        return self.ctx.target.broadcast_amount

    @property
    def slot(self) -> int:
        """Elements from the result of a vector to that of the next: M_BMM makes MLEN rows of each."""
        return self.ctx.target.vlen if self.turned else self.tile

    def weigh(self, place: HeadPlace, weights: SSAValue, output: SSAValue) -> None:
        """Rows of the result for every slot: `slot` elements from one to the next, then the next block of features."""
        builder, tiling, section = self.ctx.builder, self.tiling, self.section
        w = builder.view(self.sram, section.first_tile * self.tile) if self.resident else self.sram
        column_pitch = tiling.key_tiles * self.tile
        if self.resident and self.turned:
            with builder.step("values"):
                n = tiling.value_blocks
                vector_product(self.ctx, output, weights, w, section.tiles, 0, n, self.tile, w_n=column_pitch)
            return
        with builder.loop(tiling.value_blocks) as column:
            out = builder.view(output, column * (self.slots * self.slot))
            with builder.loop(section.tiles) as tile:
                tiles = builder.view(w, column * column_pitch + tile * self.tile) if self.resident else w
                if not self.resident:
                    with builder.step("load values"):
                        number = place.bundle * tiling.value_blocks + column
                        source = self.values.at(place.sample, number, tile + section.first_tile)
                        load_key_value_tiles(self.ctx, self.sram, self.values, source, 1, 1)
                with builder.step("values"):
                    self._values_tile(out, builder.view(weights, tile * self.pitch), tiles)
            with builder.step("values"):
                if self.turned:
                    vector_product(self.ctx, out, weights, w, 0, 0, 1, 0)
                else:
                    self._rows_product(out, weights, w, 0, partial=0)

    def _values_tile(self, out: SSAValue, x: SSAValue, w: SSAValue) -> None:
        """Adds the product of one tile of keys to the open sum."""
        if self.turned:
            vector_product(self.ctx, out, x, w, 1, 0, 1, 0, partial=1)
            return
        with self.ctx.builder.loop(self.slots) as part:
            vectors = self.ctx.builder.view(x, part * self.ctx.target.vlen)
            rows = self.ctx.builder.view(w, part * self.ctx.target.hlen)
            self._rows_product(out, vectors, rows, 1, partial=1)

    def _rows_product(self, out: SSAValue, x: SSAValue, w: SSAValue, slices: int, *, partial: int) -> None:
        """HLEN keys of a tile of values in rows, by M_BMM."""
        broadcast_column(self.ctx, out, x, w, k_tiles=0, slices=slices, transposed=0, partial=partial)
