"""Host values as attributes of the IR, and back."""

from __future__ import annotations

from xdsl.dialects.builtin import (
    ArrayAttr,
    Float32Type,
    Float64Type,
    IntegerType,
    Signedness,
    TensorType,
)
from xdsl.ir import Attribute

from plena.dialects.plena.host_values import HostNodeAttr, HostValueAttr
from plena.errors import PlenaError
from plena.host.values.graph import HostValue, Node

_ELEMENTS: dict[str, Attribute] = {
    "bool": IntegerType(1),
    "uint8": IntegerType(8, Signedness.UNSIGNED),
    "int8": IntegerType(8),
    "int16": IntegerType(16),
    "int32": IntegerType(32),
    "int64": IntegerType(64),
    "float32": Float32Type(),
    "float64": Float64Type(),
}


def dtype_of(element: Attribute) -> str | None:
    """The name of an element type; None for one that host values do not have."""
    return next((name for name, known in _ELEMENTS.items() if known == element), None)


def attribute_of(value: HostValue) -> HostValueAttr:
    """The attribute of a value."""
    return HostValueAttr(
        ArrayAttr(
            [
                HostNodeAttr.of(
                    node.operation, node.operands, node.named, TensorType(_ELEMENTS[node.dtype], node.shape)
                )
                for node in value.nodes
            ]
        )
    )


def value_of(attribute: HostValueAttr) -> HostValue:
    """Inverse of `attribute_of`.

    Raises:
        PlenaError: an element type that host values do not have.
    """
    nodes: list[Node] = []
    for node in attribute.nodes.data:
        dtype = dtype_of(node.result.get_element_type())
        if dtype is None:
            raise PlenaError(
                f"host values have no elements of {node.result.get_element_type()}", "plena.host"
            )
        settings = tuple(sorted(node.plain_settings.items()))
        operands = tuple(int(n) for n in node.operands.get_values())
        nodes.append(Node(node.operation.data, operands, settings, dtype, tuple(node.result.get_shape())))
    return HostValue(tuple(nodes))
