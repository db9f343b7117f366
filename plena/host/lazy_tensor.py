"""Staging expressions computed part by part: what a weight becomes never exists as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Attribute

from plena.dialects.plena.staging import ProductAttr, SumAttr, symbols_of
from plena.host.step import Array

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LazyTensor:
    """A matrix `[R, C]` of which rows or columns are asked for, as float32 of numpy.

    `matrix[a:b]` and `matrix[:, a:b]` compute what they name and nothing else, where the expression is a parameter, or
    sums and products of parameters.
    """

    expression: Attribute
    tensors: Mapping[str, torch.Tensor]
    shape: tuple[int, int]

    dtype = np.dtype(np.float32)

    @staticmethod
    def of(expression: Attribute, tensors: Mapping[str, torch.Tensor]) -> LazyTensor | None:
        """The matrix that an expression stands for, None if it is none or its parts cannot be told beforehand."""
        shape = _shape(expression, tensors)
        return (
            None
            if shape is None or len(shape) != 2
            else LazyTensor(expression, tensors, (shape[0], shape[1]))
        )

    def whole(self) -> torch.Tensor:
        """All of it."""
        from plena.host.expressions import materialize

        return materialize(self.expression, self.tensors)

    def __getitem__(self, key: slice | tuple[slice, slice]) -> Array:
        from plena.host.expressions import materialize

        axis, part = (1, key[1]) if isinstance(key, tuple) else (0, key)
        start, stop, _ = part.indices(self.shape[axis])
        names = symbols_of(self.expression)
        parts = {name: _part(self.tensors[name], axis - 2, start, stop) for name in names}
        return materialize(self.expression, parts).numpy()


def _shape(expression: Attribute, tensors: Mapping[str, torch.Tensor]) -> tuple[int, ...] | None:
    """The shape of an expression whose parts are those of its parameters, None for others."""
    match expression:
        case SymbolRefAttr():
            tensor = tensors.get(expression.string_value())
            return None if tensor is None or not tensor.is_floating_point() else tuple(tensor.shape)
        case ProductAttr() | SumAttr():
            lhs, rhs = _shape(expression.lhs, tensors), _shape(expression.rhs, tensors)
            return None if lhs is None or rhs is None else np.broadcast_shapes(lhs, rhs)
        case _:
            return None


def _part(tensor: torch.Tensor, axis: int, start: int, stop: int) -> torch.Tensor:
    """Elements `start` to `stop` - 1 along an axis counted from the last, all of what is repeated along it."""
    tensor = tensor.detach()
    if tensor.ndim >= -axis and tensor.shape[axis] > 1:
        tensor = tensor.narrow(axis, start, stop - start)
    return tensor.cpu()
