"""RMS norms of parts that share column blocks, their sums by the matrix unit: where sums of rows take longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import gcd

import numpy as np
from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.tile import LoadTilesOp, MatmulOp, PanelRows, ZeroOp
from plena.host.view import Array
from plena.integers import ceil_div
from plena.kernels.context import KernelContext, lane_masks
from plena.kernels.lanes import Lanes, emit_elementwise
from plena.kernels.packing import define_rows
from plena.kernels.parts import Parts
from plena.kernels.tensors import Panel
from plena.timing.registry import profile_named

STARTS = (2.0**7, 2.0**45)
"""About so large roots may be: (a + x / a) / 2 comes within 2^19 of the root of any x that there is for one of them."""

FAR = 5
"""Iterations r / 16 + x / r of the square roots: each takes four bits off what is far too large, and what is near, or
becomes it, stays within a factor of 2.1."""

NEAR = 3
"""Iterations (r + x / r) / 2, which double the digits: from a factor of 2.1 to less than bf16 holds."""

LEAST = 2.0**-24
"""The least number that is added to mean squares for which that is enough."""

SIDE_BY_SIDE = 2
"""Rows whose roots take turns: an instruction of the vector pipe waits for one of another kind before it."""


@dataclass(frozen=True)
class HeadNorms:
    """x / sqrt(mean of the squares + eps) for every part of every row of a panel, parts `size` lanes wide.

    The sums of BLEN parts of BLEN rows are one product, a square of BLEN rows and lanes. Squares of as many rows
    as MLEN lanes have room for lie side by side, so that few rows hold all numbers of a norm: roots and reciprocals
    are made of whole rows, since the vector unit has no root and the scalar unit takes one number after the other.
    Products with ones take the factors back to the lanes of their parts.

    Rows share a row of sums: none may be infinite or NaN, or large enough that its squares are.
    """

    source: Panel
    parts: Parts
    ctx: KernelContext

    @property
    def blen(self) -> int:
        return self.ctx.target.blen

    @property
    def vlen(self) -> int:
        return self.ctx.target.vlen

    @property
    def slab(self) -> int:
        """Elements of matrix SRAM that a product with BLEN columns reads, of a transposed tile."""
        return self.blen * self.ctx.target.mlen

    @property
    def blocks(self) -> int:
        """Column blocks of the panel."""
        return self.source.blocks(self.vlen)

    @property
    def row_blocks(self) -> int:
        """Blocks of BLEN rows."""
        return ceil_div(self.source.rows, self.blen)

    @property
    def together(self) -> int:
        """Row blocks whose sums lie side by side."""
        return self.vlen // self.blen

    @property
    def blocks_of_set(self) -> int:
        """Column blocks that BLEN parts take."""
        return self.blen // self.parts.per_block

    @property
    def sets(self) -> int:
        """Sets of BLEN parts."""
        return ceil_div(self.blocks, self.blocks_of_set)

    @property
    def rows_of_sums(self) -> int:
        """Rows of vector SRAM with the sums of all rows and parts."""
        return self.sets * ceil_div(self.row_blocks, self.together) * self.blen

    @cached_property
    def tiles(self) -> tuple[Array, Array]:
        """Ones that add parts up, a slab for every column block of a set, and that spread them, one for every part of
        it; rows of both are columns of the product."""
        blen, mlen, parts = self.blen, self.ctx.target.mlen, self.parts
        blocks = min(self.blocks, self.blocks_of_set)
        lanes = np.arange(mlen)
        column = np.arange(blocks * blen)
        part = column // blen * parts.per_block + lanes[:, None] // parts.size
        sums = (part == column % blen).T
        spread = (lanes % blen)[None, :] == (np.arange(blocks * parts.per_block * blen) // blen)[:, None]
        return sums.astype(np.float32), spread.astype(np.float32)

    def is_possible(self, value: SSAValue, eps: float) -> bool:
        """Whether blocks, lanes and numbers are such as all this needs."""
        parts, ctx = self.parts, self.ctx
        fits = self.blen % parts.per_block == 0 and parts.size % self.blen == 0
        whole = parts.groups % parts.per_block == 0 and parts.per_block * parts.size == self.vlen
        held = sum(ceil_div(len(rows), ctx.target.mlen) for rows in self.tiles) if fits else 0
        room = held + 2 * (ctx.target.m_prefetch_tiles - 1) <= ctx.free_tiles
        return fits and whole and room and eps >= LEAST and not ctx.spreads_nan(value)

    def pays(self) -> bool:
        """Whether it takes less than a sum and a root for every part of every row, by a profile that knows what waits
        for a sum: everything does."""
        target, schedule = self.ctx.target, self.ctx.schedule
        profile = profile_named(schedule.timing)
        work = profile.work
        if work is None or schedule.objective != "cycles" or schedule.machine == "rtl":
            return False

        def cycles(*mnemonics: str) -> int:
            return sum(profile.cycles(INSTRUCTIONS[m], target) for m in mnemonics)

        def ready(*mnemonics: str) -> int:
            return sum(work(INSTRUCTIONS[m], target).ready for m in mnemonics)

        rows = self.source.rows * self.blocks
        numbers = rows * self.parts.per_block * cycles("V_RED_SUM", "S_MUL_FP", "S_SQRT_FP", "S_RECI_FP")
        columns = self.row_blocks * self.blocks * self.together
        products = columns * cycles("M_TMM", "M_MM_WO") + self.row_blocks * self.blocks * cycles("M_TMM")
        # Rows side by side wait for each other.
        roots = self.rows_of_sums * (FAR + NEAR) * ready("V_RECI_V", "V_MUL_VV", "V_ADD_VV", "V_MUL_VF") // 3
        return products + roots < numbers

    def normalize(self, result: Panel, eps: float, gain: PanelRows | None) -> None:
        """The norm of all parts, times a row `gain` if there is one."""
        ctx, builder, vlen, blen = self.ctx, self.ctx.builder, self.vlen, self.blen
        define_rows(ctx, self.source, self.row_blocks * blen)
        sums, spread = (
            self._load(name, rows) for name, rows in zip(("sum", "spread"), self.tiles, strict=True)
        )
        square, in_place = blen * vlen, result.buffer == self.source.buffer
        factors = builder.buffer("factors", "vector", self.rows_of_sums * vlen)
        scratch = builder.buffer("squares", "vector", self.blocks * square)
        if self.row_blocks % self.together:
            builder.insert(ZeroOp(dst=factors, rows=self.rows_of_sums))

        def sums_of(group: Linear, count: int) -> None:
            with builder.loop(count) as i:
                first = (group * self.together + i) * square
                x = self._panel_rows(self.source, first)
                out = x if in_place else self._panel_rows(result, first)
                outs, inputs = [PanelRows(scratch, vlen, square)], [x]
                if gain is not None:
                    outs, inputs = [*outs, out], [x, gain]
                emit_elementwise(ctx, outs, inputs, (blen, self.blocks), _squares_and_scaled)

                def add(number: Linear, blocks: int) -> None:
                    at = self._factors(number, group) + i * blen
                    source = builder.view(scratch, number * (self.blocks_of_set * square))
                    self._product(builder.view(factors, at), source, sums, blocks, square)

                self._by_sets(add)

        builder.by_groups(self.row_blocks, self.together, sums_of)
        self._roots(factors, eps)
        masks = lane_masks(ctx, self.together, blen)
        masked = builder.buffer("masked", "vector", square)

        def scale(group: Linear, count: int) -> None:
            with builder.loop(count) as i:

                def spread_set(number: Linear, blocks: int) -> None:
                    rows = PanelRows(builder.view(factors, self._factors(number, group)), vlen, 0)
                    mask = PanelRows(builder.view(masks, i * vlen), 0, 0)
                    builder.map("mul", PanelRows(masked, vlen, 0), rows, mask, size=(blen, 1))
                    out = builder.view(scratch, number * (self.blocks_of_set * square))
                    self._spread(out, masked, spread, blocks)

                self._by_sets(spread_set)
                first = (group * self.together + i) * square
                out = self._panel_rows(result, first)
                x = self._panel_rows(self.source, first) if gain is None and not in_place else out
                builder.map("mul", out, x, PanelRows(scratch, vlen, square), size=(blen, self.blocks))

        builder.by_groups(self.row_blocks, self.together, scale)

    def _factors(self, number: Linear, group: Linear) -> Linear:
        """Where the sums of a set begin for a group of row blocks."""
        return (group * self.sets + number) * (self.blen * self.vlen)

    def _by_sets(self, emit: Callable[[Linear, int], None]) -> None:
        """`emit(number, column blocks)` for every set."""
        whole, rest = divmod(self.blocks, self.blocks_of_set)
        if whole:
            with self.ctx.builder.loop(whole) as number:
                emit(number, self.blocks_of_set)
        if rest:
            emit(Linear(whole), rest)

    def _load(self, name: str, rows: Array) -> SSAValue:
        """Constant tiles in matrix SRAM."""
        ctx, target = self.ctx, self.ctx.target
        full = f"{name}_parts_{self.parts.size}_{len(rows)}"
        tiles = ceil_div(len(rows), target.mlen)
        constant = ctx.constant_rows(full, rows)
        placed = ctx.place(full, constant, "tiled", "HBM_M_WEIGHT_TYPE", (tiles * target.mlen, target.mlen))
        held = ctx.builder.buffer(
            f"{name}_tiles", "matrix", (tiles + target.m_prefetch_tiles - 1) * target.tile
        )
        unit = target.tile * ctx.element_bytes("HBM_M_WEIGHT_TYPE")
        with ctx.builder.step("load constant tile"):
            ctx.builder.insert(
                LoadTilesOp(
                    dst=held,
                    src=placed,
                    outer=1,
                    inner=tiles,
                    dst_outer=0,
                    dst_inner=target.tile,
                    src_outer=0,
                    src_inner=unit,
                )
            )
        return held

    def _product(self, out: SSAValue, x: SSAValue, w: SSAValue, tiles: int, block: int) -> None:
        """BLEN rows and columns: the sum over `tiles` column blocks times one slab each."""
        self.ctx.builder.insert(
            MatmulOp(
                out=out,
                x=x,
                w=w,
                rows=self.blen,
                k_tiles=tiles,
                columns=self.blen,
                transposed=1,
                x_block=block,
                w_k=self.slab,
                w_n=0,
                out_block=0,
            )
        )

    def _spread(self, out: SSAValue, factors: SSAValue, w: SSAValue, blocks: int) -> None:
        """Every lane of `blocks` column blocks gets the factor of its part."""
        builder, blen, per_block = self.ctx.builder, self.blen, self.parts.per_block
        with (
            builder.step("spread"),
            builder.loop(blocks) as block,
            builder.loop(per_block) as part,
            builder.loop(self.parts.size // blen) as columns,
        ):
            lanes = block * (blen * self.vlen) + part * self.parts.size + columns * blen
            slab = (block * per_block + part) * self.slab
            self._product(builder.view(out, lanes), factors, builder.view(w, slab), 1, 0)

    def _roots(self, factors: SSAValue, eps: float) -> None:
        """factors = 1 / sqrt(factors / size + eps)."""
        builder, vlen, count = self.ctx.builder, self.vlen, self.rows_of_sums
        roots = builder.buffer("roots", "vector", count * vlen)
        at_once = gcd(SIDE_BY_SIDE, count)

        def rows(buffer: SSAValue) -> list[PanelRows]:
            share = count // at_once * vlen
            return [PanelRows(builder.view(buffer, n * share), vlen, 0) for n in range(at_once)]

        def start(lanes: Lanes) -> list[SSAValue]:
            """The means, and 1 / (1 / a + 1 / b) of what two starts come to: the lesser, or down to its half."""
            (total,) = lanes.inputs
            mean = lanes.apply("add", lanes.apply("mul", total, 1.0 / self.parts.size), eps)
            first, second = (
                lanes.apply("reciprocal", lanes.apply("add", lanes.apply("mul", mean, 1.0 / a), a))
                for a in STARTS
            )
            return [mean, lanes.apply("reciprocal", lanes.apply("add", first, second))]

        def quotients(lanes: Lanes) -> list[SSAValue]:
            found = [lanes.apply("reciprocal", root) for root in lanes.inputs[:at_once]]
            return [
                lanes.apply("mul", q, mean) for q, mean in zip(found, lanes.inputs[at_once:], strict=True)
            ]

        def far(lanes: Lanes) -> list[SSAValue]:
            found = quotients(lanes)
            parts = [lanes.apply("mul", root, 1 / 16) for root in lanes.inputs[:at_once]]
            return [lanes.apply("add", root, q) for root, q in zip(parts, found, strict=True)]

        def near(lanes: Lanes) -> list[SSAValue]:
            found = zip(lanes.inputs[:at_once], quotients(lanes), strict=True)
            sums = [lanes.apply("add", root, q) for root, q in found]
            return [lanes.apply("mul", total, 0.5) for total in sums]

        with builder.step("roots"):
            (x,), (root,) = ([PanelRows(buffer, vlen, 0)] for buffer in (factors, roots))
            emit_elementwise(self.ctx, [x, root], [x], (count, 1), start)
            for steps, closer in ((FAR, far), (NEAR, near)):
                with builder.loop(steps):
                    outs = rows(roots)
                    inputs = [*outs, *rows(factors)]
                    emit_elementwise(self.ctx, outs, inputs, (count // at_once, 1), closer)
            builder.map("reciprocal", x, root, size=(count, 1))

    def _panel_rows(self, panel: Panel, first: Linear) -> PanelRows:
        return PanelRows(self.ctx.builder.view(panel.buffer, first), self.vlen, panel.block)


def _squares_and_scaled(lanes: Lanes) -> list[SSAValue]:
    """The squares of a row, and the row times a gain if there is one."""
    x, *gains = lanes.inputs
    return [lanes.apply("mul", x, x), *(lanes.apply("mul", x, gain) for gain in gains)]
