"""Lowerings of norms: sums of a row over its column blocks first, one V_RED_SUM last."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from plena.dialects.loop import Linear
from plena.dialects.tile import NormalizeLaneGroupsOp, NormalizeRowsOp
from plena.instructions.context import Lowering, lowers
from plena.instructions.instruction_builder import InstructionBuilder
from plena.instructions.row_sums import add_blocks, reduce_sum


@dataclass(frozen=True)
class _Constants:
    """A norm's constants, and the cell it computes its factor in."""

    builder: InstructionBuilder
    eps: Linear
    inverse: SSAValue
    total: SSAValue

    @staticmethod
    def of(op: NormalizeRowsOp | NormalizeLaneGroupsOp, ctx: Lowering) -> _Constants:
        return _Constants(ctx.builder, ctx.at(op.eps), ctx.load(op.inverse), ctx.builder.f_cell())

    def factor(self, squares: Linear) -> None:
        """total = 1 / sqrt(inverse * (eps + the sum of a row of squares))."""
        reduce_sum(self.builder, self.total, squares, self.eps)
        self.root()

    def root(self) -> None:
        """total = 1 / sqrt(inverse * total)."""
        builder, total = self.builder, self.total
        builder.emit("S_MUL_FP", dst=total, a=total, b=self.inverse)
        builder.emit("S_SQRT_FP", dst=total, a=total)
        builder.emit("S_RECI_FP", dst=total, a=total)

    def mean(self, row: Linear) -> None:
        """total = the mean of a row of sums."""
        reduce_sum(self.builder, self.total, row)
        self.divide()

    def divide(self) -> None:
        """total = inverse * total."""
        self.builder.emit("S_MUL_FP", dst=self.total, a=self.total, b=self.inverse)


@dataclass(frozen=True)
class _Row:
    """One row being normalised. `mean` is the cell to subtract, None where nothing is."""

    builder: InstructionBuilder
    x: Linear
    x_block: int
    out: Linear
    out_block: int
    mask: Linear | None
    mean: SSAValue | None

    def square(self, b: Linear, dst: Linear, mask: Linear | None) -> None:
        """dst = the squares of the deviations of block b; the deviations go to the output."""
        builder, x, out = self.builder, self.x + b * self.x_block, self.out + b * self.out_block
        if self.mean is None:
            builder.emit("V_MUL_VV", dst=dst, a=x, b=x)
            if mask is not None:
                builder.emit("V_MUL_VV", dst=dst, a=dst, b=mask)
            return
        builder.emit("V_SUB_VF", dst=out, a=x, b=self.mean)
        if mask is not None:
            builder.emit("V_MUL_VV", dst=out, a=out, b=mask)
        builder.emit("V_MUL_VV", dst=dst, a=out, b=out)

    def add_squares(self, blocks: int, total: Linear, spare: Linear, part: Linear, chunk: int) -> None:
        """total = the sum of the squares over the blocks: the masked last one first, else the first one first; the
        others `chunk` at a time, in the row `part`, unless that is 0."""
        masked = self.mask is not None
        self.square(Linear(blocks - 1 if masked else 0), total, self.mask)
        start, others = Linear(0 if masked else 1), blocks - 1
        if not chunk:
            self._add_on(total, start, others, spare)
            return
        whole, rest = divmod(others, chunk)
        with self.builder.loop(whole) as c:
            self._add_chunk(total, start + c * chunk, chunk, spare, part)
        if rest:
            self._add_chunk(total, start + whole * chunk, rest, spare, part)

    def _add_chunk(self, total: Linear, first: Linear, count: int, spare: Linear, part: Linear) -> None:
        self.square(first, part, None)
        self._add_on(part, first + 1, count - 1, spare)
        self.builder.emit("V_ADD_VV", dst=total, a=total, b=part)

    def _add_on(self, total: Linear, first: Linear, count: int, spare: Linear) -> None:
        """total += the squares of `count` blocks, one after the other."""
        if count:
            with self.builder.loop(count) as b:
                self.square(b + first, spare, None)
                self.builder.emit("V_ADD_VV", dst=total, a=total, b=spare)

    def scale(self, blocks: int, factor: SSAValue) -> None:
        """out = deviations * factor."""
        source, block = (self.x, self.x_block) if self.mean is None else (self.out, self.out_block)
        with self.builder.loop(blocks) as b:
            self.builder.emit("V_MUL_VF", dst=self.out + b * self.out_block, a=source + b * block, b=factor)


def _normalize_by_blocks(
    row: _Row, blocks: int, scratch: Linear, constants: _Constants, squares: SSAValue
) -> None:
    """A row whose sums are made block by block; `squares` is a cell for theirs."""
    builder, total = row.builder, constants.total
    if row.mean is not None:
        builder.emit("S_ADD_FP", dst=total, a=builder.f0, b=builder.f0)
        with builder.loop(blocks) as b:
            builder.emit("V_RED_SUM", acc=total, a=row.x + b * row.x_block)
        constants.divide()
    builder.emit("S_LD_FP", dst=squares, base=constants.eps)
    with builder.loop(blocks) as b:
        row.square(b, scratch, None)
        builder.emit("V_RED_SUM", acc=squares, a=scratch)
    replace(constants, total=squares).root()
    row.scale(blocks, squares)


def _take_turns(op: NormalizeRowsOp, ctx: Lowering, constants: _Constants) -> None:
    """Several rows at a time, an instruction of all of them and then the next one; the last rows alone."""
    vlen, together = ctx.target.vlen, op.together
    x, out, scratch = ctx.at(op.x), ctx.at(op.out), ctx.at(op.scratch)
    others = [replace(constants, total=ctx.builder.f_cell()) for _ in range(together - 1)]

    def rows(first: Linear, count: int) -> None:
        _normalize_together(
            [
                _Row(
                    ctx.builder,
                    x + (first + n) * vlen,
                    op.x_block,
                    out + (first + n) * vlen,
                    op.out_block,
                    None,
                    None,
                )
                for n in range(count)
            ],
            [constants, *others][:count],
            [scratch + 2 * n * vlen for n in range(count)],
            op.blocks,
            vlen,
        )

    whole, rest = divmod(op.rows, together)
    if whole:
        with ctx.builder.loop(whole) as group:
            rows(group * together, together)
    if rest:
        with ctx.builder.loop(rest) as row:
            rows(row + whole * together, 1)


def _normalize_together(
    rows: list[_Row], constants: list[_Constants], totals: list[Linear], blocks: int, vlen: int
) -> None:
    """The rms norm of rows; `totals` are the first of two rows of scratch of each."""
    builder, each = rows[0].builder, list(zip(rows, totals, strict=True))
    for row, total in each:
        row.square(Linear(0), total, None)
    if blocks > 1:
        with builder.loop(blocks - 1) as b:
            for row, total in each:
                row.square(b + 1, total + vlen, None)
            for _, total in each:
                builder.emit("V_ADD_VV", dst=total, a=total, b=total + vlen)
    for own in constants:
        builder.emit("S_LD_FP", dst=own.total, base=own.eps)
    for own, total in zip(constants, totals, strict=True):
        builder.emit("V_RED_SUM", acc=own.total, a=total)
    for own in constants:
        builder.emit("S_MUL_FP", dst=own.total, a=own.total, b=own.inverse)
    for own in constants:
        builder.emit("S_SQRT_FP", dst=own.total, a=own.total)
    for own in constants:
        builder.emit("S_RECI_FP", dst=own.total, a=own.total)
    with builder.loop(blocks) as b:
        for row, own in zip(rows, constants, strict=True):
            builder.emit("V_MUL_VF", dst=row.out + b * row.out_block, a=row.x + b * row.x_block, b=own.total)


@lowers(NormalizeRowsOp)
def lower_normalize_rows(op: NormalizeRowsOp, ctx: Lowering) -> None:
    """Two passes: deviations are written to the output as soon as the mean is known, squares are made of them."""
    builder, vlen = ctx.builder, ctx.target.vlen
    blocks, layer = op.blocks, op.kind == "layer"
    x, out, scratch = ctx.at(op.x), ctx.at(op.out), ctx.at(op.scratch)
    mask = None if op.mask is None else ctx.at(op.mask)
    constants = _Constants.of(op, ctx)
    if op.together > 1:
        _take_turns(op, ctx, constants)
        return
    mean = constants.total if layer else None
    squares = builder.f_cell() if op.summing else constants.total
    with builder.loop(op.rows) as r:
        row = _Row(builder, x + r * vlen, op.x_block, out + r * vlen, op.out_block, mask, mean)
        if op.summing:
            _normalize_by_blocks(row, blocks, scratch, constants, squares)
            return
        if layer:
            constants.mean(add_blocks(builder, row.x, blocks, row.x_block, scratch, mask, chunk=op.chunk))
        row.add_squares(blocks, scratch, scratch + vlen, scratch + 2 * vlen, op.chunk)
        constants.factor(scratch)
        row.scale(blocks, constants.total)


@lowers(NormalizeLaneGroupsOp)
def lower_normalize_lane_groups(op: NormalizeLaneGroupsOp, ctx: Lowering) -> None:
    """Per group a masked row is summed; the groups' means and factors are put together as rows by the masks."""
    builder, vlen = ctx.builder, ctx.target.vlen
    x, out, scratch, masks = (ctx.at(v) for v in (op.x, op.out, op.scratch, op.masks))
    constants = _Constants.of(op, ctx)
    total = constants.total
    part, row_of_factors, squares = (scratch + i * vlen for i in range(3))

    def each_group(source: Linear, *, root: bool) -> None:
        """row_of_factors = the mean of every group of a row, or the factor its squares give, in the group's lanes."""
        for first, count in ((0, 1), (1, op.groups - 1)):
            if not count:
                continue
            with builder.loop(count) as g:
                mask = masks + (g + first) * vlen
                builder.emit("V_MUL_VV", dst=part, a=source, b=mask)
                if root:
                    constants.factor(part)
                else:
                    constants.mean(part)
                if not first:
                    builder.emit("V_MUL_VF", dst=row_of_factors, a=mask, b=total)
                else:
                    builder.emit("V_MUL_VF", dst=part, a=mask, b=total)
                    builder.emit("V_ADD_VV", dst=row_of_factors, a=row_of_factors, b=part)

    with builder.loop(op.blocks) as b, builder.loop(op.rows) as r:
        source, dst = x + b * op.x_block + r * vlen, out + b * op.out_block + r * vlen
        if op.kind == "layer":
            each_group(source, root=False)
            builder.emit("V_SUB_VV", dst=dst, a=source, b=row_of_factors)
            source = dst
        builder.emit("V_MUL_VV", dst=squares, a=source, b=source)
        each_group(squares, root=True)
        builder.emit("V_MUL_VV", dst=dst, a=source, b=row_of_factors)
