"""A softmax along another axis than the last one: masks are turned by the host, and added behind the exchange of axes.

What exchanges axes of computed numbers stores them in a number format, which loses small numbers beside large ones and
infinities altogether. So what is added to scores does not go through it.
"""

from __future__ import annotations

from xdsl.dialects.builtin import DenseArrayBase, i64
from xdsl.ir import SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import Emitter
from plena.tensor.relative_biases import is_bias, of_rank, of_shape


class TurnMasks(RewritePattern):
    """softmax(x + b, axis) becomes the permutation of softmax(permuted x + permuted b, last axis)."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.SoftmaxOp, rewriter: PatternRewriter) -> None:
        shape, axis = shape_of(op.input), op.dim.value.data
        last = len(shape) - 1
        if axis == last or _parts(op.input) is None:
            return
        e = Emitter(rewriter, op)
        dims = [*(d for d in range(len(shape)) if d != axis), axis]
        scores = _turned(e, op.input, dims)
        properties = {**op.properties, "dim": type(op.dim)(last, i64)}
        shares = e.add(
            aten.SoftmaxOp.build(operands=[scores], properties=properties, result_types=[scores.type])
        )
        rewriter.replace(op, [], [_permuted(e, shares, [dims.index(d) for d in range(len(shape))])])


def _parts(value: SSAValue) -> tuple[SSAValue, SSAValue] | None:
    """The scores and the mask of a sum that nothing else reads."""
    op = value.owner
    if not isinstance(op, aten.AddOp) or not value.has_one_use():
        return None
    for scores, mask in ((op.input, op.other), (op.other, op.input)):
        if is_bias(mask) and shape_of(scores) == shape_of(value) and shape_of(mask):
            return scores, mask
    return None


def _turned(e: Emitter, value: SSAValue, dims: list[int]) -> SSAValue:
    parts = _parts(value)
    if parts is None:
        return _permuted(e, value, dims)
    scores, mask = parts
    mask = of_rank(e, mask, len(dims))
    turned = _turned(e, scores, dims)
    sides = [turned, _permuted(e, mask, dims)]
    return e.add(aten.AddOp.build(operands=sides, result_types=[turned.type]))


def _permuted(e: Emitter, value: SSAValue, dims: list[int]) -> SSAValue:
    op = of_shape(aten.PermuteOp, value, tuple(shape_of(value)[d] for d in dims))
    op.properties["dims"] = DenseArrayBase.from_list(i64, dims)
    return e.add(op)


__all__ = ["TurnMasks"]
