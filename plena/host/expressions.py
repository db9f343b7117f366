"""Evaluation of staging expressions: weights as the machine gets them, computed when they are needed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import Attribute

from plena.dialects.plena.staging import (
    AdditiveMaskAttr,
    ConcatAttr,
    FullAttr,
    MatvecAttr,
    ProductAttr,
    SumAttr,
    ViewAttr,
)
from plena.errors import CompileError
from plena.host import view as views
from plena.host.view_attributes import view_of


def materialize(expression: Attribute, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The tensor that a staging expression stands for.

    Views of the model's own storage are returned where the expression only moves elements and the parameter
    is float32; floating-point parameters of other types are converted.

    Args:
        expression: a symbol or a node of plena.dialects.plena.staging.
        tensors: the side table of the imported program.

    Raises:
        CompileError: a symbol that the table does not have.
    """

    def value(operand: Attribute) -> torch.Tensor:
        return materialize(operand, tensors)

    match expression:
        case SymbolRefAttr():
            return _symbol(expression.string_value(), tensors)
        case FullAttr():
            return torch.full(expression.shape.get_values(), expression.value.value.data)
        case ViewAttr():
            whole = value(expression.operand).numpy(force=True)
            try:
                view = view_of(expression)
                views.result_shape(view, whole.shape)
                return torch.from_numpy(views.apply(view, whole))
            except ValueError as error:
                raise CompileError(f"{expression} does not fit {list(whole.shape)}: {error}") from None
        case ConcatAttr():
            return torch.cat([value(operand) for operand in expression.operands], expression.axis.value.data)
        case ProductAttr():
            return value(expression.lhs) * value(expression.rhs)
        case SumAttr():
            return value(expression.lhs) + value(expression.rhs)
        case MatvecAttr():
            return value(expression.matrix) @ value(expression.vector)
        case AdditiveMaskAttr():
            allowed = value(expression.operand)
            return torch.zeros(allowed.shape).masked_fill(~allowed.bool(), float("-inf"))
        case _:
            raise CompileError(f"{expression} is not a staging expression")


def moved_back(expression: Attribute, values: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """The tensor of which a view is `values`, that is, what a symbol or a view of one stands for.

    Args:
        whole: the tensor as it was: its shape, and what the view does not reach.
    """
    before = whole.to(values.dtype).numpy(force=True)
    return torch.from_numpy(views.scatter(view_of(expression), values.numpy(force=True), before))


def _symbol(name: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    tensor = tensors.get(name)
    if tensor is None:
        raise CompileError(
            f"the program has no tensor named {name}",
            hint="A module parsed from text needs its side table of tensors.",
        )
    tensor = tensor.detach()
    return tensor.float() if tensor.is_floating_point() else tensor
