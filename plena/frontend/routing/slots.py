"""Numbers of slots as numbers of experts: choices, what is summed up over the chosen ones, and what selects them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import ArrayAttr, Float32Type, IntegerAttr, StringAttr, TensorType, i64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.plena import RouteOp
from plena.dialects.tensor_shapes import is_real, shape_of
from plena.errors import CompileError
from plena.frontend.routing.marks import complement, hidden
from plena.frontend.routing.thresholds import FAR_BELOW, allow_thresholds
from plena.frontend.routing.values import Ids, Marks, OneHot, Ranked, Routed, Routing, Slots, number_of
from plena.frontend.spellings.conversions import convert
from plena.frontend.spellings.handlers import BOOLEAN
from plena.frontend.spellings.reductions import reduce
from plena.frontend.spellings.shapes import slice_along, view
from plena.tensor.element_types import torch_dtype
from plena.tensor.ranges import range_of

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder

_REAL, _LONG = Float32Type(), i64


def chosen(g: GraphBuilder, scores: SSAValue, k: int) -> tuple[Slots, Ids]:
    """The `k` largest numbers along the last axis, and where they are.

    Raises:
        CompileError: as many cannot be chosen of as many.
    """
    *lead, experts = shape_of(scores)
    if not is_real(scores.type):
        raise CompileError("it chooses among integers", None, "Choose experts by real scores.")
    routing = g.routings.get((scores, k))
    if routing is None:
        dense = view(g, scores, (prod(lead), experts))
        routing = g.routings[scores, k] = Routing(prod(lead), experts, k, _mask(g, dense, k), dense)
    place = (routing, "split", tuple(lead), ())
    return Slots(*place, dense=routing.scores), Ids(*place)


def given(g: GraphBuilder, ids: SSAValue, experts: int) -> Ids:
    """Ids [*tokens, k] that the host computes as a choice of experts."""
    *lead, chosen = shape_of(ids)
    tokens = prod(lead)
    key = (ids, chosen)
    if key not in g.routings:
        wide = (tokens, chosen, experts)
        long = convert(g, view(g, ids, wide[:2]), _LONG)
        hot = aten.OperatorOp.build(
            operands=[[long]],
            properties={
                "operator": StringAttr("aten.one_hot.default"),
                "arguments": ArrayAttr([StringAttr("%0"), IntegerAttr(experts, i64)]),
            },
            result_types=[[TensorType(_LONG, wide)]],
            attributes=g.location,
        )
        counts = reduce(g, aten.SumOp, g.insert(hot), [1], keepdim=False)
        size = (tokens, experts)
        once = convert(
            g, g.build(aten.CompareOp, [counts, 0], {"predicate": StringAttr("gt")}, size, BOOLEAN), _REAL
        )
        often = convert(g, counts, _REAL) if chosen > 1 else None
        g.routings[key] = Routing(tokens, experts, chosen, once, counts=often)
    return Ids(g.routings[key], "split", tuple(lead), ())


def _mask(g: GraphBuilder, scores: SSAValue, k: int) -> SSAValue:
    experts = shape_of(scores)[1]
    if k == experts:
        return g.ssa(torch.ones(shape_of(scores)))
    why = RouteOp.why_not(experts, k)
    if why is not None:
        raise CompileError(
            why, None, "Choose fewer experts, or run all of them and weight them by their scores."
        )
    route = RouteOp(scores, k)
    route.attributes.update(g.location)
    g.builder.insert(route)
    return route.result


def ranked(g: GraphBuilder, scores: SSAValue) -> tuple[Ranked, Ranked]:
    """Numbers in descending order along the last axis, and where they are."""
    lead = shape_of(scores)[:-1]
    return Ranked(lead, scores, False), Ranked(lead, scores, True)


def gathered(g: GraphBuilder, table: SSAValue, ids: Routed) -> Slots:
    """Numbers [*tokens, E] of the chosen experts."""
    routing = ids.routing
    dense = view(g, table, (routing.tokens, routing.experts))
    allow_thresholds(dense)
    return Slots(routing, ids.lie, ids.lead, ids.rest, dense=dense)


def scattered(
    g: GraphBuilder, table: Any, value: Slots | float, routing: Routing, added: bool
) -> SSAValue | torch.Tensor | Marks:
    """`table` [*tokens, E] with numbers put, or added, where experts are chosen, in its shape."""
    shape, size = g.shape, (routing.tokens, routing.experts)
    number, uniform = number_of(value), number_of(table)
    if routing.is_of_all and number is not None and not added:
        return _everywhere(g, number)
    if g.element != _REAL:
        return _marked(g, uniform, number, routing)
    if number == float("-inf") and not added:
        number = -FAR_BELOW
    if number is not None:
        where = routing.total if added else routing.mask
        put = where if number == 1 else g.build(aten.MulOp, [where, number], shape=size)
    else:
        assert isinstance(value, Slots)
        if not added:
            routing.require_distinct()
        put = masked(g, value)
    if uniform == float("-inf") and not added:
        return view(g, g.build(aten.AddOp, [put, hidden(g, routing.mask)], shape=size), shape)
    if uniform == 0:
        return view(g, put, shape)
    kept = view(g, g.ssa(table), size)
    if not added:
        kept = g.build(aten.MulOp, [kept, complement(g, routing.mask)], shape=size)
    result = g.build(aten.AddOp, [kept, put], shape=size)
    if number is not None and number <= -FAR_BELOW:
        routing.without.add(result)
    return view(g, result, shape)


def _everywhere(g: GraphBuilder, number: float) -> torch.Tensor:
    """What is put at all places."""
    whole = torch.full(g.shape, number).to(torch_dtype(g.element))
    g.name_constant(whole)
    return whole


def _marked(g: GraphBuilder, before: float | None, put: float | None, routing: Routing) -> Marks:
    """Truths or integers that are `put` where experts are chosen and `before` elsewhere."""
    if before is None or put is None or not (before.is_integer() and put.is_integer()):
        raise CompileError(
            "it puts integers or truths by the numbers of the chosen experts into a tensor of several",
            None,
            "Start with a tensor of one number and put one number; or scatter real numbers.",
        )
    mask = routing.mask
    if (before, put) == (1, 0):
        mask = complement(g, mask)
    elif (before, put) != (0, 1):
        steps = ((aten.MulOp, put - before), (aten.AddOp, before))
        for operation, number in steps:
            mask = g.build(operation, [mask, number], shape=shape_of(mask), element=_REAL)
    if not range_of(mask).whole:
        raise CompileError(
            f"it puts {put:g} into integers by the numbers of the chosen experts, which bf16 does not hold",
            None,
            "Put integers up to 256, or scatter real numbers.",
        )
    return Marks(view(g, mask, g.shape))


def masked(g: GraphBuilder, slots: Slots) -> SSAValue:
    """The numbers [T, E] of chosen experts, 0 for the others."""
    routing, dense = slots.routing, slots.dense
    if dense is None:
        return routing.total
    if routing.is_of_all:
        return dense
    if dense not in routing.alone:
        routing.alone[dense] = g.build(aten.MulOp, [dense, routing.total], shape=shape_of(dense))
    return routing.alone[dense]


def alone(g: GraphBuilder, slots: Slots) -> SSAValue:
    """The numbers [T, E] of chosen experts, far below any for the others."""
    routing, dense = slots.routing, slots.dense
    assert dense is not None
    if routing.is_of_all:
        return dense
    return g.build(aten.AddOp, [dense, hidden(g, routing.mask)], shape=shape_of(dense))


def summed(g: GraphBuilder, slots: Slots) -> SSAValue:
    """The sum over a token's slots, [T, 1]."""
    numbers = masked(g, slots)
    if slots.only is not None:
        return slice_along(g, numbers, 1, slots.only, slots.only + 1)
    return reduce(g, aten.SumOp, numbers, [1], keepdim=True)


def largest(g: GraphBuilder, slots: Slots) -> SSAValue:
    """The maximum over a token's slots, [T, 1]."""
    return reduce(g, aten.AmaxOp, alone(g, slots), [1], keepdim=True)


def softmax(g: GraphBuilder, slots: Slots) -> Slots:
    """The softmax over a token's slots."""
    slots.routing.require_distinct()
    numbers = alone(g, slots)
    weights = g.build(aten.SoftmaxOp, [numbers], {"dim": IntegerAttr(1, i64)}, shape=shape_of(numbers))
    slots.routing.alone.setdefault(weights, weights)
    return replace(slots, dense=weights)


def is_any(g: GraphBuilder, slots: Slots) -> SSAValue:
    """Whether one of a token's slots has the expert that is asked for, [T, 1]."""
    slots.routing.require_distinct()
    return convert(g, summed(g, slots), BOOLEAN)


def outside(g: GraphBuilder, slots: Slots) -> SSAValue:
    """The number of the one slot of each token."""
    routing = slots.routing
    if slots.only is None and slots.dense is not None and slots.dense is routing.scores:
        return reduce(g, aten.AmaxOp, slots.dense, [1], keepdim=True)
    return summed(g, slots)


def joined(g: GraphBuilder, parts: Sequence[Routed]) -> Slots | Ids | None:
    """Slots of several choices as those of one; None if they may choose the same expert.

    Later ones choose among scores in which those that are chosen before are far below.
    """
    routings = [part.routing for part in parts]
    for n, routing in enumerate(routings):
        if not all(routing.scores in before.without for before in routings[:n]):
            return None
    key = tuple(routings)
    if key not in g.unions:
        mask = routings[0].mask
        for routing in routings[1:]:
            mask = g.build(aten.AddOp, [mask, routing.mask], shape=shape_of(mask))
        g.unions[key] = Routing(
            routings[0].tokens, routings[0].experts, sum(routing.chosen for routing in routings), mask
        )
    place = (g.unions[key], parts[0].lie, parts[0].lead, parts[0].rest)
    if all(isinstance(part, Ids) for part in parts):
        return Ids(*place)
    numbers = [masked(g, part) for part in parts if isinstance(part, Slots) and part.only is None]
    if len(numbers) != len(parts):
        return None
    dense = numbers[0]
    for part in numbers[1:]:
        dense = g.build(aten.AddOp, [dense, part], shape=shape_of(dense))
    g.unions[key].alone[dense] = dense
    return Slots(*place, dense=dense)


def one_hot(ids: Routed, other: Any, shape: Sequence[int]) -> Slots | OneHot | None:
    """What `ids == other` is: of one expert, or of all of them along a last axis."""
    routing = ids.routing
    if ids.is_single and ids.lie == "split" and not ids.rest:
        ids = replace(ids, lie="flat", rest=(1,))
    number = int(other) if isinstance(other, int | float) else None
    if isinstance(other, torch.Tensor) and other.numel() == 1 and len(shape) == len(ids.shape):
        number = int(other)
    if number is not None:
        inside = 0 <= number < routing.experts
        return Slots(routing, ids.lie, ids.lead, ids.rest, only=number) if inside else None
    if not isinstance(other, torch.Tensor) or ids.rest[-1:] != (1,) or prod(ids.rest) != 1:
        return None
    counts = other.numel() == routing.experts and other.shape[-1] == routing.experts
    if not counts or not torch.equal(other.flatten(), torch.arange(routing.experts)):
        return None
    rest = (*ids.rest[:-1], routing.experts)
    return OneHot(routing, ids.lie, ids.lead, rest)
