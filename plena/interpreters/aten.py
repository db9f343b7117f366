"""Interpreter of the `aten` dialect: every op is its torch overload, computed in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    UnitAttr,
)
from xdsl.interpreter import Interpreter, InterpreterFunctions, PythonValues, impl, register_impls
from xdsl.ir import Attribute
from xdsl.irdl import OptOperandDef, VarOperandDef

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.interpreters.states import States

if TYPE_CHECKING:
    import torch


def _overload(name: str) -> Any:
    import torch

    namespace, packet, overload = name.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), packet), overload)


def _python(attribute: Attribute) -> Any:
    """The Python argument that an attribute stands for."""
    match attribute:
        case IntegerAttr(type=IntegerType(width=width)) if width.data == 1:
            return bool(attribute.value.data)
        case IntegerAttr() | FloatAttr():
            return attribute.value.data
        case DenseArrayBase():
            return [element.value.data for element in attribute.iter_attrs()]
        case StringAttr():
            return attribute.data
        case ArrayAttr():
            return [_python(element) for element in attribute]
        case UnitAttr():
            return None
        case _:
            raise TypeError(f"no argument for {attribute}")


def _arguments(op: aten.AtenOp, schema: Any) -> dict[str, Any]:
    """The operator's arguments by schema name; operands are their positions."""
    definition = op.get_irdl_definition()
    names = {argument.name for argument in schema.arguments}
    found: dict[str, Any] = {}
    position = 0
    for name, kind in definition.operands:
        segment = getattr(op, name)
        key = "self" if name == "input" and "input" not in names else name
        if isinstance(kind, VarOperandDef) and not isinstance(kind, OptOperandDef):
            found[key] = list(range(position, position + len(segment)))
            position += len(segment)
        elif segment is not None:
            found[key] = position
            position += 1
    return found


@register_impls
@dataclass
class AtenFunctions(InterpreterFunctions):
    """Values are torch tensors: float32, int64 or bool. `tensors` is the side table of the program."""

    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict[str, Any])
    states: States = field(default_factory=States)

    @impl(aten.StateOp)
    def state(self, interpreter: Interpreter, op: aten.StateOp, args: PythonValues) -> PythonValues:
        return (self.states.read(op.symbol),)

    @impl(aten.WriteStateOp)
    def write_state(
        self, interpreter: Interpreter, op: aten.WriteStateOp, args: PythonValues
    ) -> PythonValues:
        self.states.write(op.symbol, args[0])
        return ()

    @impl(aten.ParameterOp)
    def parameter(self, interpreter: Interpreter, op: aten.ParameterOp, args: PythonValues) -> PythonValues:
        return (self._symbol(op.symbol),)

    @impl(aten.ConstantOp)
    def constant(self, interpreter: Interpreter, op: aten.ConstantOp, args: PythonValues) -> PythonValues:
        return (self._symbol(op.symbol),)

    def _symbol(self, symbol: Attribute) -> torch.Tensor:
        from plena.host.expressions import materialize

        return materialize(symbol, self.tensors)

    @impl(aten.FullOp)
    def full(self, interpreter: Interpreter, op: aten.FullOp, args: PythonValues) -> PythonValues:
        import torch

        from plena.tensor.element_types import torch_dtype

        dtype = torch_dtype(element_type_of(op.result))
        return (torch.full(shape_of(op.result), op.value.value.data, dtype=dtype),)

    @impl(aten.OperatorOp)
    def operator(self, interpreter: Interpreter, op: aten.OperatorOp, args: PythonValues) -> PythonValues:
        def decode(value: Any) -> Any:
            if isinstance(value, list):
                return [decode(element) for element in value]
            if isinstance(value, str) and value.startswith("%"):
                return args[int(value[1:])]
            return value

        target = _overload(op.operator.data)
        names = [argument.name for argument in target._schema.arguments]
        values = [decode(_python(argument)) for argument in op.arguments]
        result = target(**{n: v for n, v in zip(names, values, strict=False) if v is not None})
        return tuple(result) if isinstance(result, list | tuple) else (result,)

    @impl(aten.ViewOp)
    def view(self, interpreter: Interpreter, op: aten.ViewOp, args: PythonValues) -> PythonValues:
        return (args[0].reshape(shape_of(op.result)),)

    @impl(aten.ExpandOp)
    def expand(self, interpreter: Interpreter, op: aten.ExpandOp, args: PythonValues) -> PythonValues:
        return (args[0].expand(shape_of(op.result)),)

    @impl(aten.PermuteOp)
    def run_permute(self, interpreter: Interpreter, op: aten.PermuteOp, args: PythonValues) -> PythonValues:
        return (args[0].permute(op.dims.get_values()),)

    @impl(aten.ToOp)
    def to(self, interpreter: Interpreter, op: aten.ToOp, args: PythonValues) -> PythonValues:
        from plena.tensor.element_types import torch_dtype

        return (args[0].to(torch_dtype(element_type_of(op.result))),)

    @impl(aten.PowOp)
    def run_pow(self, interpreter: Interpreter, op: aten.PowOp, args: PythonValues) -> PythonValues:
        return (args[0] ** args[1],)

    @impl(aten.SoftmaxOp)
    def run_softmax(self, interpreter: Interpreter, op: aten.SoftmaxOp, args: PythonValues) -> PythonValues:
        weights = args[0].softmax(op.dim.value.data)
        if op.safe is not None:
            empty = (args[0] == float("-inf")).all(op.dim.value.data, keepdim=True)
            weights = weights.masked_fill(empty, 0.0)
        return (weights,)

    @impl(aten.CompareOp)
    def compare(self, interpreter: Interpreter, op: aten.CompareOp, args: PythonValues) -> PythonValues:
        import torch

        return (getattr(torch, op.predicate.data)(*args),)


def _implement(operation: type[aten.AtenOp]) -> Any:
    @impl(operation)
    def run(
        self: AtenFunctions, interpreter: Interpreter, op: aten.AtenOp, args: PythonValues
    ) -> PythonValues:
        target = _overload(op.OVERLOAD)
        values: dict[str, Any] = {}
        for name, where in _arguments(op, target._schema).items():
            values[name] = [args[i] for i in where] if isinstance(where, list) else args[where]
        for name, attribute in op.properties.items():
            if name in op.get_irdl_definition().accessor_names:
                values[name] = _python(attribute)
        return (target(**values),)

    return run


for _operation in aten.Aten.operations:
    _method = f"run_{_operation.name.removeprefix('aten.')}"
    if issubclass(_operation, aten.AtenOp) and _operation.OVERLOAD and not hasattr(AtenFunctions, _method):
        setattr(AtenFunctions, _method, _implement(_operation))
register_impls(AtenFunctions)
