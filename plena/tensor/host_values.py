"""Which values of a module depend on integer arguments and constants alone, and how the host computes them.

A value is the host's if everything behind it is: integer and boolean arguments, constants, and operations that the
language of host values has (`plena.host.values`). Parameters are not: the machine computes with them as it stages them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, cast

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
)
from xdsl.ir import Attribute, Block, BlockArgument, Operation, OpResult, SSAValue

from plena.dialects import aten, plena
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.host.values import build
from plena.host.values.attributes import attribute_of, dtype_of, value_of
from plena.host.values.evaluation import verify_types
from plena.host.values.graph import HostValue
from plena.tensor.host_operators import OPERATORS, Call

_BINARY: dict[type[aten.BinaryOp], str] = {
    aten.AddOp: "add",
    aten.SubOp: "sub",
    aten.MulOp: "mul",
    aten.DivOp: "div",
    aten.PowOp: "pow",
    aten.MaximumOp: "maximum",
    aten.MinimumOp: "minimum",
    aten.LogicalAndOp: "and",
}

_UNARY: dict[type[aten.UnaryOp], str] = {
    aten.NegOp: "neg",
    aten.AbsOp: "abs",
    aten.ExpOp: "exp",
    aten.LogOp: "log",
    aten.Log1pOp: "log1p",
    aten.Expm1Op: "expm1",
    aten.SqrtOp: "sqrt",
    aten.RsqrtOp: "rsqrt",
    aten.ReciprocalOp: "reciprocal",
    aten.TanhOp: "tanh",
    aten.SigmoidOp: "sigmoid",
    aten.LogicalNotOp: "not",
}

_REDUCTIONS: dict[type[aten.ReductionOp], str] = {aten.SumOp: "sum", aten.MeanOp: "mean", aten.AmaxOp: "max"}


_CHECKED = 1 << 22
"""Elements up to which a value is evaluated on zeros when it is built: its types must be what it says."""


@dataclass
class HostValues:
    """The host values of a module, each found once.

    Attributes:
        real: whether those of real arguments and of parameters count, too: what is small beside what the machine
            computes of them, as biases are.
    """

    known: dict[SSAValue, HostValue | None] = field(default_factory=dict[SSAValue, "HostValue | None"])
    real: bool = False

    def of(self, value: SSAValue) -> HostValue | None:
        """How the host computes a value, None if it cannot; constants alone are the host's, too."""
        waiting = [value]
        while waiting:
            owner = waiting[-1].owner
            is_said = isinstance(owner, plena.HostOp)  # By the operation itself.
            operands = owner.operands if isinstance(owner, Operation) and not is_said else ()
            if waiting[-1] in self.known:
                waiting.pop()
            elif any(operand in self.known and self.known[operand] is None for operand in operands):
                self.known[waiting[-1]] = None  # Whatever the other operands are: they may be a whole model.
            elif (unknown := next((o for o in operands if o not in self.known), None)) is not None:
                waiting.append(unknown)
            else:
                self.known[waiting[-1]] = self._found(waiting[-1])
        return self.known[value]

    def _found(self, value: SSAValue) -> HostValue | None:
        dtype = dtype_of(element_type_of(value))
        if dtype is None:
            return None
        if isinstance(value, BlockArgument):
            of_kind = self.real or isinstance(element_type_of(value), IntegerType)
            is_input = of_kind and _is_of_program(value.owner)
            return build.host_input(value.index, dtype, shape_of(value)) if is_input else None
        assert isinstance(value, OpResult)
        op = value.owner
        if isinstance(op, plena.HostOp):
            numbers = {
                n: operand.index for n, operand in enumerate(op.inputs) if isinstance(operand, BlockArgument)
            }
            return value_of(op.value).with_inputs(numbers)
        if isinstance(op, aten.ParameterOp) and self.real:
            return build.host_constant(op.symbol.string_value(), dtype, shape_of(value))
        operands = [self.known[operand] for operand in op.operands]
        whole = [operand for operand in operands if operand is not None]
        if len(whole) != len(operands):
            return None
        try:
            found = _computed(op, whole, dtype, shape_of(value), value.index)
        except NotImplementedError:
            return None
        assert found is None or (found.dtype, found.shape) == (dtype, shape_of(value)), (op, str(found))
        return found


def _is_of_program(block: Block) -> bool:
    function = block.parent_op()
    return function is not None and function.name == "func.func"


def _computed(
    op: Any, operands: Sequence[HostValue], dtype: str, shape: tuple[int, ...], result: int
) -> HostValue | None:
    """The value of an operation whose operands are the host's."""
    match op:
        case aten.FullOp():
            return build.full(op.value.value.data, dtype, shape)
        case aten.ConstantOp():
            return build.host_constant(op.symbol.string_value(), dtype, shape)
        case aten.ToOp():
            return build.cast(operands[0], dtype)
        case aten.CompareOp():
            return build.binary(op.predicate.data, operands[0], operands[1])
        case aten.WhereOp():
            return build.where(operands[0], operands[1], operands[2], dtype)
        case aten.ClampOp():
            return _clamped(op, operands[0], dtype)
        case aten.BinaryOp() if type(op) in _BINARY:
            return build.binary(_BINARY[type(op)], operands[0], operands[1], dtype)
        case aten.UnaryOp() if type(op) in _UNARY:
            return build.unary(_UNARY[type(op)], operands[0], dtype)
        case aten.ReductionOp() if type(op) in _REDUCTIONS:
            x = build.cast(operands[0], dtype)
            return build.reduce(_REDUCTIONS[type(op)], x, op.dim.get_values(), bool(op.keepdim.value.data))
        case aten.MatmulOp() if min(len(operand.shape) for operand in operands) >= 2:
            return build.matmul(operands[0], operands[1])
        case aten.OperatorOp():
            return _operator(op, operands, dtype, shape, result)
        case _:
            return _moved(op, operands, dtype, shape)


def _moved(op: Any, operands: Sequence[HostValue], dtype: str, shape: tuple[int, ...]) -> HostValue | None:
    match op:
        case aten.ViewOp() | plena.ReshapeOp():
            return build.reshape(operands[0], shape)
        case aten.ExpandOp() | plena.ExpandOp():
            return build.expand(operands[0], shape)
        case aten.PermuteOp():
            return build.permute(operands[0], op.dims.get_values())
        case plena.RearrangeOp():
            viewed = build.reshape(operands[0], op.factors.get_values())
            return build.reshape(build.permute(viewed, op.order.get_values()), shape)
        case aten.SliceOp():
            return build.sliced(operands[0], *op.bounds)
        case aten.CatOp():
            return build.concat([build.cast(operand, dtype) for operand in operands], op.dim.value.data)
        case plena.ConcatOp() if op.groups.value.data == 1:
            return build.concat(operands, 0 if op.axis.data == "rows" else 1)
        case plena.CastOp():
            return build.cast(operands[0], dtype)
        case plena.CompareOp():
            return build.compared(op.predicate.data, operands[0], op.value.value.data)
        case plena.BitOp():
            return build.bits(operands[0])
        case aten.EmbeddingOp():
            return build.index(operands[0], [0], [operands[1]])
        case aten.IndexSelectOp():
            return build.index(operands[0], [op.dim.value.data], [operands[1]])
        case _:
            return None


def _clamped(op: aten.ClampOp, value: HostValue, dtype: str) -> HostValue:
    for operation, bound in (("maximum", op.min), ("minimum", op.max)):
        if bound is not None:
            value = build.binary(operation, value, build.full(bound.value.data, dtype), dtype)
    return value


def _operator(
    op: aten.OperatorOp, operands: Sequence[HostValue], dtype: str, shape: tuple[int, ...], result: int
) -> HostValue | None:
    entry = OPERATORS.get(op.operator.data)
    if entry is None:
        return None
    arguments = [_argument(argument, operands) for argument in op.arguments]
    return entry(Call(arguments, dtype, shape, result))


def _argument(attribute: Attribute, operands: Sequence[HostValue]) -> Any:
    """An argument of an opaque operator; tensors are the host values of the operands."""
    match attribute:
        case StringAttr(data=text) if text.startswith("%"):
            return operands[int(text[1:])]
        case StringAttr(data=text):
            return text
        case IntegerAttr(type=IntegerType(width=width)) if width.data == 1:
            return bool(attribute.value.data)
        case IntegerAttr() | FloatAttr():
            return attribute.value.data
        case DenseArrayBase():
            return [int(n) for n in cast("DenseArrayBase[I64]", attribute).get_values()]
        case ArrayAttr():
            return [_argument(element, operands) for element in attribute]
        case _:
            return None


def host_op(value: HostValue, arguments: Sequence[SSAValue]) -> plena.HostOp:
    """The operation that stands for a value, reading those of the program's arguments that it needs."""
    if sum(prod(node.shape) for node in value.nodes) <= _CHECKED:
        verify_types(value)
    used = sorted(value.inputs)
    numbered = value.with_inputs({number: place for place, number in enumerate(used)})
    return plena.HostOp(attribute_of(numbered), [arguments[number] for number in used])
