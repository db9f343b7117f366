"""Arithmetic with tensors and numbers, and powers."""

from __future__ import annotations

from math import copysign
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import Float32Type, UnitAttr
from xdsl.ir import Attribute, SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.errors import CompileError
from plena.frontend.routing.values import number_of
from plena.frontend.spellings.conversions import convert
from plena.frontend.spellings.handlers import Arguments, Handler

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def scaled(g: GraphBuilder, value: SSAValue, factor: float) -> SSAValue:
    """`value` times a number."""
    if factor == 1:
        return value
    return g.build(aten.MulOp, [value, g.ssa(float(factor))], shape=shape_of(value))


def _binary(operation: type[aten.AtenOp]) -> Handler:
    """A binary operator with a tensor or a number on the right, times alpha."""

    def handler(g: GraphBuilder, a: Arguments) -> Any:
        if a.get("rounding_mode") is not None:
            return NotImplemented
        if _is_neutral(operation, a["other"], g.element) and g.ssa(a["self"]).type == g.result_type:
            return g.ssa(a["self"])
        x, y = (operand(g, a[name]) for name in ("self", "other"))
        properties = {"nonzero": UnitAttr()} if operation is aten.DivOp and _is_nonzero(g, y) else None
        return g.build(operation, [x, scaled(g, y, a.get("alpha", 1))], properties)

    return handler


def _is_neutral(operation: type[aten.AtenOp], number: Any, element: Attribute) -> bool:
    """Whether `x op number` is x: not minus zero plus zero, which is zero."""
    if not isinstance(number, int | float):
        return False
    if operation in (aten.MulOp, aten.DivOp):
        return number == 1
    if number != 0 or not isinstance(element, Float32Type):
        return number == 0
    return (operation is aten.SubOp) == (copysign(1.0, number) > 0)


LEAST = 2.0**-6
"""A number this far below the largest of its tensor survives staging in every number format."""


def _is_nonzero(g: GraphBuilder, value: SSAValue) -> bool:
    """Whether a value holds elements of a parameter or constant, none of which is 0 or is staged as 0."""
    while isinstance(value.owner, aten.ViewOp | aten.PermuteOp | aten.ExpandOp | aten.SliceOp):
        value = value.owner.input
    op = value.owner
    if not isinstance(op, aten.ParameterOp | aten.ConstantOp):
        return False
    tensor = g.tensors[op.symbol.string_value()]
    if not tensor.is_floating_point() or not tensor.numel():
        return False
    least, largest = (float(n) for n in tensor.detach().abs().aminmax())
    return 0 < LEAST * largest <= least < float("inf") and largest < float("inf")


def operand(g: GraphBuilder, value: Any) -> SSAValue:
    """An operand with the kind of element of the current node's result."""
    if isinstance(g.element, Float32Type):
        if isinstance(value, int):
            value = float(value)
        if isinstance(value, torch.Tensor) and not value.is_floating_point():
            value = value.float()
            g.name_constant(value)
    return convert(g, g.ssa(value), g.element)


def _rsub(g: GraphBuilder, a: Arguments) -> SSAValue:
    other, value = (operand(g, a[name]) for name in ("other", "self"))
    return g.build(aten.SubOp, [other, scaled(g, value, a.get("alpha", 1))])


MOST_FACTORS = 16
"""Of a power by products: each rounds."""


def _power(g: GraphBuilder, a: Arguments) -> Any:
    """Powers with a constant exponent, by products, roots and, for what is left, e^(rest log x).

    The rest is small, so that the rounding of the logarithm, which the exponential magnifies, is. All exponents are
    positive: 0 to the power of 1.7 is 0 as a product of powers, too.
    """
    exponent = a["exponent"]
    if not isinstance(exponent, int | float):
        return NotImplemented
    x, size = g.ssa(a["self"]), abs(float(exponent))
    if exponent == -0.5:
        return g.build(aten.RsqrtOp, [x])
    if _is_of_host(g):
        if size not in (0.5, 1, 2, 3, 4):
            return g.build(aten.PowOp, [x, float(exponent)])
    elif not size <= MOST_FACTORS:
        raise CompileError(
            f"its exponent {exponent} is beyond {MOST_FACTORS}, and each of the products that it takes rounds",
            None,
            "Take a power of a power, (x ** 8) ** 3, or (24 * x.log()).exp() of positive numbers.",
        )
    if size == 0:
        ones = torch.ones(g.shape)
        g.name_constant(ones)
        return ones
    power = powered(g, x, size)
    return power if exponent > 0 else g.build(aten.ReciprocalOp, [power])


def powered(g: GraphBuilder, x: SSAValue, exponent: float) -> SSAValue:
    """x to the power of a positive number."""
    shape = shape_of(x)
    factors: list[SSAValue] = []
    square, left = x, int(exponent)
    while left:
        if left % 2:
            factors.append(square)
        left //= 2
        if left:
            square = g.build(aten.MulOp, [square, square], shape=shape)
    rest, root, share = exponent - int(exponent), x, 1.0
    while rest and share > LEAST_ROOT:
        root, share = g.build(aten.SqrtOp, [root], shape=shape), share / 2
        if rest >= share:
            factors.append(root)
            rest -= share
    if rest:
        scaled_log = scaled(g, g.build(aten.LogOp, [x], shape=shape), rest)
        factors.append(g.build(aten.ExpOp, [scaled_log], shape=shape))
    found = factors[-1]
    for factor in reversed(factors[:-1]):
        found = g.build(aten.MulOp, [found, factor], shape=shape)
    return found


LEAST_ROOT = 0.25
"""Exponent of the last root before a logarithm."""


def _is_of_host(g: GraphBuilder) -> bool:
    """Whether the host computes the current node: it has powers, and is exact with them."""
    return g.node in g.plan.host or not isinstance(g.element, Float32Type)


def _power_of_tensors(g: GraphBuilder, a: Arguments) -> Any:
    """Of a constant exponent, or a parameter, that is the same for all elements as of that number."""
    x, exponent = operand(g, a["self"]), a["exponent"]
    if _is_of_host(g):
        return g.build(aten.PowOp, [x, operand(g, exponent)])
    number = number_of(getattr(exponent, "tensor", exponent))
    if number is None or shape_of(x) != g.shape:
        raise CompileError(
            "its exponents are a tensor",
            None,
            "Write one number as the exponent of each part, or (y * x.log()).exp() of positive numbers.",
        )
    return _power(g, {"self": x, "exponent": number})


def _square(g: GraphBuilder, a: Arguments) -> SSAValue:
    x = g.ssa(a["self"])
    return g.build(aten.MulOp, [x, x])


SPELLINGS: dict[str, Handler] = {
    "aten.add.Tensor": _binary(aten.AddOp),
    "aten.add.Scalar": _binary(aten.AddOp),
    "aten.sub.Tensor": _binary(aten.SubOp),
    "aten.sub.Scalar": _binary(aten.SubOp),
    "aten.mul.Tensor": _binary(aten.MulOp),
    "aten.mul.Scalar": _binary(aten.MulOp),
    "aten.div.Tensor": _binary(aten.DivOp),
    "aten.div.Scalar": _binary(aten.DivOp),
    "aten.true_divide.Tensor": _binary(aten.DivOp),
    "aten.rsub.Scalar": _rsub,
    "aten.rsub.Tensor": _rsub,
    "aten.pow.Tensor_Scalar": _power,
    "aten.pow.Tensor_Tensor": _power_of_tensors,
    "aten.square.default": _square,
}  # fmt: skip
"""Handlers by overload."""
