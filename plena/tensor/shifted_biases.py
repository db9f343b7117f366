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
from plena.tensor.emission import Emitter
from plena.tensor.infinities import may_overflow
from plena.tensor.relative_biases import (
    Base,
    added,
    axis_before,
    below_highest,
    is_bias,
    is_staged,
    number_below,
    of_operands,
    relative,
    scaled,
)

HIDING = -(2.0**26)
"""Lower numbers hide a score beside others, shifted or not."""

DEEPEST = -(2.0**100)
"""Lower numbers do so beside any rows of biases but those of such numbers, whatever is taken off."""


@dataclass(frozen=True)
class _Shifted:
    """Scores less a number for each row.

    Attributes:
        bias: what is still to be added, None for nothing.
        several: whether that is a sum: its largest may be far below those of its terms.
        base: the number that was taken off each row, None if it is not known to the host.
    """

    scores: SSAValue
    base: Base | None = field(default_factory=Base)
    bias: SSAValue | None = None
    several: bool = False


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
        operands = [shifter.whole(shifted, axis)]
        if highest is not None:
            operands.append(e.add(of_operands(highest, operands)))
        rewriter.replace(op, of_operands(op, operands))


@dataclass(frozen=True)
class _Shifter:
    """Shifts biases.

    Attributes:
        either: whether of two inputs both are: a number that is filled in has to be as far above what was taken off
            as before it is rounded, and only one tensor can be taken off it then.
    """

    e: Emitter
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
        below, base = relative(self.e, bias, axis, of_bias)
        if inner.bias is None:
            return replace(inner, bias=below, base=inner.base and base and inner.base.joined(base))
        return _Shifted(inner.scores, None, added(self.e, inner.bias, below), several=True)

    def _other(self, scores: SSAValue, axis: int, factor: float) -> _Shifted:
        """What a bias is added to. Of two inputs either may be the bias."""
        if self.either and is_staged(scores) and not may_overflow(scores):
            return _Shifted(*relative(self.e, scores, axis, factor))
        return _Shifted(scaled(self.e, scores, factor))

    def whole(self, shifted: _Shifted, axis: int) -> SSAValue:
        """The scores with their biases."""
        bias = shifted.bias
        if bias is None:
            return shifted.scores
        if shifted.several:
            bias = below_highest(self.e, bias, axis)
        return added(self.e, shifted.scores, bias)

    def _multiple(self, op: aten.MulOp | aten.DivOp, axis: int, factor: float) -> _Shifted | None:
        number = full_value(op.other)
        if not number or not isfinite(number) or shape_of(op.input) != shape_of(op.result):
            return None
        by = factor / number if isinstance(op, aten.DivOp) else factor * number
        return self.scores(op.input, axis, by)

    def _moved(self, op: aten.PermuteOp | aten.ViewOp, axis: int, factor: float) -> _Shifted | None:
        """Scores under another order of axes, or others in one."""
        before = axis_before(op, axis)
        shifted = None if before is None else self.scores(op.input, before, factor)
        if before is None or shifted is None:
            return None
        base = shifted.base if shifted.base and shifted.base.staged is None else None
        return _Shifted(self.e.add(of_operands(op, [self.whole(shifted, before)])), base)

    def _sides(self, op: aten.WhereOp, axis: int, factor: float) -> _Shifted | None:
        """A choice between scores and a number, which hides or is as far above what was taken off."""
        sides = [op.input, op.other]
        for n in (0, 1):
            fill = full_value(sides[1 - n])
            if fill is None or shape_of(sides[n]) != shape_of(op.result):
                continue
            is_relative = DEEPEST < factor * fill < inf
            shifter = replace(self, either=False) if is_relative else self
            shifted = shifter.scores(sides[n], axis, factor)
            if shifted is None:
                continue
            sides[n] = self.whole(shifted, axis)
            if shifted.base is not None and is_relative:
                sides[1 - n] = number_below(self.e, factor * fill, shifted.base)
            elif factor * fill < HIDING:
                sides[1 - n] = scaled(self.e, sides[1 - n], factor)
            else:
                return None
            operands = [op.condition, *sides]
            chosen = self.e.add(aten.WhereOp.build(operands=operands, result_types=[op.result.type]))
            return _Shifted(chosen, shifted.base)
        return None
