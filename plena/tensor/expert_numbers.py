"""Which tensors hold a number for each token and expert that is 0 where the expert is not chosen."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from xdsl.dialects.builtin import Float32Type
from xdsl.ir import Operation, SSAValue

from plena.dialects import aten
from plena.dialects.aten import full_value
from plena.dialects.plena import RouteOp
from plena.dialects.tensor_shapes import element_type_of, shape_of

KEEPS_ZERO = (
    *(aten.NegOp, aten.AbsOp, aten.SqrtOp, aten.TanhOp, aten.Expm1Op, aten.ErfOp, aten.SiluOp, aten.GeluOp),
    *(aten.ReluOp, aten.LeakyReluOp, aten.EluOp, aten.MishOp, aten.ToOp),
)
"""Operations that make 0 of 0."""

_FAR_BELOW = -1e29
"""What is at most this, added to a score, leaves nothing of its exponential."""


def numbers_of(route: RouteOp, behind: Iterable[Operation]) -> set[SSAValue]:
    """The values [*tokens, E] that are 0 where the choice's mask is, among the results of ops behind it.

    Args:
        behind: in their order.
    """
    shape = shape_of(route.result)
    known: set[SSAValue] = {route.result}
    for op in behind:
        if len(op.results) == 1 and op.operands and _is_number(op, shape, known):
            known.add(op.results[0])
    return known


def _is_number(op: Operation, shape: tuple[int, ...], known: set[SSAValue]) -> bool:
    own = shape_of(op.results[0])
    if own[-1:] != shape[1:] or prod(own[:-1]) != shape[0]:
        return False
    match op:
        case aten.ViewOp():
            return op.input in known
        case aten.MulOp():
            return any(operand in known and shape_of(operand) == own for operand in op.operands)
        case aten.DivOp():
            return op.input in known and shape_of(op.input) == own
        case aten.AddOp() | aten.SubOp():
            return op.input in known and op.other in known
        case aten.SoftmaxOp():
            return op.dim.value.data == len(own) - 1 and _is_of_chosen(op.input, known)
        case aten.SigmoidOp():
            return _is_of_chosen(op.input, known)
        case _:
            return isinstance(op, KEEPS_ZERO) and op.operands[0] in known


def _is_of_chosen(scores: SSAValue, known: set[SSAValue]) -> bool:
    """Whether the scores of those that are not chosen have had a number added that is far below, the others 0."""
    while isinstance(scores.owner, aten.ViewOp | aten.ToOp):
        scores = scores.owner.input
    total = scores.owner
    if not isinstance(total, aten.AddOp):
        return False
    for hidden in (operand.owner for operand in total.operands):
        if isinstance(hidden, aten.SubOp) and isinstance(scaled := hidden.input.owner, aten.MulOp):
            numbers = full_value(scaled.other), full_value(hidden.other)
            far = numbers[0] is not None and numbers[0] == numbers[1] and -numbers[0] <= _FAR_BELOW
            if far and is_mask(scaled.input, known):
                return True
    return False


def is_mask(value: SSAValue, known: set[SSAValue]) -> bool:
    """Whether it is the mask of zeros and ones itself, under another shape or as truths."""
    while isinstance(value.owner, aten.ViewOp | aten.ToOp):
        value = value.owner.input
    return value in known and isinstance(value.owner, RouteOp)


def without_truths(value: SSAValue) -> SSAValue:
    """The zeros and ones that truths were made of."""
    while isinstance(owner := value.owner, aten.ToOp) and element_type_of(value) != Float32Type():
        value = owner.input
    return value
