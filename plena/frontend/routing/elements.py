"""Operators that treat every pair of token and slot alone: on numbers of all experts, or in the body of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.graph_builder import GraphBuilder, Parameter
from plena.frontend.routing.experts import in_body, repeated_rows
from plena.frontend.routing.slots import masked
from plena.frontend.routing.values import OneHot, Picked, Routed, Rows, Slots, Tensors
from plena.frontend.spellings import activations, arithmetic
from plena.frontend.spellings.shapes import permute, view

Ordinary = Callable[[Mapping[str, Any]], Any]
"""Imports the current node with other arguments, as if no expert were chosen."""

ELEMENTWISE = frozenset(
    [
        *(
            op.OVERLOAD
            for op in aten.Aten.operations
            if issubclass(op, aten.UnaryOp | aten.BinaryOp) and op.OVERLOAD
        ),
        *(set(arithmetic.SPELLINGS) | set(activations.SPELLINGS)) - {"aten.prelu.default"},
        *("aten.log2.default", "aten.log10.default", "aten.softplus.default", "aten.log_sigmoid.default"),
    ]
) - {"aten.logical_not.default", "aten.logical_and.default"}
"""Operators of which each element of the result depends on one element of each operand."""

_SAME = frozenset(
    f"aten.{name}"
    for name in (
        *(
            "alias.default",
            "clone.default",
            "detach.default",
            "contiguous.default",
            "lift_fresh_copy.default",
        ),
        *("_to_copy.default", "to.dtype", "type_as.default"),
    )
)
"""Operators that change nothing, or the element type."""

VIEWS = frozenset(
    f"aten.{name}"
    for name in (
        *("view.default", "reshape.default", "_unsafe_view.default", "unsqueeze.default", "squeeze.default"),
        *("squeeze.dim", "squeeze.dims", "flatten.using_ints", "unflatten.int"),
    )
)

_MOVES = frozenset(["aten.permute.default", "aten.transpose.int"])

_ALONG = frozenset(
    f"aten.{name}"
    for name in (
        *("slice.Tensor", "split_with_sizes.default", "split.Tensor", "chunk.default", "select.int"),
        *("sum.dim_IntList", "mean.dim", "amax.default", "softmax.int", "narrow.default"),
    )
)
"""Operators along axes that they are told."""


def import_elements(g: GraphBuilder, name: str, a: Mapping[str, Any], ordinary: Ordinary) -> Any:
    """The node's value; NotImplemented if it does not treat pairs alone."""
    routed = [value for value in a.values() if isinstance(value, Routed)]
    first = routed[0]
    if (name in _SAME or (name == "aten.slice.Tensor" and g.shape == first.shape)) and len(routed) == 1:
        return first
    if name == "aten.select.int" and first.shape[a["dim"]] == 1:
        return _viewed(g, first)
    if name in VIEWS:
        return _viewed(g, first)
    if name == "aten.expand.default":
        return _expanded(g, first, ordinary)
    if name in _MOVES:
        return _moved(g, a, first)
    if name in _ALONG and len(routed) == 1:
        return _along(g, a, first, ordinary)
    if name == "aten.mul.Tensor" and (found := _selected(g, a)) is not None:
        return found
    if name in ELEMENTWISE:
        return _elementwise(g, a, ordinary)
    return NotImplemented


def _viewed(g: GraphBuilder, value: Routed) -> Any:
    shape = g.shape
    place = value.viewed(shape)
    if place is None:
        return NotImplemented
    if isinstance(place, Tensors):
        with g.standing_for((), place.builder):
            return replace(place, value=view(g, place.value, (place.count, *place.rest)))
    if isinstance(place, OneHot):
        return place if place.rest[-1:] == value.rest[-1:] else NotImplemented
    return place if prod(place.rest) == 1 else NotImplemented


def _expanded(g: GraphBuilder, value: Routed, ordinary: Ordinary) -> Any:
    shape = g.shape
    if shape == value.shape:
        return value
    if len(shape) != len(value.shape) or shape[: value.axis + 1] != value.shape[: value.axis + 1]:
        return NotImplemented
    rest = shape[value.axis + 1 :]
    if not isinstance(value, Slots | Rows):
        return replace(value, rest=rest) if not isinstance(value, Picked | OneHot) else NotImplemented
    own = in_body(g, value, value, len(rest))
    with g.standing_for((value.routing.tokens, *rest), value.routing.builder):
        return Rows(value.routing, value.lie, value.lead, rest, value=ordinary({"self": own}))


def _moved(g: GraphBuilder, a: Mapping[str, Any], value: Routed) -> Any:
    """Axes behind those of the pairs reordered."""
    if not isinstance(value, Tensors):
        return NotImplemented
    rank, start = len(value.shape), value.axis + 1
    dims = list(range(rank))
    if "dims" in a:
        dims = [d % rank for d in a["dims"]]
    else:
        one, other = a["dim0"] % rank, a["dim1"] % rank
        dims[one], dims[other] = other, one
    if dims[:start] != list(range(start)):
        return NotImplemented
    rest = tuple(value.shape[d] for d in dims[start:])
    inner = [0, *(d - value.axis for d in dims[start:])]
    with g.standing_for((), value.builder):
        return replace(value, rest=rest, value=permute(g, value.value, inner))


def _along(g: GraphBuilder, a: Mapping[str, Any], value: Routed, ordinary: Ordinary) -> Any:
    """Operators along axes behind those of the pairs."""
    if not isinstance(value, Tensors):
        return NotImplemented
    rank = len(value.shape)
    given = a["dim"] if isinstance(a["dim"], list) else [a["dim"]]
    dims = [d % rank for d in given or range(rank)]
    if any(d <= value.axis for d in dims):
        return NotImplemented
    inner = [d - value.axis for d in dims]
    adapted = {**a, "dim": inner if isinstance(a["dim"], list) else inner[0]}
    rest = g.shape[value.axis + 1 :]
    with g.standing_for((value.count, *rest), value.builder):
        return _each(value, ordinary({**adapted, "self": value.value}))


def _each(like: Tensors, found: Any) -> Any:
    if isinstance(found, list | tuple):
        return [_each(like, value) for value in found]
    return replace(like, rest=shape_of(found)[1:], value=found)


def _selected(g: GraphBuilder, a: Mapping[str, Any]) -> Slots | OneHot | None:
    """A product with what is 1 for some experts alone."""
    for one, other in ((a["self"], a["other"]), (a["other"], a["self"])):
        if isinstance(one, OneHot) and isinstance(other, Slots) and one.dense is None:
            same = other.lying_as(one)
            fits = one.routing is same.routing and (one.lie, one.lead) == (same.lie, same.lead)
            return replace(one, dense=masked(g, same)) if fits and same.only is None else None
        if (found := slots_of_expert(one, other)) is not None:
            return found
    return None


def slots_of_expert(condition: Any, value: Any) -> Slots | None:
    """Numbers of slots where `condition` says that they have some expert, 0 elsewhere; None of other operands."""
    if not isinstance(condition, Slots) or condition.only is None or condition.dense is not None:
        return None
    if not isinstance(value, Slots) or value.routing is not condition.routing or value.lie != condition.lie:
        return None
    return replace(value, only=condition.only) if value.only in (None, condition.only) else None


def _elementwise(g: GraphBuilder, a: Mapping[str, Any], ordinary: Ordinary) -> Any:
    shape = g.shape
    given = [value for value in a.values() if isinstance(value, Routed)]
    place = max(given, key=lambda value: (len(value.shape), prod(value.shape)))
    a = {n: value.lying_as(place) if isinstance(value, Routed) else value for n, value in a.items()}
    given = [value for value in a.values() if isinstance(value, Routed)]
    rest = shape[place.axis + 1 :]
    if shape[: place.axis + 1] != place.shape[: place.axis + 1]:
        return NotImplemented
    dense = {name: _dense(g, value, place, rest) for name, value in a.items()}
    if all(value is not NotImplemented for value in dense.values()):
        size = (place.routing.tokens, place.routing.experts)
        with g.standing_for(size):
            return Slots(place.routing, place.lie, place.lead, rest, dense=ordinary(dense))
    of_model = all(isinstance(value, Slots) and value.is_single for value in given)
    if of_model or not all(isinstance(value, Slots | Tensors) for value in given):
        return NotImplemented
    inner = {name: in_body(g, value, place, len(rest)) for name, value in a.items()}
    with g.standing_for((place.routing.tokens, *rest), place.routing.builder):
        found = ordinary(inner)
    return Rows(place.routing, place.lie, place.lead, rest, value=found)


def _dense(g: GraphBuilder, value: Any, place: Routed, rest: tuple[int, ...]) -> Any:
    """An operand as numbers of all experts [T or 1, E or 1]; NotImplemented if it is none."""
    routing = place.routing
    if prod(rest) != 1:
        return NotImplemented
    if isinstance(value, Slots):
        same = value.routing is routing and (value.lie, value.lead) == (place.lie, place.lead)
        if not same or value.only is not None:
            return NotImplemented
        return routing.mask if value.dense is None else value.dense
    if isinstance(value, Routed):
        return NotImplemented
    if not isinstance(value, torch.Tensor | SSAValue | Parameter):
        return value
    tensor = g.ssa(value)
    total = place.axis + 1 + len(rest)
    shape = (1,) * (total - len(shape_of(tensor))) + shape_of(tensor)
    if prod(shape) == 1:
        return view(g, tensor, ())
    pairs = shape[: place.axis + 1]
    if prod(pairs) == routing.tokens and (pairs[-1] == 1 or place.is_single):
        return view(g, tensor, (routing.tokens, 1))
    repeated = repeated_rows(g, tensor, routing, (1,)) if len(shape) == total else None
    return NotImplemented if repeated is None else repeated
