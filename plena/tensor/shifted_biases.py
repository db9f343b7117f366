"""What is added to scores before a softmax, relative to the largest of its row: bf16 keeps scores beside it then.

A softmax is the same for all scores of a row plus a number, and so are scores less the largest of their row. A row of
nothing but -1e4 is a row without a bias in float32, where the scores are still there; in bf16 -1e4 plus a score is
-1e4. Attention does the same when its biases are staged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf, isfinite

from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern

from plena.dialects import aten
from plena.dialects.aten import full_value
from plena.dialects.tensor_shapes import shape_of
from plena.host.mask_steps import SWALLOWING
from plena.host.values import build
from plena.host.values.graph import HostValue
from plena.tensor.emission import Emitter
from plena.tensor.host_values import HostValues
from plena.tensor.infinities import may_overflow
from plena.tensor.relative_biases import (
    Base,
    added,
    axis_before,
    below_highest,
    chosen,
    full,
    is_bias,
    is_of_integers,
    is_staged,
    line_of,
    may_be_lowest,
    moved_back,
    number_below,
    of_operands,
    relative,
    scaled,
    seen,
    staged,
)

HIDING = -(2.0**26)
"""Lower numbers hide a score beside others, shifted or not."""

DEEPEST = -(2.0**100)
"""Lower numbers do so beside any rows of biases but those of such numbers, whatever is taken off."""


@dataclass(frozen=True)
class _Shifted:
    """Scores less a number for each row.

    Attributes:
        scores: None for zeros.
        bias: what is still to be added, None for nothing.
        several: whether that is a sum: its largest may be far below those of its terms.
        line: what the host computes that is still to be added, and nothing taken off of.
        terms: what that is the sum of, as the model has them.
        base: the number that was taken off each row, None if it is not known to the host.
    """

    scores: SSAValue | None
    base: Base | None = field(default_factory=Base)
    bias: SSAValue | None = None
    several: bool = False
    line: HostValue | None = None
    terms: tuple[SSAValue, ...] = ()

    def with_line(self, line: HostValue, term: SSAValue) -> _Shifted:
        """With one more."""
        total = line if self.line is None else build.binary("add", self.line, line)
        return replace(self, line=total, terms=(*self.terms, term))


class ShiftBiases(RewritePattern):
    """softmax(x + b) becomes softmax(x + (b - max of b's row)); the same for z - amax(z) with z = x + b."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        highest: aten.AmaxOp | None = None
        match op:
            case aten.SoftmaxOp():
                axis = op.dim.value.data - len(shape_of(op.input))
            case aten.SubOp(other=SSAValue(owner=aten.AmaxOp() as highest)) if highest.input == op.input:
                dims = list(highest.dim.get_values())
                if len(dims) > 1 or not highest.keepdim.value.data:
                    return
                axis = dims[0] - len(shape_of(op.input))
            case _:
                return
        e = Emitter(rewriter, op)
        shifter = _Shifter(e)
        shifted = shifter.scores(op.input, axis, 1.0)
        if shifted is None:
            return
        operands = [shifter.whole(shifted, axis)[0]]
        if highest is not None:
            operands.append(e.add(of_operands(highest, operands)))
        rewriter.replace(op, of_operands(op, operands))


@dataclass(frozen=True)
class _Shifter:
    """Shifts biases.

    Attributes:
        hidden: which scores a number takes the place of later, where the host knows: what is taken off a row is the
            largest of the others.
        either: whether of two inputs both are biases, where no scores are known to be hidden: a number that is filled
            in has to be as far above what was taken off as before it is rounded, and only one tensor can be taken off
            it then.
    """

    e: Emitter
    hidden: HostValue | None = None
    either: bool = True

    def scores(self, value: SSAValue, axis: int, factor: float) -> _Shifted | None:
        """`factor` times scores as a softmax along an axis (from the end) makes the same of, biases shifted and numbers
        left out; None if there are none."""
        op = value.owner
        match op:
            case aten.WhereOp():
                return self._sides(op, axis, factor)
            case aten.NegOp():
                return self.scores(op.input, axis, -factor)
            case aten.MulOp() | aten.DivOp():
                return self._multiple(op, axis, factor)
            case aten.PermuteOp() | aten.ViewOp():
                return self._moved(op, axis, factor)
            case aten.AddOp():
                terms = ((op.input, op.other, factor, factor), (op.other, op.input, factor, factor))
            case aten.SubOp():
                terms = ((op.input, op.other, factor, -factor), (op.other, op.input, -factor, factor))
            case _:
                return None
        found = (self._sum(shape_of(value), axis, *term) for term in terms)
        return next((shifted for shifted in found if shifted is not None), None)

    def _sum(
        self,
        shape: tuple[int, ...],
        axis: int,
        scores: SSAValue,
        bias: SSAValue,
        of_scores: float,
        of_bias: float,
    ) -> _Shifted | None:
        """`of_scores` times scores and `of_bias` times a bias."""
        if shape_of(scores) != shape:
            return None
        number = full_value(bias)
        if number is not None:
            if abs(of_bias * number) > SWALLOWING:
                return None
            inner = self.scores(scores, axis, of_scores) or _Shifted(scaled(self.e, scores, of_scores))
            return replace(inner, base=inner.base and inner.base.joined(Base(of_bias * number)))
        if not is_bias(bias) or may_overflow(bias):
            return None
        inner = self.scores(scores, axis, of_scores) or self._other(scores, axis, of_scores)
        lowest = is_of_integers(bias) and may_be_lowest(bias, False)
        line = line_of(bias, of_bias) if lowest or self.hidden is not None else None
        if line is not None:
            return inner.with_line(line, bias)
        below, base = relative(self.e, bias, axis, of_bias)
        if inner.bias is None:
            return replace(inner, bias=below, base=inner.base and base and inner.base.joined(base))
        return _Shifted(inner.scores, None, added(self.e, inner.bias, below), several=True)

    def _other(self, scores: SSAValue, axis: int, factor: float) -> _Shifted:
        """What a bias is added to. Of two inputs either may be the bias."""
        if is_staged(scores) and not may_overflow(scores):
            line = None if self.hidden is None else line_of(scores, factor)
            if line is not None:
                return _Shifted(None).with_line(line, scores)
            if self.either:
                return _Shifted(*relative(self.e, scores, axis, factor))
        return _Shifted(scaled(self.e, scores, factor))

    def whole(self, shifted: _Shifted, axis: int, infinite: bool = False) -> tuple[SSAValue, Base | None]:
        """The scores with their biases, and what was taken off them.

        Args:
            infinite: whether the inputs among the biases may hold minus infinity.
        """
        scores, bias, base, line = shifted.scores, shifted.bias, shifted.base, shifted.line
        if bias is not None and shifted.several:
            bias = below_highest(self.e, bias, axis)
        terms = [x for x in (scores, bias) if x is not None]
        lowest = None
        if line is not None:
            hidden = self.hidden
            if any(may_be_lowest(term, infinite) for term in shifted.terms):
                lowest = build.binary("eq", line, build.full(-inf, "float32"))
                hidden = lowest if hidden is None else build.binary("or", hidden, lowest)
            assert hidden is not None
            below, off = seen(self.e, line, hidden, axis)
            terms.append(below)
            base = base and base.joined(off)
        total = terms[0]
        for term in terms[1:]:
            total = added(self.e, total, term)
        if lowest is not None:
            kept = staged(self.e, build.unary("not", lowest))
            total = chosen(self.e, kept, total, full(self.e, -inf), total.type)
        return total, base

    def _multiple(self, op: aten.MulOp | aten.DivOp, axis: int, factor: float) -> _Shifted | None:
        number = full_value(op.other)
        if not number or not isfinite(number) or shape_of(op.input) != shape_of(op.result):
            return None
        by = factor / number if isinstance(op, aten.DivOp) else factor * number
        return self.scores(op.input, axis, by)

    def _moved(self, op: aten.PermuteOp | aten.ViewOp, axis: int, factor: float) -> _Shifted | None:
        """Scores under another order of axes, or others in one."""
        before = axis_before(op, axis)
        shifter = replace(self, hidden=self.hidden and moved_back(op, self.hidden))
        shifted = None if before is None else shifter.scores(op.input, before, factor)
        if before is None or shifted is None:
            return None
        whole, base = shifter.whole(shifted, before)
        base = base if base and base.staged is None else None
        return _Shifted(self.e.add(of_operands(op, [whole])), base)

    def _sides(self, op: aten.WhereOp, axis: int, factor: float) -> _Shifted | None:
        """A choice between scores and a number, which hides or is as far above what was taken off."""
        sides = [op.input, op.other]
        for n in (0, 1):
            fill = full_value(sides[1 - n])
            if fill is None or shape_of(sides[n]) != shape_of(op.result):
                continue
            is_relative = DEEPEST < factor * fill < inf
            shifter = replace(self, either=self.either and not is_relative, hidden=self._hidden(op, n))
            shifted = shifter.scores(sides[n], axis, factor)
            if shifted is None:
                continue
            sides[n], base = shifter.whole(shifted, axis, factor * fill == -inf)
            if base is not None and is_relative:
                sides[1 - n] = number_below(self.e, factor * fill, base)
            elif factor * fill < HIDING:
                sides[1 - n] = scaled(self.e, sides[1 - n], factor)
            else:
                return None
            return _Shifted(chosen(self.e, op.condition, sides[0], sides[1], op.result.type), base)
        return None

    def _hidden(self, op: aten.WhereOp, scores: int) -> HostValue | None:
        """Where a number takes the place of the side with the scores, here or later."""
        condition = HostValues(real=True).of(op.condition)
        if condition is None:
            return self.hidden
        here = condition if scores else build.unary("not", condition)
        return here if self.hidden is None else build.binary("or", here, self.hidden)
