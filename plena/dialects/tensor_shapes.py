"""Shapes and element types of tensor values, and torch's broadcasting rule."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import Float32Type, IntegerType, TensorType
from xdsl.ir import Attribute, SSAValue


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The static shape of a tensor value."""
    assert isinstance(value.type, TensorType)
    return value.type.get_shape()


def element_type_of(value: SSAValue) -> Attribute:
    """The element type of a tensor value."""
    assert isinstance(value.type, TensorType)
    return value.type.get_element_type()


def is_real(tensor_type: Attribute) -> bool:
    """Whether the type is a tensor of floating-point numbers."""
    return isinstance(tensor_type, TensorType) and isinstance(tensor_type.get_element_type(), Float32Type)


def broadcast_shapes(shapes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """The common shape under torch's broadcasting rule, None if there is none."""
    rank = max(len(shape) for shape in shapes)
    result: list[int] = []
    for axis in range(rank):
        sizes = {shape[axis - rank + len(shape)] for shape in shapes if axis >= rank - len(shape)} - {1}
        if len(sizes) > 1:
            return None
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def is_boolean(value: SSAValue) -> bool:
    """Whether the elements are booleans."""
    element = element_type_of(value)
    return isinstance(element, IntegerType) and element.width.data == 1
