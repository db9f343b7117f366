"""The table from ATen overloads to ops of the `aten` dialect.

Most operators are imported by the definition of their op: operands and properties carry the names of the
schema's arguments. The rest are other spellings of the same thing, listed in plena.frontend.spellings.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node
from xdsl.dialects.builtin import (
    ArrayAttr,
    BoolAttr,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
    UnitAttr,
    f64,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import OperandDef, OptOperandDef, VarOperandDef, VerificationContext
from xdsl.utils.exceptions import VerifyException

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.errors import CompileError
from plena.frontend.folding import plan_folding
from plena.frontend.mutations import changes_in_place
from plena.frontend.refusals import name_of, refusal_at
from plena.frontend.routing.table import import_routed
from plena.frontend.spellings.complex_numbers import has_pairs, on_pairs
from plena.frontend.spellings.table import SPELLINGS
from plena.tensor.host_operators import OPERATORS

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder, Value

DIRECT: dict[str, type[aten.AtenOp]] = {
    op.OVERLOAD: op for op in aten.Aten.operations if issubclass(op, aten.AtenOp) and op.OVERLOAD
}
"""Operators whose schema is the definition of their op."""


def all_known(program: ExportedProgram) -> bool:
    """Whether there is an op for every node that is not folded, and nothing is changed in place."""
    plan = plan_folding(program)
    for node in program.graph_module.graph.nodes:
        if node.op != "call_function":
            continue
        if changes_in_place(node):
            return False
        if node not in plan.needed or node in plan.foldable or node.target is operator.getitem:
            continue
        if node in plan.host and name_of(node) in OPERATORS:
            continue
        if name_of(node) not in DIRECT and name_of(node) not in SPELLINGS:
            return False
    return True


def import_node(graph: GraphBuilder, node: Node) -> Value:
    """The value of one node that is not folded."""
    if node.target is operator.getitem:
        source, index = node.args
        several = graph.value_of(source)
        return several[index]
    shape = graph.static_shape(node)
    if isinstance(node.meta.get("val"), torch.Tensor) and 0 in shape:
        return torch.zeros(shape)
    arguments = {name: graph.value_of(value) for name, value in bind_arguments(node).items()}
    name = name_of(node)
    _require_one_dtype(node)
    routed = import_routed(graph, name, arguments, lambda a: _known(graph, name, a))
    if routed is not NotImplemented:
        return routed
    result = _known(graph, name, arguments)
    if result is NotImplemented and torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
        raise refusal_at(
            node,
            "a program draws no random numbers",
            "Draw them outside and give them as an input, or use what the model does without them.",
        )
    return import_opaque(graph, name, arguments) if result is NotImplemented else result


def _known(graph: GraphBuilder, name: str, arguments: Mapping[str, Any]) -> Any:
    """What a spelling or the op of that name makes of the current node; NotImplemented if there is none."""
    if has_pairs(arguments):
        return on_pairs(graph, name, arguments)
    handler = SPELLINGS.get(name)
    if handler is not None:
        result = handler(graph, arguments)
        if result is not NotImplemented:
            return result
    if name in DIRECT and not _unrepresented(graph.node, DIRECT[name], arguments):
        return import_direct(graph, DIRECT[name], arguments)
    return NotImplemented


PRODUCTS = frozenset(
    f"aten.{name}.default"
    for name in (
        *("linear", "matmul", "mm", "bmm", "mv", "addmm", "baddbmm", "conv1d", "conv2d", "convolution"),
        "scaled_dot_product_attention",
    )
)
"""Operators whose operands have one dtype; capturing a model does not check it, PyTorch does when it runs."""


def _require_one_dtype(node: Node) -> None:
    """Raises OperatorError for products that PyTorch refuses to compute."""
    if name_of(node) not in PRODUCTS:
        return
    given = [arg.meta["val"] for arg in node.args if isinstance(arg, Node)]
    dtypes = {str(value.dtype) for value in given if isinstance(value, torch.Tensor)} - {"torch.bool"}
    if name_of(node) != "aten.scaled_dot_product_attention.default":
        dtypes = {str(value.dtype) for value in given if isinstance(value, torch.Tensor)}
    if len(dtypes) > 1:
        raise refusal_at(
            node,
            f"its operands differ in dtype, {' and '.join(sorted(dtypes))}",
            "Convert one of them: x.float(), or module.to(x.dtype).",
        )


FORWARD_ONLY = {"padding_idx", "scale_grad_by_freq", "sparse", "cudnn_enable"}
"""Arguments that do not change what an operator computes."""


def _unrepresented(node: Node, operation: type[aten.AtenOp], arguments: Mapping[str, Any]) -> list[str]:
    """Arguments that are not what the schema has by default and for which the op has neither operand nor property."""
    definition = operation.get_irdl_definition()
    known = {"self", *FORWARD_ONLY, *(name for name, _ in definition.operands), *definition.properties}
    schema = node.target._schema  # pyright: ignore[reportAttributeAccessIssue,reportFunctionMemberAccess]
    return [
        argument.name
        for argument in schema.arguments
        if argument.name not in known and arguments.get(argument.name) != argument.default_value
    ]


def bind_arguments(node: Node) -> dict[str, Any]:
    """The node's arguments by schema name, with the defaults that the graph leaves out."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return dict(enumerate(node.args)) | dict(node.kwargs)  # type: ignore[arg-type]
    bound: dict[str, Any] = {}
    for position, argument in enumerate(schema.arguments):
        if position < len(node.args):
            bound[argument.name] = node.args[position]
        elif argument.name in node.kwargs:
            bound[argument.name] = node.kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound


def import_direct(
    graph: GraphBuilder, operation: type[aten.AtenOp], arguments: Mapping[str, Any]
) -> SSAValue:
    """An op whose operands and properties are the operator's arguments by name."""
    definition = operation.get_irdl_definition()
    operands: list[Any] = []
    rank = 0
    for name, kind in definition.operands:
        value = arguments.get("self") if name == "input" and "input" not in arguments else arguments.get(name)
        match kind:
            case OptOperandDef():
                operands.append([] if value is None else [value])
            case VarOperandDef():
                operands.append(list(value or []))
            case OperandDef():
                operands.append(graph.ssa(value))
                rank = max(rank, len(shape_of(operands[-1])))
            case _:
                raise AssertionError(kind)
    properties: dict[str, Attribute] = {}
    rank = rank or len(graph.shape)
    for name, property_definition in definition.properties.items():
        value = arguments.get(name)
        if value is None:
            continue
        if name == "dim":
            value = [d % rank for d in value] if isinstance(value, list) else value % rank
        properties[name] = to_attribute(value, property_definition.constr)
    return graph.build(operation, operands, properties)


def to_attribute(value: Any, constraint: Any = None) -> Attribute:
    """A Python argument as the attribute that the constraint takes."""
    for candidate in _candidates(value):
        if constraint is None:
            return candidate
        try:
            constraint.verify(candidate, VerificationContext())
        except VerifyException:
            continue
        return candidate
    raise CompileError(
        f"its argument {value!r} cannot be represented", hint="Use numbers, texts and lists of them."
    )


def _candidates(value: Any) -> list[Attribute]:
    match value:
        case bool():
            return [BoolAttr.from_bool(value), IntegerAttr(int(value), i64)]
        case int():
            return [IntegerAttr(value, i64), FloatAttr(float(value), f64)]
        case float():
            return [FloatAttr(value, f64)]
        case str():
            return [StringAttr(value)]
        case list() if all(isinstance(element, int) for element in value):
            return [DenseArrayBase.from_list(i64, value), ArrayAttr([to_attribute(e) for e in value])]
        case list():
            return [ArrayAttr([to_attribute(element) for element in value])]
        case None:
            return [UnitAttr()]
        case _:
            return [StringAttr(str(value))]


def import_opaque(graph: GraphBuilder, name: str, arguments: Mapping[str, Any]) -> Value:
    """An `aten.operator`: the argument list with tensors replaced by "%n", their place among the operands."""
    tensors: list[SSAValue] = []

    def encode(value: Any) -> Any:
        if isinstance(value, list):
            return [encode(element) for element in value]
        if isinstance(value, SSAValue | torch.Tensor) or type(value).__name__ == "Parameter":
            tensors.append(graph.ssa(value))
            return f"%{len(tensors) - 1}"
        return value

    encoded = ArrayAttr([to_attribute(encode(value)) for value in arguments.values()])
    result = graph.node.meta["val"]
    results = list(result) if isinstance(result, list | tuple) else [result]
    for single in results:
        if not isinstance(single, torch.Tensor):
            raise refusal_at(
                graph.node,
                "it returns no tensor",
                "Read sizes of shapes, not values of tensors, or compute it outside.",
            )
    operation = aten.OperatorOp.build(
        operands=[tensors],
        properties={"operator": StringAttr(name), "arguments": encoded},
        result_types=[
            [TensorType(graph.tensor_type(r, graph.node).get_element_type(), r.shape) for r in results]
        ],
        attributes=graph.location,
    )
    graph.builder.insert(operation)
    return tuple(operation.results) if isinstance(result, list | tuple) else operation.results[0]
