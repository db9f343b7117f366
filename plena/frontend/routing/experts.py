"""What one expert computes, and the sum over the experts that a token chose."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, Operation, Region, SSAValue

from plena.dialects import aten
from plena.dialects.plena import ExpertsOp, YieldOp
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.errors import CompileError
from plena.frontend.graph_builder import GraphBuilder, Parameter
from plena.frontend.routing.values import Picked, Routed, Routing, Rows, Slots
from plena.frontend.spellings.shapes import view

_ROLES = ("rows", "columns", "stacked")


def argument(routing: Routing, role: str, value: SSAValue) -> SSAValue:
    """What the body of one expert gets of a value: its rows, its column, or its part of a stack."""
    key = (role, value)
    if key not in routing.arguments:
        shape = {
            "rows": shape_of(value),
            "columns": (routing.tokens, 1),
            "stacked": shape_of(value)[1:],
        }[role]
        given = routing.block.insert_arg(TensorType(element_type_of(value), shape), len(routing.block.args))
        routing.arguments[key] = given
    return routing.arguments[key]


def in_body(g: GraphBuilder, value: Any, place: Routed, rank: int) -> Any:
    """An operand of an operator by element of pairs, as the body has it: [T or 1, *rest], or a number.

    Args:
        place: how the pairs of the result lie.
        rank: the axes of the result behind those of the pairs.

    Raises:
        CompileError: it is something else for each slot, or pairs lie in another order.
    """
    routing = place.routing
    if isinstance(value, Routed):
        value = value.lying_as(place)
        if value.routing is not routing or value.lie != place.lie or value.lead != place.lead:
            raise CompileError(
                "its operands belong to different choices of experts, or are in different orders",
                None,
                "Sort what belongs together by the same indices.",
            )
        own = _in_own_shape(g, value)
        if own is None:
            return value
        rest = (1,) * (rank - len(value.rest)) + value.rest
        with g.standing_for((), routing.builder):
            return view(g, own, (shape_of(own)[0], *rest))
    if not isinstance(value, torch.Tensor | SSAValue | Parameter):
        return value
    return _of_tokens(g, g.ssa(value), place, rank)


def _in_own_shape(g: GraphBuilder, value: Routed) -> SSAValue | None:
    routing = value.routing
    match value:
        case Rows():
            return value.value
        case Picked():
            own = argument(routing, "stacked", value.value)
            with g.standing_for((), routing.builder):
                return view(g, own, (1, *shape_of(own)))
        case Slots() if value.only is None:
            return argument(routing, "columns", routing.mask if value.dense is None else value.dense)
        case _:
            return None


def _of_tokens(g: GraphBuilder, value: SSAValue, place: Routed, rank: int) -> SSAValue:
    """A tensor of the model that has the same numbers for all slots of a token."""
    routing, total = place.routing, place.axis + 1 + rank
    shape = (1,) * (total - len(shape_of(value))) + shape_of(value)
    lead, slots, rest = shape[: place.axis], shape[place.axis], shape[place.axis + 1 :]
    if prod(lead) == 1 and slots == 1:
        if not shape_of(value):
            return value
        with g.standing_for((), routing.builder):
            return view(g, value, (1, *rest))
    rows = view(g, value, (routing.tokens, *rest)) if slots == 1 and prod(lead) == routing.tokens else None
    if rows is None:
        rows = repeated_rows(g, value, routing, rest)
    if rows is None:
        raise CompileError(
            "a tensor with other numbers for each slot of a token meets what experts compute",
            None,
            "Weight experts by numbers that hang on the expert, not on its place among the chosen ones.",
        )
    return argument(routing, "rows", rows)


def repeated_rows(
    g: GraphBuilder, value: SSAValue, routing: Routing, rest: tuple[int, ...]
) -> SSAValue | None:
    """The rows [T, *rest] of which a tensor has each k times, one behind the other; None if it is something else."""
    if routing.chosen == 1 and prod(shape_of(value)) == routing.tokens * prod(rest):
        return view(g, value, (routing.tokens, *rest))
    op = value.owner
    while isinstance(op, aten.ViewOp):
        op = op.input.owner
    if not isinstance(op, aten.ExpandOp):
        return None
    after = shape_of(op.result)
    before = (1,) * (len(after) - len(shape_of(op.input))) + shape_of(op.input)
    axes = [axis for axis, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    if len(axes) != 1 or after[axes[0]] != routing.chosen or prod(after[: axes[0]]) != routing.tokens:
        return None
    return view(g, op.input, (routing.tokens, *rest))


def summed_up(g: GraphBuilder, rows: Rows) -> SSAValue:
    """The sum over the experts that a token chose, [T, *rest]."""
    routing = rows.routing
    with g.standing_for((), routing.builder):
        value = view(g, rows.value, (routing.tokens, prod(rows.rest)))
        if routing.counts is not None:
            often = argument(routing, "columns", routing.counts)
            value = g.build(aten.MulOp, [value, often], shape=shape_of(value))
    needed = list(_needed(value, routing.block))
    used = {operand for op in needed for operand in op.operands} | {value}
    given = sorted(
        ((role, outer, own) for (role, outer), own in routing.arguments.items() if own in used),
        key=lambda entry: _ROLES.index(entry[0]),
    )
    block = Block(arg_types=[own.type for _, _, own in given])
    mapping: dict[SSAValue, SSAValue] = {own: new for (_, _, own), new in zip(given, block.args, strict=True)}
    for op in needed:
        block.add_op(op.clone(mapping))
    block.add_op(YieldOp([mapping[value]]))
    parts = [[outer for role, outer, _ in given if role == wanted] for wanted in _ROLES]
    experts = ExpertsOp(routing.mask, parts[0], parts[1], parts[2], Region(block))
    experts.attributes.update(g.location)
    g.builder.insert(experts)
    return view(g, experts.result, (routing.tokens, *rows.rest))


def _needed(value: SSAValue, block: Block) -> Iterator[Operation]:
    """The ops of a block that compute a value, in order."""
    needed, pending = set[Operation](), [value]
    while pending:
        owner = pending.pop().owner
        if isinstance(owner, Operation) and owner.parent is block and owner not in needed:
            needed.add(owner)
            pending.extend(owner.operands)
    yield from (op for op in block.ops if op in needed)
