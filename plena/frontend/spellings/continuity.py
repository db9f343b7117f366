"""Choices that a computed number decides: they have a kernel where both sides agree at the number it is compared with.

The machine rounds what it computes. Where the sides differ there, rounding could choose the other one; where they agree
it changes no more than any rounding does, as at the corner of a ReLU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node
from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, is_real, shape_of
from plena.frontend.folding import evaluate_node
from plena.frontend.spellings.handlers import BOOLEAN

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder

LARGEST_JUMP = 1e-5
"""Sides that differ by no more agree."""

_CONVERSIONS = ("aten.to", "aten._to_copy", "aten.clone", "aten.alias", "aten.detach", "aten.contiguous")


class _UnknownError(Exception):
    """A side depends on more than the number that decides."""


def continuous(g: GraphBuilder, condition: Any, one: Any, other: Any) -> Any:
    """The condition of a choice between two sides, nodes or numbers; marked if they agree where it changes."""
    value: Any = g.values[condition] if isinstance(condition, Node) else condition
    comparison = value.owner if isinstance(value, SSAValue) else None
    if isinstance(comparison, aten.LogicalNotOp) and isinstance(condition, Node) and len(condition.args) == 1:
        inner = continuous(g, condition.args[0], one, other)
        if inner is g.values.get(condition.all_input_nodes[0]):
            return value
        return g.build(aten.LogicalNotOp, [inner], shape=shape_of(value), element=BOOLEAN)
    if not isinstance(comparison, aten.CompareOp) or not isinstance(condition, Node):
        return value
    shape, element = shape_of(comparison.result), element_type_of(comparison.result)
    number = aten.full_value(comparison.other)
    decides = condition.args[0]
    if number is None or not isinstance(decides, Node) or not is_real(comparison.input.type):
        return value
    try:
        agree = all(_agree(g, one, other, node, at) for node, at in _where_equal(decides, number))
    except _UnknownError:
        return value
    if not agree:
        return value
    properties = {"predicate": comparison.predicate, "continuous": UnitAttr()}
    operands = [comparison.input, comparison.other]
    return g.build(aten.CompareOp, operands, properties, shape=shape, element=element)


def _where_equal(decides: Node, number: float) -> list[tuple[Node, float]]:
    """Of which node the sides are functions, and where what decides is the number: of magnitudes at two places."""
    inner = decides.args[0] if decides.target == torch.ops.aten.abs.default else None
    if isinstance(inner, Node) and number >= 0:
        return [(inner, number), (inner, -number)]
    return [(decides, number)]


def _agree(g: GraphBuilder, one: Any, other: Any, decides: Node, number: float) -> bool:
    """Whether both sides are the same where what decides has a value."""
    sides = [_at(g, side, decides, number, {}) for side in (one, other)]
    return bool(((sides[0] - sides[1]).abs() <= LARGEST_JUMP).all())


def _at(
    g: GraphBuilder, side: Any, decides: Node, number: float, known: dict[Node, torch.Tensor]
) -> torch.Tensor:
    """A side, element by element, where what decides has a value."""
    if not isinstance(side, Node):
        return torch.as_tensor(side, dtype=torch.float32)
    if _are_same(side, decides):
        meta = side.meta["val"]
        return torch.full(tuple(meta.shape), number, dtype=meta.dtype)
    value = g.values.get(side)
    if value is not None and not isinstance(value, SSAValue):
        value = getattr(value, "tensor", value)
        if isinstance(value, torch.Tensor):
            return value
    if side not in known:
        packet = str(getattr(side.target, "overloadpacket", ""))
        elementwise = torch.Tag.pointwise in getattr(side.target, "tags", ()) or packet in _CONVERSIONS
        if side.op != "call_function" or not elementwise:
            raise _UnknownError
        known[side] = evaluate_node(side, lambda node: _at(g, node, decides, number, known))
    return known[side]


_DEPTH = 5
"""Of expressions that are compared."""


def _are_same(one: Any, other: Any, depth: int = _DEPTH) -> bool:
    """Whether two arguments are one value: one node, or pure operators of the same arguments, as a model that writes an
    expression twice has them."""
    if not isinstance(one, Node) or not isinstance(other, Node):
        return type(one) is type(other) and bool(one == other)
    if one is other or not depth:
        return one is other
    tags = getattr(one.target, "tags", ())
    return (
        one.op == other.op == "call_function"
        and one.target == other.target
        and torch.Tag.nondeterministic_seeded not in tags
        and len(one.args) == len(other.args)
        and one.kwargs == other.kwargs
        and all(_are_same(a, b, depth - 1) for a, b in zip(one.args, other.args, strict=True))
    )
