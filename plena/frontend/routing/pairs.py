"""Pairs of token and slot: what is picked by their expert or token, sorted, multiplied and summed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.routing.experts import argument, in_body, summed_up
from plena.frontend.routing.slots import gathered
from plena.frontend.routing.values import Ids, Inverse, OneHot, Order, Picked, Routed, Rows, Slots, Tokens
from plena.frontend.spellings.shapes import view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def sorted_by_expert(ids: Ids) -> tuple[Ids, Order] | None:
    """Flat ids in ascending order, and where they came from; None of others."""
    if ids.lie != "flat" or ids.rest:
        return None
    place = (ids.routing, "sorted", ids.lead, ())
    return replace(ids, lie="sorted"), Order(*place)


def sorted_back(order: Order) -> tuple[None, Inverse]:
    """The order that undoes another one."""
    return None, Inverse(order.routing, "flat", order.lead, ())


def indexed(g: GraphBuilder, value: Any, indices: list[Any]) -> Any:
    """value[indices]; NotImplemented for other forms."""
    if len(indices) == 2 and isinstance(indices[1], Ids):
        return _by_token_and_id(g, value, *indices)
    if len(indices) != 1:
        return NotImplemented
    index = indices[0]
    routing = index.routing
    if isinstance(index, Order | Inverse):
        wanted, lie = ("flat", "sorted") if isinstance(index, Order) else ("sorted", "flat")
        if isinstance(value, Routed):
            same = value.routing is routing and value.lie == wanted
            return replace(value, lie=lie) if same and not index.rest else NotImplemented
        if not isinstance(index, Order) or routing.chosen != 1:
            return NotImplemented
    if isinstance(value, Routed) or index.rest:
        return NotImplemented
    table = g.ssa(value)
    if isinstance(index, Tokens | Order) and shape_of(table)[0] == routing.tokens:
        own = argument(routing, "rows", table)
        return Rows(routing, index.lie, index.lead, shape_of(table)[1:], value=own)
    if isinstance(index, Ids) and shape_of(table)[0] == routing.experts:
        return Picked(routing, index.lie, index.lead, shape_of(table)[1:], value=table)
    return NotImplemented


def _by_token_and_id(g: GraphBuilder, value: Any, tokens: Any, ids: Ids) -> Any:
    count = ids.routing.tokens
    if not isinstance(tokens, torch.Tensor) or isinstance(value, Routed):
        return NotImplemented
    single = ids.is_single and ids.shape == tuple(tokens.shape) == (count,)
    split = ids.lie == "split" and tuple(tokens.shape) == (count, 1)
    every = (single or split) and torch.equal(tokens.flatten(), torch.arange(count))
    fits = every and shape_of(g.ssa(value)) == (count, ids.routing.experts)
    return gathered(g, g.ssa(value), ids) if fits else NotImplemented


def put(g: GraphBuilder, table: Any, index: Routed, values: Any, accumulate: bool) -> Any:
    """table[index] = values, or += values."""
    routing = index.routing
    if isinstance(index, Order) and not accumulate:
        if isinstance(values, Rows | Slots | Ids) and values.lie == "sorted" and values.routing is routing:
            return replace(values, lie="flat")
        if not isinstance(values, torch.Tensor):
            return NotImplemented
        counts = torch.equal(values, torch.arange(routing.tokens * routing.chosen))
        return Inverse(routing, "flat", index.lead, ()) if counts else NotImplemented
    if isinstance(index, Tokens) or (isinstance(index, Order) and routing.chosen == 1):
        return added(g, table, index, values) if accumulate else NotImplemented
    return NotImplemented


def added(g: GraphBuilder, table: Any, index: Routed, values: Any) -> Any:
    """`table` [T, ...] with what belongs to pairs added to the rows of their tokens."""
    routing = index.routing
    if isinstance(table, Routed) or not isinstance(values, Rows):
        return NotImplemented
    if values.routing is not routing or values.lie != index.lie:
        return NotImplemented
    total = summed_up(g, values)
    if isinstance(table, torch.Tensor) and not bool(table.any()):
        return view(g, total, g.shape)
    return g.build(aten.AddOp, [table, view(g, total, g.shape)])


def grouped_product(g: GraphBuilder, rows: Rows, weight: SSAValue) -> Rows:
    """Sorted rows [P, K] times the matrices [E, K, N] of their experts."""
    routing, columns = rows.routing, shape_of(weight)[2]
    matrix = argument(routing, "stacked", weight)
    with g.standing_for((routing.tokens, columns), routing.builder):
        product = g.build(aten.MatmulOp, [rows.value, matrix])
    return replace(rows, rest=(columns,), value=product)


def batched_product(g: GraphBuilder, left: Any, right: Any) -> Any:
    """A product of a row of a pair with a matrix of its expert, on either side of it."""
    picked, other = (left, right) if isinstance(left, Picked) else (right, left)
    if not isinstance(picked, Picked) or len(picked.rest) != 2 or isinstance(other, Picked):
        return NotImplemented
    rows = _rows(g, other, picked)
    turned = picked is left
    if rows is None or len(shape_of(rows)) != 3 or shape_of(rows)[2 if turned else 1] != 1:
        return NotImplemented
    routing, rest = picked.routing, g.shape[picked.axis + 1 :]
    matrix = argument(routing, "stacked", picked.value)
    inner = max(shape_of(rows)[1:]) if not turned else shape_of(rows)[1]
    with g.standing_for((routing.tokens, max(rest)), routing.builder):
        flat = view(g, rows, (routing.tokens, inner))
        columns = shape_of(matrix)[0 if turned else 1]
        size = (routing.tokens, columns)
        if turned:
            product = g.build(aten.LinearOp, [flat, matrix, []], shape=size)
        else:
            product = g.build(aten.MatmulOp, [flat, matrix], shape=size)
        product = view(g, product, (routing.tokens, *rest))
    return Rows(routing, picked.lie, picked.lead, rest, value=product)


def _rows(g: GraphBuilder, value: Any, place: Routed) -> SSAValue | None:
    if isinstance(value, Routed) and not isinstance(value, Rows):
        return None
    shape = value.shape if isinstance(value, Rows) else shape_of(g.ssa(value))
    rows = in_body(g, value, place, len(shape) - place.axis - 1)
    return rows if shape_of(rows)[0] == place.routing.tokens else None


def shared_product(g: GraphBuilder, a: Mapping[str, Any], rows: Rows, ordinary: Any) -> Any:
    """Rows times a matrix that all experts share."""
    weight = a.get("weight", a.get("mat2", a.get("other")))
    if isinstance(weight, Routed) or len(shape_of(g.ssa(weight))) != 2 or isinstance(a.get("bias"), Routed):
        return NotImplemented
    rest = g.shape[rows.axis + 1 :]
    with g.standing_for((rows.routing.tokens, *rest), rows.routing.builder):
        found = ordinary({name: rows.value if value is rows else value for name, value in a.items()})
    return replace(rows, rest=rest, value=found)


def one_hot_summed(value: OneHot) -> SSAValue:
    """The sum over a token's slots, [T, E]."""
    return value.routing.total if value.dense is None else value.dense
