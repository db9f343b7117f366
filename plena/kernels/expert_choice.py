"""The choice of experts: V_TOPK gives the ids of a token's largest scores, FP SRAM makes rows of 0 and 1 of them.

Nothing but V_TOPK brings a number from vector SRAM to INT SRAM (plena_isa.md section 1). It looks at 32 or 128 scores:
fewer have others behind them that are below every score; of more the best of each 128 are chosen, then of those.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from plena.dialects.loop import Linear
from plena.dialects.plena_isa.vector import TOPK_SHAPES
from plena.dialects.refusals import refusal
from plena.dialects.tile import (
    ClearIdsOp,
    LookUpIdsOp,
    MarkLanesOp,
    OffsetIdsOp,
    PanelRows,
    SplatOp,
    TopkOp,
)
from plena.integers import ceil_div, round_up
from plena.kernels.context import ChosenIds, KernelContext
from plena.kernels.fp_sram import column_hiding, fill, sum_of_row
from plena.kernels.lanes import Lanes, emit_elementwise
from plena.kernels.tensors import Panel
from plena.machine.scalar_codes import BF16_MAX


def policy_for(experts: int, chosen: int) -> int | None:
    """The V_TOPK policy that chooses among so many, the cheapest one; None if there is none."""
    fits = [p for p, (most, kept) in TOPK_SHAPES.items() if experts <= most and chosen <= kept]
    return min(fits, key=lambda policy: TOPK_SHAPES[policy][0], default=None)


@dataclass(frozen=True)
class _Finalists:
    """The best of each piece of the scores.

    Attributes:
        policy: chooses among them.
        ids: in INT SRAM, zeros behind them as far as V_TOPK looks.
        scores: in FP SRAM, minus infinity behind them as far as V_TOPK looks.
        lanes: room for these scores in vector SRAM.
        one_score: room in vector SRAM for a piece of the scores.
    """

    policy: int
    ids: SSAValue
    scores: SSAValue
    lanes: SSAValue
    one_score: SSAValue


class ExpertChoice:
    """Chooses columns of the rows of a packed panel.

    Args:
        op: what is blamed.
        source: the scores.
        chosen: how many of a row, at most 8.

    Raises:
        CompileError: FP SRAM has no room for a row, or there are more columns than V_TOPK looks at and pieces of them
            begin in the middle of a row of vector SRAM, or may be NaN.
    """

    def __init__(self, ctx: KernelContext, op: Operation, source: Panel, chosen: int) -> None:
        self.ctx, self.source, self.chosen = ctx, source, chosen
        builder, vlen, columns = ctx.builder, ctx.target.vlen, source.columns
        found = policy_for(columns, chosen)
        self.policy = max(TOPK_SHAPES, key=lambda policy: TOPK_SHAPES[policy]) if found is None else found
        self.width, self.kept = TOPK_SHAPES[self.policy]
        self.pieces = ceil_div(columns, self.width)
        lanes = round_up(self.pieces * self.width, vlen)
        self._require(op, lanes)
        whole = columns == self.pieces * self.width
        self.hiding = None if whole else column_hiding(ctx, columns, lanes // vlen)
        self.scores = builder.buffer("scores", "vector", lanes)
        self.row: SSAValue | None = None
        self.ids = self._words("ids", self.kept)
        self.weights = builder.buffer("weights", "fp", self.kept)
        if self.hiding is not None and lanes > source.blocks(vlen) * vlen:
            self._bound([self._rows(self.scores)], [self._rows(self.hiding)], (lanes // vlen, 1))
        self.finalists = self._new_finalists() if self.pieces > 1 else None
        if self.finalists is not None:
            # Their scores are read by marking them.
            self.make_marks()

    def of(self, row: Linear, kept: ChosenIds | None = None) -> SSAValue:
        """The ids of a row's chosen columns in INT SRAM, that of the largest score first.

        Args:
            kept: where those of all rows go; without it they are there until those of the next row.
        """
        self._copy_scores(row)
        ids, weights = (None, None) if kept is None else self._of_row(row, kept)
        if self.finalists is None:
            ids = self.ids if ids is None else ids
            self._topk(ids, self.scores, self.policy, weights)
        else:
            finalists = self.finalists
            positions = self._words(f"positions_{finalists.policy}", self.kept)
            self._choose_finalists(finalists)
            self._topk(positions, finalists.lanes, finalists.policy)
            ids = self._words("chosen_ids", self.kept) if ids is None else ids
            self.ctx.builder.insert(
                LookUpIdsOp(ids=ids, positions=positions, table=finalists.ids, count=self.chosen)
            )
        return ids

    def _words(self, name: str, count: int) -> SSAValue:
        """INT SRAM that all choices of the program use, so that bounds of what it holds are theirs."""
        name = f"{name}_{self.policy}"
        known = self.ctx.id_words
        if name not in known:
            known[name] = self.ctx.builder.buffer(name, "int", count)
        return known[name]

    def mark(self, ids: SSAValue, out: SSAValue, out_block: int) -> None:
        """A row of a packed panel = 1 in the columns of the chosen ids, 0 elsewhere."""
        self._mark(ids, self.chosen, out, out_block, 0, self.source.blocks(self.ctx.target.vlen))

    def _require(self, op: Operation, lanes: int) -> None:
        target, columns = self.ctx.target, self.source.columns
        if lanes > target.fp_sram_size // 2:
            raise refusal(
                op,
                f"the chosen ones of {columns} are marked in FP SRAM, where {lanes} words take more than half",
                "Choose from fewer, or use a target with a smaller VLEN.",
            )
        if self.pieces > 1 and self.width % target.vlen:
            raise refusal(
                op,
                f"V_TOPK looks at {self.width} of {columns} numbers, and the ones behind do not begin a row of "
                f"{target.vlen} lanes (VLEN)",
                f"Choose from at most {self.width}, or use a target whose VLEN divides {self.width}.",
            )
        if self.pieces > 1 and any(self.ctx.undefined.may_be_nan(operand) for operand in op.operands):
            raise refusal(
                op,
                f"more than {self.width} numbers that may be NaN are chosen from",
                "Keep them finite, as in x.clamp(-1e4, 1e4) before what overflows.",
            )

    def _rows(self, buffer: SSAValue) -> PanelRows:
        """Consecutive rows."""
        return PanelRows(buffer, self.ctx.target.vlen, 0)

    def _copy_scores(self, row: Linear) -> None:
        """The scores of a token one behind the other; minus zero becomes zero, which V_TOPK tells apart.

        Scores of which pieces are chosen are finite: they are read by products with zeros and ones.
        """
        builder, vlen, block = self.ctx.builder, self.ctx.target.vlen, self.source.block
        given = [PanelRows(builder.view(self.source.buffer, row * vlen), 0, block)]
        if self.hiding is not None:
            given.append(PanelRows(self.hiding, 0, vlen))
        self._bound([PanelRows(self.scores, 0, vlen)], given, (1, self.source.blocks(vlen)))

    def _bound(self, out: list[PanelRows], given: list[PanelRows], size: tuple[int, int]) -> None:
        """out = the sum of one or two panels, finite where pieces are chosen from."""

        def bounded(lanes: Lanes) -> SSAValue:
            first, *rest = lanes.inputs
            total = lanes.apply("add", first, rest[0] if rest else 0.0)
            if self.pieces == 1:
                return total
            return lanes.apply("min", lanes.apply("max", total, -BF16_MAX), BF16_MAX)

        emit_elementwise(self.ctx, out, given, size, bounded)

    def _of_row(self, row: Linear, kept: ChosenIds) -> tuple[SSAValue, SSAValue]:
        """Where ids and weights of a row are kept."""
        view, start = self.ctx.builder.view, row * kept.pitch
        return view(kept.ids, start), view(kept.weights, start)

    def _topk(self, ids: SSAValue, scores: SSAValue, policy: int, weights: SSAValue | None = None) -> None:
        weights = self.weights if weights is None else weights
        self.ctx.builder.insert(TopkOp(ids=ids, weights=weights, x=scores, policy=policy))

    def _mark(
        self, ids: SSAValue, count: int, out: SSAValue, out_block: int, first: int, blocks: int
    ) -> None:
        self.ctx.builder.insert(
            MarkLanesOp(
                out=out,
                row=self._marked(),
                ids=ids,
                one=self.ctx.builder.constant(1.0),
                count=count,
                blocks=blocks,
                out_block=out_block,
                first=first,
            )
        )

    def _marked(self) -> SSAValue:
        """A row of zeros in FP SRAM, written before the first choice."""
        assert self.row is not None, "make_marks comes first"
        return self.row

    def make_marks(self) -> None:
        """Writes the zeros in FP SRAM that rows are marked in; before the loop over rows."""
        if self.row is not None:
            return
        lanes = round_up(self.pieces * self.width, self.ctx.target.vlen)
        self.row = self.ctx.builder.buffer("marked", "fp", lanes)
        fill(self.ctx, self.row, 0.0, lanes)

    def _new_finalists(self) -> _Finalists:
        builder, vlen = self.ctx.builder, self.ctx.target.vlen
        count = self.pieces * self.kept
        policy = policy_for(count, self.chosen)
        assert policy is not None, "as many pieces as V_TOPK keeps experts"
        most, _ = TOPK_SHAPES[policy]
        words = round_up(most, vlen)
        finalists = _Finalists(
            policy,
            ids=self._words(f"finalists_{policy}", most),
            scores=builder.buffer("final_scores", "fp", words),
            lanes=builder.buffer("final_lanes", "vector", words),
            one_score=builder.buffer("one_score", "vector", round_up(self.width, vlen)),
        )
        fill(self.ctx, finalists.scores, float("-inf"), words)
        builder.insert(ClearIdsOp(ids=builder.view(finalists.ids, count), count=most - count))
        return finalists

    def _choose_finalists(self, finalists: _Finalists) -> None:
        """The best of each piece, ids and scores, the scores as lanes too."""
        builder, vlen = self.ctx.builder, self.ctx.target.vlen
        for piece in range(self.pieces):
            first = piece * self.width
            scores = builder.view(self.scores, first)
            ids = builder.view(finalists.ids, piece * self.kept)
            self._topk(self.ids, scores, self.policy)
            builder.insert(OffsetIdsOp(ids=ids, x=self.ids, count=self.kept, offset=first))
            with builder.loop(self.kept) as number:
                score = builder.view(finalists.scores, number + piece * self.kept)
                self._read_score(finalists, builder.view(ids, number), scores, first, score)
        words = round_up(TOPK_SHAPES[finalists.policy][0], vlen)
        for start in range(0, words, vlen):
            lanes, numbers = (builder.view(b, start) for b in (finalists.lanes, finalists.scores))
            builder.insert(SplatOp(dst=lanes, values=numbers, rows=1, dst_row=vlen))

    def _read_score(
        self, finalists: _Finalists, column: SSAValue, scores: SSAValue, first: int, score: SSAValue
    ) -> None:
        """The score of one column of a piece to FP SRAM: what is left of the piece times a row with a single one."""
        builder, vlen = self.ctx.builder, self.ctx.target.vlen
        blocks, lanes = self.width // vlen, finalists.one_score
        self._mark(column, 1, lanes, vlen, first, blocks)
        builder.map("mul", self._rows(lanes), self._rows(lanes), self._rows(scores), size=(blocks, 1))
        sum_of_row(self.ctx, lanes, blocks, score)
