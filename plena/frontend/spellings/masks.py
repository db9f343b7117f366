"""Comparisons, booleans and what they choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import StringAttr
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import is_real, shape_of
from plena.frontend.spellings.continuity import continuous
from plena.frontend.spellings.conversions import convert
from plena.frontend.spellings.handlers import BOOLEAN, Arguments, Handler

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _compare(predicate: str) -> Handler:
    def handler(g: GraphBuilder, a: Arguments) -> SSAValue:
        return g.build(
            aten.CompareOp, [a["self"], a["other"]], {"predicate": StringAttr(predicate)}, element=BOOLEAN
        )

    return handler


def _boolean(operation: type[aten.AtenOp]) -> Handler:
    """and, not: of booleans; the bitwise operators of integers have no op."""

    def handler(g: GraphBuilder, a: Arguments) -> Any:
        values = [g.ssa(a[name]) for name in ("self", "other") if name in a]
        if g.element != BOOLEAN:
            return NotImplemented
        return g.build(operation, [convert(g, value, BOOLEAN) for value in values])

    return handler


def _or(g: GraphBuilder, a: Arguments) -> Any:
    """not (not x and not y), so that masks are conjunctions throughout."""
    if g.element != BOOLEAN:
        return NotImplemented
    neither = [_not(g, a[name]) for name in ("self", "other")]
    both = g.build(aten.LogicalAndOp, neither)
    return g.build(aten.LogicalNotOp, [both])


def _not(g: GraphBuilder, mask: Any) -> Any:
    """The negation of a mask, right away if it is constant."""
    if isinstance(mask, torch.Tensor):
        inverse = mask == 0
        g.name_constant(inverse)
        return inverse
    mask = convert(g, g.ssa(mask), BOOLEAN)
    return g.build(aten.LogicalNotOp, [mask], shape=shape_of(mask), element=BOOLEAN)


def _where(g: GraphBuilder, a: Arguments) -> SSAValue:
    """where; a constant condition is turned round if that puts the number on the right."""
    condition, x, y = a["condition"], a["self"], a["other"]
    if isinstance(condition, torch.Tensor) and _is_number(x) and not _is_number(y):
        condition, x, y = ~condition, y, x
        g.name_constant(condition)
    else:
        condition = continuous(g, *g.node.args[:3]) if len(g.node.args) == 3 else condition
    return g.build(aten.WhereOp, [condition, x, y])


def _masked_fill(g: GraphBuilder, a: Arguments) -> SSAValue:
    mask, value = a["mask"], a["value"]
    if len(g.node.args) == 3:
        filled, decides, number = g.node.args
        mask = continuous(g, decides, filled, number)
    allowed = _not(g, mask)
    number = float(value) if isinstance(value, int | float) and is_real(g.ssa(a["self"]).type) else value
    return g.build(aten.WhereOp, [allowed, a["self"], number])


def _triangle(part: Callable[[torch.Tensor, int], torch.Tensor]) -> Handler:
    """What a real tensor has on one side of a diagonal of its last two axes, 0 elsewhere."""

    def handler(g: GraphBuilder, a: Arguments) -> Any:
        if not is_real(g.ssa(a["self"]).type):
            return NotImplemented
        kept = part(torch.ones(g.shape[-2:], dtype=torch.bool), a["diagonal"])
        g.name_constant(kept)
        return g.build(aten.WhereOp, [kept, a["self"], 0.0])

    return handler


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.numel() == 1)


SPELLINGS: dict[str, Handler] = {
    **{
        f"aten.{predicate}.{overload}": _compare(predicate)
        for predicate in ("eq", "ne", "lt", "le", "gt", "ge")
        for overload in ("Tensor", "Scalar")
    },
    "aten.logical_and.default": _boolean(aten.LogicalAndOp),
    "aten.bitwise_and.Tensor": _boolean(aten.LogicalAndOp),
    "aten.__and__.Tensor": _boolean(aten.LogicalAndOp),
    "aten.logical_or.default": _or,
    "aten.bitwise_or.Tensor": _or,
    "aten.__or__.Tensor": _or,
    "aten.logical_not.default": _boolean(aten.LogicalNotOp),
    "aten.bitwise_not.default": _boolean(aten.LogicalNotOp),
    "aten.tril.default": _triangle(torch.tril),
    "aten.triu.default": _triangle(torch.triu),
    "aten.where.self": _where,
    "aten.where.ScalarOther": _where,
    "aten.where.ScalarSelf": _where,
    "aten.where.Scalar": _where,
    "aten.masked_fill.Scalar": _masked_fill,
    "aten.masked_fill.Tensor": _masked_fill,
}  # fmt: skip
"""Handlers by overload."""
