"""Torch element types and what they become: floating-point types are f32, integers keep their width, booleans i1."""

from __future__ import annotations

import torch
from xdsl.dialects.builtin import Float32Type, Float64Type, IntegerType, Signedness
from xdsl.ir import Attribute

_ELEMENT_TYPES: dict[torch.dtype, Attribute] = {
    torch.float32: Float32Type(),
    torch.float16: Float32Type(),
    torch.bfloat16: Float32Type(),
    torch.int64: IntegerType(64),
    torch.int32: IntegerType(32),
    torch.bool: IntegerType(1),
}
"""Of what the machine computes and of what a program takes and returns."""

_HOST_TYPES: dict[torch.dtype, Attribute] = {
    torch.int16: IntegerType(16),
    torch.int8: IntegerType(8),
    torch.uint8: IntegerType(8, Signedness.UNSIGNED),
    torch.float64: Float64Type(),
}
"""Of what only the host computes."""


def element_type(dtype: torch.dtype) -> Attribute | None:
    """The IR element type of a torch dtype, None if the compiler has no use for it (float64, complex, int8
    ...)."""
    return _ELEMENT_TYPES.get(dtype)


def host_element_type(dtype: torch.dtype) -> Attribute | None:
    """The IR element type of what the host computes."""
    return _ELEMENT_TYPES.get(dtype, _HOST_TYPES.get(dtype))


def torch_dtype(element: Attribute) -> torch.dtype:
    """The torch dtype in which the interpreters hold tensors of an IR element type."""
    if isinstance(element, Float32Type):
        return torch.float32
    known = ((dtype, own) for table in (_ELEMENT_TYPES, _HOST_TYPES) for dtype, own in table.items())
    return next((dtype for dtype, own in known if own == element), torch.int64)


DTYPES = "Tensors are float32, float16 or bfloat16, ids int64 or int32, masks bool."
"""What to do about another dtype."""


def unsupported_dtype(tensor: torch.Tensor) -> str:
    """What is wrong with a tensor that has no element type here."""
    return f"unsupported dtype {tensor.dtype} of shape {list(tensor.shape)}"
