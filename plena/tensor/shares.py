"""Rows that are divided by their own sum, as weights of chosen experts are."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.ranges import range_of
from plena.tensor.same_values import same_value


def is_share(op: plena.DivOp) -> bool:
    """Whether rows of numbers that are not negative are divided by their own sum, or that of the chosen ones.

    Where it is 0 its reciprocal makes NaN or infinity of all of the row, and PyTorch NaN of what is summed up.
    """
    return _mask(op) is not None and range_of(op.lhs).is_nonnegative


def is_share_of_sigmoids(op: plena.DivOp) -> bool:
    """Whether they are sigmoids. Those are never 0: exponentials end at e^88, whose reciprocal is a number, as is that
    of their sum. What is not chosen may be far above it, so it must meet the mask next, or experts that the mask
    chooses.
    """
    mask = _mask(op)
    if mask is None or not _is_sigmoid(op.lhs):
        return False
    return mask is op.lhs or all(_picks(use.operation, mask, op.result) for use in op.result.uses)


def _picks(reader: Operation, mask: SSAValue, share: SSAValue) -> bool:
    """Whether it leaves what the mask chooses."""
    match reader:
        case plena.MulOp():
            return mask in reader.operands
        case plena.ChosenExpertsOp():
            return same_value(reader.mask, mask) and share in reader.columns
        case _:
            return False


def hangs_on_readers(op: Operation) -> bool:
    """Whether it is what reads the result that says if it may be infinite (`is_share_of_sigmoids`)."""
    return isinstance(op, plena.DivOp) and _mask(op) is not None and _is_sigmoid(op.lhs)


def _mask(op: plena.DivOp) -> SSAValue | None:
    """What plena.route gives of which the divisor is the sum where it is 1; the dividend itself if that is its sum."""
    column = op.rhs
    while isinstance(column.owner, plena.ReshapeOp | plena.ExpandOp):
        column = column.owner.input
    total = column.owner
    if not isinstance(total, plena.ReduceOp) or total.kind.data != "sum":
        return None
    by_row = (total.axis.data, total.groups.value.data) == ("features", 1)
    if not by_row or shape_of(total.result)[:1] != shape_of(op.lhs)[:1]:
        return None
    if same_value(total.input, op.lhs):
        return op.lhs
    terms = total.input.owner
    if not isinstance(terms, plena.MulOp):
        return None
    pairs = ((terms.lhs, terms.rhs), (terms.rhs, terms.lhs))
    return next(
        (m for number, m in pairs if isinstance(m.owner, plena.RouteOp) and same_value(number, op.lhs)), None
    )


def _is_sigmoid(value: SSAValue) -> bool:
    """Whether each element is a sigmoid, or 0 where plena.route has 0 and a sigmoid elsewhere."""
    while True:
        match value.owner:
            case plena.ReshapeOp() | plena.SliceOp() as op:
                value = op.input
            case plena.MulOp() as op if isinstance(op.rhs.owner, plena.RouteOp):
                value = op.lhs
            case plena.MulOp() as op if isinstance(op.lhs.owner, plena.RouteOp):
                value = op.rhs
            case plena.ActivationOp() as op:
                return op.kind.data == "sigmoid"
            case _:
                return False
