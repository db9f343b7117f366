"""What is added to scores before a softmax, relative to the largest of its row: bf16 keeps scores beside it then.

A softmax is the same for all scores of a row plus a number, and so are scores less the largest of their row. A row of
nothing but -1e4 is a row without a bias in float32, where the scores are still there; in bf16 -1e4 plus a score is
-1e4. Attention does the same when its biases are staged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf, isfinite, isinf

from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern

from plena.dialects import aten
from plena.dialects.aten import full_value
from plena.dialects.tensor_shapes import shape_of
from plena.host.mask_steps import ABSORBING, SWALLOWING
from plena.host.values import build
from plena.host.values.graph import HostValue
from plena.tensor.emission import Emitter
from plena.tensor.host_values import HostValues
from plena.tensor.infinities import may_overflow
from plena.tensor.relative_biases import (
    Base,
    added,
    apart,
    axis_before,
    below_highest,
    chosen,
    full,
    is_bias,
    is_made,
    is_of_integers,
    is_staged,
    is_wide,
    line_of,
    may_be_lowest,
    moved,
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
class _Bias:
    """`factor` times a value, and how the host computes that; None if it does not.

    Attributes:
        is_scores: whether it is what a bias is added to.
    """

    value: SSAValue
    factor: float
    line: HostValue | None
    is_scores: bool = False

    @property
    def is_simple(self) -> bool:
        """Whether it is an input, a constant or a part of one, from which the machine takes nothing but its largest."""
        lowest = is_of_integers(self.value) and may_be_lowest(self.value, False)
        return not lowest and not is_made(self.value)


@dataclass(frozen=True)
class _Shifted:
    """Scores less a number for each row.

    Attributes:
        scores: None for zeros.
        biases: what is still to be added, and nothing taken off of.
        line: what the host computes that is still to be added too.
        terms: what that is made of, as the model has them.
        lowest: whether minus infinity was filled in.
        base: the number that was taken off each row, None if it is not known to the host.
    """

    scores: SSAValue | None
    base: Base | None = field(default_factory=Base)
    biases: tuple[_Bias, ...] = ()
    line: HostValue | None = None
    terms: tuple[SSAValue, ...] = ()
    lowest: bool = False

    def by_host(self) -> _Shifted | None:
        """With all biases in one line, and the number in it that was taken off; None if the host cannot."""
        if self.base is None or self.base.staged is not None:
            return None
        line = self.line
        for bias in self.biases:
            if bias.line is None:
                return None
            line = bias.line if line is None else build.binary("add", line, bias.line)
        if self.base.number:
            number = build.full(self.base.number, "float32")
            line = number if line is None else build.binary("add", line, number)
        terms = (*self.terms, *(bias.value for bias in self.biases))
        return _Shifted(self.scores, line=line, terms=terms, lowest=self.lowest)


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
        shifter = _Shifter(e, shares=highest is None)
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
        hidden: which scores minus infinity takes the place of later, where the host knows: what is taken off a row is
            the largest of the others.
        beside: whether more biases are added later: their sum has a largest, which may be none of theirs.
        shares: whether minus infinity is as good as any number that hides, beside some that is seen.
        either: whether of two inputs both are biases, where no scores are known to be hidden: a number that is filled
            in has to be as far above what was taken off as before it is rounded, and only one tensor can be taken off
            it then.
    """

    e: Emitter
    hidden: HostValue | None = None
    beside: bool = False
    shares: bool = True
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
        inner = replace(self, beside=True).scores(scores, axis, of_scores)
        found = _bias(bias, of_bias)
        inner = inner or self._other(scores, of_scores, found)
        return replace(inner, biases=(*inner.biases, found))

    def _other(self, scores: SSAValue, factor: float, bias: _Bias) -> _Shifted:
        """What a bias is added to. Of two inputs either may be it; a constant that hides by infinity is."""
        is_mask = bias.is_simple and may_be_lowest(bias.value, False)
        known = (self.either and not is_mask) or self.hidden is not None
        return (self.alone(scores, factor) if known else None) or _Shifted(scaled(self.e, scores, factor))

    def alone(self, scores: SSAValue, factor: float) -> _Shifted | None:
        """Scores that are an input or a constant as if they were its bias; None of others."""
        if not is_staged(scores) or may_overflow(scores):
            return None
        return _Shifted(None, biases=(replace(_bias(scores, factor), is_scores=True),))

    def whole(self, shifted: _Shifted, axis: int, infinite: bool = False) -> tuple[SSAValue, Base | None]:
        """The scores with their biases, and what was taken off them.

        Args:
            infinite: whether the inputs among the biases may hold minus infinity.
        """
        scores, biases, base = shifted.scores, shifted.biases, shifted.base
        terms = [] if scores is None else [scores]
        own = [bias for bias in biases if not bias.is_scores]
        alone = (
            shifted.line is None
            and self.hidden is None
            and len(own) <= 1
            and all(b.is_simple for b in biases)
        )
        # Rows and columns may be exchanged then, which is refused of constants that hide: the host's say nothing of it.
        hides = axis != -1 and shifted.line is None and any(is_wide(bias.value) for bias in biases)
        kept = alone or hides or not (biases or shifted.line)
        total = None if kept else replace(shifted, base=Base()).by_host()
        lowest = None
        if total is not None and total.line is not None:
            hidden = self.hidden
            if total.lowest or any(may_be_lowest(term, infinite) for term in total.terms):
                lowest = build.binary("eq", total.line, build.full(-inf, "float32"))
                hidden = lowest if hidden is None else build.binary("or", hidden, lowest)
            line = total.line if hidden is not None or not self.shares else apart(total.line, axis)
            below, off = seen(self.e, line, hidden, axis)
            terms.append(below)
            base = base and base.joined(off)
        elif biases or shifted.line is not None:
            parts = [relative(self.e, bias.value, axis, bias.factor) for bias in biases]
            if shifted.line is not None:
                parts.append(seen(self.e, shifted.line, self.hidden, axis))
            sums = parts[0][0]
            for part, _ in parts[1:]:
                sums = added(self.e, sums, part)
            off = parts[0][1] if len(parts) == 1 else None
            terms.append(sums if len(parts) == 1 else below_highest(self.e, sums, axis))
            base = base and off and base.joined(off)
        result = terms[0]
        for term in terms[1:]:
            result = added(self.e, result, term)
        if lowest is not None:
            kept = staged(self.e, build.unary("not", lowest))
            result = chosen(self.e, kept, result, full(self.e, -inf), result.type)
        return result, base

    def _multiple(self, op: aten.MulOp | aten.DivOp, axis: int, factor: float) -> _Shifted | None:
        number = full_value(op.other)
        if number is None:
            return self._product(op, axis, factor)
        if not number or not isfinite(number) or shape_of(op.input) != shape_of(op.result):
            return None
        by = factor / number if isinstance(op, aten.DivOp) else factor * number
        return self.scores(op.input, axis, by)

    def _product(self, op: aten.MulOp | aten.DivOp, axis: int, factor: float) -> _Shifted | None:
        """Scores with biases, times or over what the host has: so are the scores, and so are the biases."""
        kind = "div" if isinstance(op, aten.DivOp) else "mul"
        pairs = [(op.input, op.other)] if kind == "div" else [(op.input, op.other), (op.other, op.input)]
        for scores, other in pairs:
            by = HostValues(real=True).of(other) if is_bias(other) and not may_overflow(other) else None
            if by is None or shape_of(scores) != shape_of(op.result) or not self.either:
                continue
            inner = replace(self, beside=True).scores(scores, axis, factor)
            if inner is None and shape_of(other)[axis:][:1] in ((), (1,)):
                inner = self.alone(scores, factor)
            inner = inner and inner.by_host()
            if inner is None or inner.line is None or (inner.lowest and kind == "mul"):
                continue  # Minus infinity times 0 is NaN, which the machine makes and the host does not stage.
            times = inner.scores
            if times is not None:
                precise = staged(self.e, build.cast(by, "float32"))
                times = self.e.add(type(op).build(operands=[times, precise], result_types=[op.result.type]))
            line = build.binary(kind, inner.line, build.cast(by, "float32"))
            return replace(inner, scores=times, line=line, terms=(*inner.terms, other))
        return None

    def _moved(self, op: aten.PermuteOp | aten.ViewOp, axis: int, factor: float) -> _Shifted | None:
        """Scores under another order of axes, or others in one."""
        before = axis_before(op, axis)
        if before is None:
            return None
        shifter = replace(self, hidden=self.hidden and moved_back(op, self.hidden))
        shifted = shifter.scores(op.input, before, factor)
        if shifted is None:
            return None
        total = shifted.by_host() if self.beside else None
        if total is not None and total.line is not None:
            scores = total.scores and self.e.add(of_operands(op, [total.scores]))
            return replace(total, scores=scores, line=moved(op, total.line))
        whole, base = shifter.whole(shifted, before)
        base = base if base and base.staged is None else None
        return _Shifted(self.e.add(of_operands(op, [whole])), base)

    def _sides(self, op: aten.WhereOp, axis: int, factor: float) -> _Shifted | None:
        """A choice between scores and a number, which hides or is as far above what was taken off."""
        sides = [op.input, op.other]
        condition = HostValues(real=True).of(op.condition)
        for n in (0, 1):
            fill = full_value(sides[1 - n])
            if fill is None or shape_of(sides[n]) != shape_of(op.result):
                continue
            number = factor * fill
            if condition is not None and (isfinite(number) or (number == -inf and self.beside)):
                shifted = self.scores(sides[n], axis, factor)
                if shifted is None and self.beside:
                    shifted = _Shifted(scaled(self.e, sides[n], factor), line=build.full(0.0, "float32"))
                total = shifted and shifted.by_host()
                if total is not None and total.line is not None:
                    return self._filled(op, n, number, condition, total)
            is_relative = DEEPEST < number < inf
            shifter = replace(self, either=self.either and not is_relative, hidden=self._hidden(condition, n))
            shifted = shifter.scores(sides[n], axis, factor)
            if shifted is None:
                continue
            sides[n], base = shifter.whole(shifted, axis, number == -inf)
            if base is not None and isfinite(number):
                sides[1 - n] = number_below(self.e, number, base)
            elif number < HIDING:
                sides[1 - n] = full(self.e, number)
            else:
                return None
            return _Shifted(chosen(self.e, op.condition, sides[0], sides[1], op.result.type), base)
        return None

    def _filled(
        self, op: aten.WhereOp, n: int, number: float, condition: HostValue, total: _Shifted
    ) -> _Shifted:
        """A number in the place of scores and biases: none of the scores, and that for a bias."""
        assert total.line is not None
        filled = build.full(number, "float32")
        sides = (filled, total.line) if n else (total.line, filled)
        scores = total.scores
        if scores is not None and number > -ABSORBING * 64:
            zero = full(self.e, 0.0)
            choice = (zero, scores) if n else (scores, zero)
            scores = chosen(self.e, op.condition, *choice, op.result.type)
        line = build.where(condition, *sides, "float32")
        return replace(total, scores=scores, line=line, lowest=total.lowest or isinf(number))

    def _hidden(self, condition: HostValue | None, scores: int) -> HostValue | None:
        """Where a number takes the place of the side with the scores, here or later."""
        if condition is None:
            return self.hidden
        here = condition if scores else build.unary("not", condition)
        return here if self.hidden is None else build.binary("or", here, self.hidden)


def _bias(value: SSAValue, factor: float) -> _Bias:
    return _Bias(value, factor, line_of(value, factor))
