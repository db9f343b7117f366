"""Parameters, and what only moves their elements, as staging expressions."""

from __future__ import annotations

from xdsl.ir import Attribute, SSAValue

from plena.dialects import aten
from plena.dialects.plena import ConcatAttr, permuted, reshaped, sliced
from plena.dialects.tensor_shapes import shape_of


def expression_of(value: SSAValue) -> Attribute | None:
    """The staging expression of a parameter, of a view of one, or of several one behind the other."""
    match value.owner:
        case aten.ParameterOp() as op:
            return op.symbol
        case aten.PermuteOp() | aten.ViewOp() | aten.SliceOp() as op:
            operands = [expression_of(op.input)]
        case aten.CatOp() as op:
            operands = [expression_of(tensor) for tensor in op.tensors]
        case _:
            return None
    known = [operand for operand in operands if operand is not None]
    if len(known) < len(operands):
        return None
    match op:
        case aten.PermuteOp():
            return permuted(known[0], op.dims.get_values())
        case aten.ViewOp():
            return reshaped(known[0], shape_of(op.result), shape_of(op.input))
        case aten.SliceOp():
            return sliced(known[0], *(n.value.data for n in (op.dim, op.start, op.end, op.step)))
        case aten.CatOp():
            return ConcatAttr(known, op.dim.value.data)
