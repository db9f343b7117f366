"""Products of two computed matrices: the right one is stored to HBM and comes back to matrix SRAM tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena import MatmulOp
from plena.dialects.tile import PackOp
from plena.host.view import Pad, Reshape
from plena.integers import ceil_div, round_up
from plena.kernels.context import KernelContext, kernel_for
from plena.kernels.empty_lanes import with_empty_gaps
from plena.kernels.lane_moves import relaid
from plena.kernels.packing import define_rows, define_tail, packing_tile
from plena.kernels.product_cost import ProductShape, prefers_broadcast
from plena.kernels.stored_operands import (
    StoredShape,
    Tiles,
    placed_tiles,
    require_storable,
    stored_block,
    stored_tiles,
)
from plena.kernels.tensors import Panel
from plena.kernels.weight_stream import BlockProducts, GroupProducts, WeightStream, rows_at_a_time


@dataclass(frozen=True)
class Heads:
    """How the heads of one tensor lie: side by side (`wide`), each from a column block on, or one below the other.

    `rows` and `blocks` are rows and column blocks of one head.
    """

    count: int
    wide: bool
    rows: int
    blocks: int

    def row(self, sample: Linear, head: Linear) -> Linear:
        """The first row of a head of a sample."""
        return self.sample(sample, head) * self.rows

    def block(self, head: Linear) -> Linear:
        """The first column block of a head."""
        return head * self.blocks if self.wide else Linear(0)

    def sample(self, sample: Linear, head: Linear) -> Linear:
        """The number of a head's rows among all groups of so many rows."""
        return sample if self.wide else sample * self.count + head


Multiply = Callable[[Linear, Linear, Linear, Linear], None]
"""Emits one column block of one product: number of the block, sample, head, and the head of the right operand."""


@kernel_for(MatmulOp)
def lower_matmul(op: Operation, ctx: KernelContext) -> None:
    """Samples and heads one by one, in either schedule, the one that is cheaper for one of them."""
    assert isinstance(op, MatmulOp)
    product = Product(op, ctx)
    product.run()
    ctx.set(op.result, product.result)


class Product:
    """The products of one operation, built."""

    def __init__(self, op: MatmulOp, ctx: KernelContext) -> None:
        self.op, self.ctx, self.vlen = op, ctx, ctx.target.vlen
        m, k, n = op.sizes
        self.batch, (heads, own) = op.batch.value.data, op.head_counts
        self.transposed = bool(op.transpose_rhs.value.data)
        wide, vlen = op.wide, self.vlen
        right = (n, k) if self.transposed else (k, n)
        self.left = Heads(heads, "lhs" in wide, m, ceil_div(k, vlen))
        self.right = Heads(own, "rhs" in wide, right[0], ceil_div(right[1], vlen))
        self.out = Heads(heads, "result" in wide, m, ceil_div(n, vlen))
        shape = ProductShape(m, ceil_div(k, vlen), ceil_div(n, vlen), ceil_div(k, vlen))
        self.x = self._panel(op.lhs, self.left, k, always=True)
        tiles = self._tiles(right[1])
        tile, row = (tiles.block, tiles.tile) if self.transposed else (tiles.tile, tiles.block)
        self.tiles = tiles
        self.stream = WeightStream(
            tiles.buffer, shape.k_tiles, shape.n_tiles, tile, row, kv=1, transposed=int(self.transposed)
        )
        self.broadcast = prefers_broadcast(shape, ctx.target, ctx.schedule) and not ctx.spreads_nan(op.lhs)
        self.broadcast = self.broadcast and self._packed_rows() <= ctx.target.vector_sram_size // 4
        self.result = self._result(n)
        ctx.decide(op, shape, "broadcast" if self.broadcast else "mm")
        ctx.count_macs(self.batch * heads * m * k * n)

    def run(self) -> None:
        """Column blocks of the result in ascending order, and in each its rows: what is written beyond the last row of
        one product is written again by the next."""
        builder, group = self.ctx.builder, self.left.count // self.right.count
        multiply = self._by_groups() if self.broadcast else self._by_blocks()
        shared, members = self.right.count, group
        n_tiles = self.stream.n_tiles
        if self.out.wide:
            with (
                builder.loop(shared) as own,
                builder.loop(members) as member,
                builder.loop(n_tiles) as n,
                builder.loop(self.batch) as sample,
            ):
                multiply(n, sample, own * group + member, own)
        else:
            with (
                builder.loop(n_tiles) as n,
                builder.loop(self.batch) as sample,
                builder.loop(shared) as own,
                builder.loop(members) as member,
            ):
                multiply(n, sample, own * group + member, own)

    def _by_blocks(self) -> Multiply:
        rows = round_up(self.left.rows, self.ctx.target.blen)
        most = rows_at_a_time(rows, self.stream.k_tiles, self.ctx)
        products = BlockProducts(self.stream, most, self.ctx)

        def multiply(n: Linear, sample: Linear, head: Linear, own: Linear) -> None:
            offset, x = self._offset(n, sample, own), self._left(sample, head)

            def chunk_of_rows(chunk: Linear, count: int) -> None:
                first = chunk * (most * self.vlen)
                out = self.ctx.builder.view(self.result.buffer, self._out(n, sample, head) + first)
                products.multiply(out, (self.x.buffer, x + first, self.x.block), offset, count)

            self.ctx.builder.by_groups(rows, most, chunk_of_rows)

        return multiply

    def _by_groups(self) -> Multiply:
        target = self.ctx.target
        products = GroupProducts(self.stream, target.broadcast_amount * target.tile, self.ctx)
        packed = self._pack()
        groups, size = self._groups, self._packed_size

        def multiply(n: Linear, sample: Linear, head: Linear, own: Linear) -> None:
            offset = self._offset(n, sample, own)
            products.load(offset)
            with self.ctx.builder.loop(groups) as group:
                rows = group * (target.broadcast_amount * target.tile)
                out = self.ctx.builder.view(self.result.buffer, self._out(n, sample, head) + rows)
                x = (sample * self.left.count + head) * size + group * (size // groups)
                products.multiply(out, (packed, x), offset)

        return multiply

    def _left(self, sample: Linear, head: Linear) -> Linear:
        """The first element of a head's left operand."""
        return self.left.row(sample, head) * self.vlen + self.left.block(head) * self.x.block

    def _out(self, n: Linear, sample: Linear, head: Linear) -> Linear:
        """The first element of a column block of a head's result."""
        return self.out.row(sample, head) * self.vlen + (self.out.block(head) + n) * self.result.block

    def _offset(self, n: Linear, sample: Linear, own: Linear) -> Linear:
        """Where the tiles of a column block of the result begin, in bytes."""
        start = self.tiles.at(self.right.sample(sample, own), self.right.block(own), Linear(0))
        return start + n * self.stream.row_bytes

    @property
    def _groups(self) -> int:
        """Groups of BROADCAST row blocks of one product."""
        return ceil_div(ceil_div(self.left.rows, self.ctx.target.mlen), self.ctx.target.broadcast_amount)

    @property
    def _packed_size(self) -> int:
        """Elements that the packed left operand of one product takes."""
        target = self.ctx.target
        return self._groups * self.stream.k_tiles * target.broadcast_amount * target.tile

    def _packed_rows(self) -> int:
        """Rows of vector SRAM that all packed left operands take."""
        return self.batch * self.left.count * self._packed_size // self.vlen

    def _pack(self) -> SSAValue:
        """The left operands of all products, packed one behind the other."""
        target, builder, ctx = self.ctx.target, self.ctx.builder, self.ctx
        slots, tile, k_tiles = target.broadcast_amount, target.tile, self.stream.k_tiles
        row_blocks = ceil_div(self.left.rows, target.mlen)
        starts = self.batch if self.left.wide else self.batch * self.left.count
        read = (starts - 1) * self.left.rows + row_blocks * target.mlen
        define_tail(ctx, self.x, read)
        define_rows(ctx, self.x, read)
        buffer = builder.buffer("packed", "vector", self._packed_rows() * self.vlen)
        p = packing_tile(ctx, transposed=self.transposed)

        with builder.step("pack"), builder.loop(self.batch) as sample, builder.loop(self.left.count) as head:
            product = sample * self.left.count + head
            x = self._left(sample, head)

            def pack(group: Linear, count: int) -> None:
                builder.insert(
                    PackOp(
                        out=builder.view(
                            buffer, product * self._packed_size + group * (k_tiles * slots * tile)
                        ),
                        x=builder.view(self.x.buffer, x + group * (slots * tile)),
                        p=p,
                        row_blocks=count,
                        x_row_block=tile,
                        blocks=k_tiles,
                        x_block=self.x.block,
                        out_block=slots * tile,
                    )
                )

            builder.by_groups(row_blocks, slots, pack)
        return buffer

    def _result(self, columns: int) -> Panel:
        """Room for the result and, behind it, for the rows that the last product writes beyond its own."""
        out, batch = self.out, self.batch
        groups = out.count if out.wide else 1
        pitch = out.blocks * self.vlen if groups > 1 else 0
        starts = batch if out.wide else batch * out.count
        reach = (starts - 1) * out.rows + round_up(out.rows, self.ctx.target.blen)
        return self.ctx.new_panel(
            "product", starts * out.rows, groups * columns, groups=groups, pitch=pitch, reach=reach
        )

    def _panel(self, value: SSAValue, heads: Heads, size: int, *, always: bool) -> Panel:
        """A computed or staged operand with every head from a column block on.

        The lanes behind its `size` features are zeros, if not `always` then where they share a block of numbers with
        some of them.
        """
        ctx, tensor = self.ctx, self.ctx.host(value)
        groups, pitch = (heads.count, heads.blocks * self.vlen) if heads.wide else (1, size)
        if tensor is not None:
            return ctx.load("operand", tensor, groups=groups, pitch=pitch)
        panel = ctx.panel(value)
        found = relaid(ctx, self.op, panel, groups, pitch)
        block = self.vlen if always else stored_block(ctx)
        if found.buffer != panel.buffer or size % block == 0:
            return found
        return with_empty_gaps(ctx, value, found)

    def _tiles(self, size: int) -> Tiles:
        """The right operand in HBM."""
        ctx, heads, tensor = self.ctx, self.right, self.ctx.host(self.op.rhs)
        samples = self.batch if heads.wide else self.batch * heads.count
        if tensor is None:
            require_storable(self.op, ctx, self.op.rhs)
            panel = self._panel(self.op.rhs, heads, size, always=False)
            return stored_tiles(ctx, "right_operand", self.op, panel, StoredShape(samples, heads.rows))
        groups = heads.count if heads.wide else 1
        pitch = heads.blocks * self.vlen
        return placed_tiles(
            ctx,
            "right_operand",
            tensor.through(
                Reshape((samples, heads.rows, groups, size)),
                Pad(3, 0, pitch - size),
                Reshape((samples, heads.rows, groups * pitch)),
            ),
        )
