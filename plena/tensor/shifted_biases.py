"""What is added to scores before a softmax, relative to the largest of its row: bf16 keeps scores beside it then.

A softmax is the same for all scores of a row plus a number. A row of nothing but -1e4 is a row without a bias in
float32, where the scores are still there; in bf16 -1e4 plus a score is -1e4. Attention does the same when its biases
are staged.
"""

from __future__ import annotations

from xdsl.dialects.builtin import BoolAttr, DenseArrayBase, Float32Type, FloatAttr, TensorType, f64, i64
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern

from plena.dialects import aten, plena
from plena.dialects.aten import full_value
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.host.mask_steps import ABSORBED
from plena.tensor.emission import Emitter
from plena.tensor.infinities import may_overflow

HIDING = 64 * ABSORBED
"""Lower numbers hide a score beside others, shifted or not."""

MOST = 12
"""Operators of a bias at most."""

_LAYOUTS = (aten.ViewOp, aten.PermuteOp, aten.ExpandOp)
"""What the host does to all of a tensor while it stages it: parts are taken on the machine."""

_OF_BIASES = (*_LAYOUTS, aten.SliceOp, aten.NegOp, aten.AddOp, aten.SubOp, aten.MulOp, aten.FullOp)
"""What biases are computed by."""


class ShiftBiases(RewritePattern):
    """softmax(x + b) becomes softmax(x + (b - max of b's row))."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, aten.SoftmaxOp):
            return
        scores = _shifted_scores(Emitter(rewriter, op), op.input, op.dim.value.data - len(shape_of(op.input)))
        if scores is not None:
            _replace_input(rewriter, op, scores)


def _shifted_scores(e: Emitter, value: SSAValue, axis: int) -> SSAValue | None:
    """What a softmax makes the same of, its biases shifted and numbers left out; None if there are none."""
    op = value.owner
    if not value.has_one_use():
        return None
    match op:
        case aten.WhereOp():
            return _shifted_sides(e, op, axis)
        case aten.SubOp() if _vanishes(op.other) and shape_of(op.input) == shape_of(value):
            return _shifted_scores(e, op.input, axis) or op.input
        case aten.AddOp():
            for scores, bias in ((op.input, op.other), (op.other, op.input)):
                if _vanishes(bias) and shape_of(scores) == shape_of(value):
                    return _shifted_scores(e, scores, axis) or scores
                if is_bias(bias) and not may_overflow(bias):
                    operands = [_shifted_scores(e, scores, axis) or scores, _shifted(e, bias, axis)]
                    return e.add(aten.AddOp.build(operands=operands, result_types=[value.type]))
            return None
        case _:
            return None


def _shifted_sides(e: Emitter, op: aten.WhereOp, axis: int) -> SSAValue | None:
    """A choice between scores and a number that hides."""
    sides = [op.input, op.other]
    for n in (0, 1):
        fill = full_value(sides[1 - n])
        if fill is not None and fill < HIDING:
            scores = _shifted_scores(e, sides[n], axis)
            if scores is None or shape_of(scores) != shape_of(sides[n]):
                return None
            sides[n] = scores
            return e.add(aten.WhereOp.build(operands=[op.condition, *sides], result_types=[op.result.type]))
    return None


def _vanishes(value: SSAValue) -> bool:
    """Whether a value is one number, of a size beside which float32 keeps scores: a softmax does not see it."""
    number = full_value(value)
    return number is not None and abs(number) <= -ABSORBED


def _replace_input(rewriter: PatternRewriter, op: aten.SoftmaxOp, value: SSAValue) -> None:
    properties = dict(op.properties)
    rewriter.replace(
        op, aten.SoftmaxOp.build(operands=[value], properties=properties, result_types=[op.result.type])
    )


def is_bias(value: SSAValue) -> bool:
    """Whether a value is an input or a constant, or comes of some by a few operators that weigh nothing."""
    return bool(_sources(value, MOST, _OF_BIASES))


def _is_staged(value: SSAValue) -> bool:
    """Whether the host stages all of a tensor: it subtracts before anything is rounded."""
    return isinstance(element_type_of(value), Float32Type) and bool(_sources(value, MOST, _LAYOUTS))


def _sources(value: SSAValue, most: int, through: tuple[type[Operation], ...]) -> list[SSAValue] | None:
    """The inputs and constants that a value comes of through at most so many of some operators, None if of others."""
    if isinstance(value, BlockArgument) or isinstance(value.owner, aten.ConstantOp | plena.HostOp):
        return [value]
    if not isinstance(value.owner, through) or not most:
        return None
    found: list[SSAValue] = []
    for operand in value.owner.operands:
        sources = _sources(operand, most - 1, through)
        if sources is None:
            return None
        found += sources
    return found


def _shifted(e: Emitter, bias: SSAValue, axis: int) -> SSAValue:
    shape = shape_of(bias)
    dim = len(shape) + axis
    if dim < 0:
        return bias
    if _is_staged(bias):
        return e.add(plena.RelativeOp(bias, dim))
    row = TensorType(element_type_of(bias), [1 if n == dim else size for n, size in enumerate(shape)])
    highest = e.add(
        aten.AmaxOp.build(
            operands=[bias],
            properties={"dim": DenseArrayBase.from_list(i64, [dim]), "keepdim": BoolAttr.from_bool(True)},
            result_types=[row],
        )
    )
    base = e.add(
        aten.ClampOp.build(
            operands=[highest], properties={"min": FloatAttr(ABSORBED, f64)}, result_types=[row]
        )
    )
    return e.add(aten.SubOp.build(operands=[bias, base], result_types=[bias.type]))
