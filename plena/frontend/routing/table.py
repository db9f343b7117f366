"""Operators on what depends on the chosen experts, and those that choose them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node
from xdsl.dialects.builtin import Float32Type
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.plena.routing import MOST_EXPERTS
from plena.dialects.refusals import ONES_OF_CHOSEN
from plena.dialects.tensor_shapes import is_real, shape_of
from plena.errors import CompileError
from plena.frontend.refusals import name_of
from plena.frontend.routing import pairs, slots
from plena.frontend.routing.contractions import weighted_sum
from plena.frontend.routing.elements import VIEWS, Ordinary, import_elements, slots_of_expert
from plena.frontend.routing.experts import summed_up
from plena.frontend.routing.marks import import_marks
from plena.frontend.routing.values import (
    Across,
    Counts,
    Ids,
    Inverse,
    Marks,
    OfRouting,
    OneHot,
    Order,
    Ranked,
    Routed,
    Rows,
    Slots,
    Tokens,
    instead_of,
    number_of,
)
from plena.frontend.spellings.arithmetic import scaled
from plena.frontend.spellings.conversions import convert
from plena.frontend.spellings.handlers import BOOLEAN, reads_first_alone
from plena.frontend.spellings.reductions import reduce
from plena.frontend.spellings.shapes import permute, view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder

_NO_SLOTS = "Use them to weight and to sum up what the chosen experts compute: programs have no slots."
_ALL_AT_ONCE = (
    " Write a loop over `ids[:, j]` for all slots at once: `h = x[:, None, None] @ up[ids]` and so on, then "
    "`(y * weights[..., None]).sum(1)`."
)

_BY_EINSUM = (
    "Write one einsum for each product, of a row and its expert's matrix, slots before features: "
    "`h = einsum('td,tkid->tki', x, up[ids])`, `y = einsum('tki,tkhi->tkh', h, down[ids])`, then "
    "`einsum('tkh,tk->th', y, weights)`."
)

_SORTS = ("aten.sort.default", "aten.sort.stable")
_BY_EXPERT = (
    *_SORTS,
    "aten.argsort.default",
    "aten.argsort.stable",
    "aten.histc.default",
    "aten.one_hot.default",
)
_PRODUCTS = ("aten.bmm.default", "aten.matmul.default", "aten.mm.default", "aten.linear.default")
_REDUCTIONS = ("aten.sum.dim_IntList", "aten.mean.dim", "aten.amax.default", "aten.max.dim", "aten.any.dim")
_NORM = "aten.linalg_vector_norm.default"
_GROUPED = ("transformers.grouped_mm_fallback.default", "aten._grouped_mm.default")


def import_routed(g: GraphBuilder, name: str, a: Mapping[str, Any], ordinary: Ordinary) -> Any:
    """The value of the current node if it chooses experts or depends on the chosen ones, else NotImplemented.

    Raises:
        CompileError: it depends on them in a way that no sum over experts expresses.
    """
    given = [v for value in a.values() for v in (value if isinstance(value, list) else [value])]
    if not any(isinstance(value, OfRouting) for value in given):
        return _choice(g, name, a)
    marked = any(isinstance(value, Marks) for value in given)
    result = NotImplemented if marked else _on_routed(g, name, a, ordinary)
    if result is NotImplemented and all(_is_single(value) for value in given if isinstance(value, OfRouting)):
        result = import_marks(g, name, {key: _single(g, value) for key, value in a.items()}, ordinary)
    if result is NotImplemented:
        raise _refusal(g, name, given)
    return result


def _refusal(g: GraphBuilder, name: str, given: Sequence[Any]) -> CompileError:
    """Why there is no sum over experts for the current node, and what to write instead."""
    needs = "the numbers of the chosen experts, or what is theirs, in the order of the slots"
    if str(g.node.meta.get("torch_fn")).endswith("einsum')"):
        return CompileError(f"it is a step of an einsum that needs {needs}", None, _BY_EINSUM)
    weighs = any(isinstance(value, Slots) for value in given)
    if weighs and name.split(".")[1] in ("gt", "ge", "lt", "le", "eq", "ne"):
        return CompileError("it compares numbers that belong to the chosen experts", None, ONES_OF_CHOSEN)
    return CompileError(f"it needs {needs}", None, _NO_SLOTS + _INSTEAD.get(name, instead_of(*given)))


def left(g: GraphBuilder, value: Any) -> Any:
    """A value where a model returns it: what there is for each token if it has one slot, else the value itself.

    Integers and truths are real numbers until the host has them.
    """
    found = _single(g, value) if _is_single(value) else value
    return found.value if isinstance(found, Marks) else found


def _is_single(value: Any) -> bool:
    """Whether there is one slot for each token: then slots are nothing apart."""
    return isinstance(value, Marks) or (isinstance(value, Slots | Rows | OneHot) and value.is_single)


def _single(g: GraphBuilder, value: Any) -> Any:
    """What there is for each token, in the shape that the model sees."""
    match value:
        case Slots(dense=None):
            return Marks(view(g, slots.summed(g, value), value.shape))
        case OneHot(dense=None):
            return Marks(view(g, value.routing.mask, value.shape))
        case OneHot(dense=SSAValue() as dense):
            return view(g, dense, value.shape)
        case Slots():
            return view(g, slots.outside(g, value), value.shape)
        case Rows():
            return view(g, summed_up(g, value), value.shape)
        case list():
            return [_single(g, element) for element in value]
        case _:
            return value


def _choice(g: GraphBuilder, name: str, a: Mapping[str, Any]) -> Any:
    """topk, and what says the same."""
    value = a.get("self")
    if not isinstance(value, SSAValue) or not is_real(value.type) or not shape_of(value):
        return NotImplemented
    rank = len(shape_of(value))
    last = a.get("dim") in (-1, rank - 1)
    if name == "aten.topk.default":
        if not last or not a["largest"]:
            raise CompileError("it chooses along another axis than the last, or the smallest", None, _LAST)
        return slots.chosen(g, value, a["k"])
    if name in _SORTS and a["descending"] and last and _is_cut(g):
        return slots.ranked(g, value)
    if name == "aten.gather.default" and last and _ids_choose_experts(g, a["index"], shape_of(value)):
        ids = slots.given(g, a["index"], shape_of(value)[-1])
        g.values[_index_node(g)] = ids
        return slots.gathered(g, value, ids)
    if (
        name in ("aten.max.dim", "aten.argmax.default", "aten.argmin.default")
        and a["dim"] is not None
        and (a["keepdim"] or rank > 1)
    ):
        dim = a["dim"] % rank
        if (name == "aten.max.dim" and reads_first_alone(g)) or shape_of(value)[dim] > MOST_EXPERTS:
            return NotImplemented
        if name == "aten.argmin.default":
            value = g.build(aten.NegOp, [value], shape=shape_of(value), element=Float32Type())
        best = _best(g, value, dim, a["keepdim"])
        return best if name == "aten.max.dim" else best[1]
    return NotImplemented


def _best(g: GraphBuilder, value: SSAValue, dim: int, keepdim: bool) -> Sequence[Any]:
    """The largest numbers along an axis, and where they are."""
    rank = len(shape_of(value))
    turned = permute(g, value, _to_the_end(rank, dim))
    best = slots.chosen(g, turned, 1)
    if not keepdim:
        return [found.viewed(shape_of(turned)[:-1]) for found in best]
    if dim == rank - 1:
        return best
    return reduce(g, aten.AmaxOp, value, dim, keepdim=True), Across(best[1], dim)


def _to_the_end(rank: int, dim: int) -> list[int]:
    """An order of axes with one of them last."""
    return [*(d for d in range(rank) if d != dim), dim]


def _index_node(g: GraphBuilder) -> Node:
    """What gives the ids of a gather, the current node."""
    node = g.node.args[2] if len(g.node.args) > 2 else g.node.kwargs["index"]
    assert isinstance(node, Node)
    return node


def _ids_choose_experts(g: GraphBuilder, index: Any, table: tuple[int, ...]) -> bool:
    """Whether numbers of columns are integers of the host [*tokens, k] that something else reads as ids of experts:
    it sorts or counts by them, or picks matrices of the model."""
    if not isinstance(index, SSAValue) or is_real(index.type) or shape_of(index)[:-1] != table[:-1]:
        return False
    waiting = [_index_node(g)]
    while waiting:
        for reader in waiting.pop().users:
            name = name_of(reader)
            if name in VIEWS:
                waiting.append(reader)
            elif reader not in g.plan.needed:
                continue
            elif name in _BY_EXPERT or (name == "aten.index.Tensor" and _is_stack(g, reader.args[0])):
                return True
    return False


def _is_stack(g: GraphBuilder, source: Any) -> bool:
    """Whether a node is a parameter with a matrix for each expert."""
    tensor = getattr(g.values.get(source), "tensor", None)
    return isinstance(tensor, torch.Tensor) and tensor.ndim >= 3


def _is_cut(g: GraphBuilder) -> bool:
    """Whether nothing but parts of what the current node sorts is read."""
    readers = [reader for result in g.node.users for reader in result.users if reader in g.plan.needed]
    return all(name_of(reader) == "aten.slice.Tensor" for reader in readers)


_INSTEAD = {
    "aten.where.self": " Weight what an expert computes: `w = torch.where(ids == e, weights, 0.0).sum(-1, "
    "keepdim=True)`, then `w * y`.",
    "aten.select.int": _ALL_AT_ONCE,
    "aten.slice.Tensor": _ALL_AT_ONCE,
    "aten.gather.default": " Weight what all experts compute by "
    "`w = torch.zeros_like(scores).scatter(1, ids, weights)`: `(y * w[..., None]).sum(1)`.",
}
"""What to write instead of an operator on slots."""

_LAST = "Choose the largest along the last axis: scores.transpose(...).topk(k), or (-scores).topk(k)."


def _on_routed(g: GraphBuilder, name: str, a: Mapping[str, Any], ordinary: Ordinary) -> Any:
    value = a.get("self", a.get("input"))
    if isinstance(value, Ranked):
        return _first(g, name, a, value)
    if isinstance(value, Counts) or isinstance(a.get("offs"), Counts) or name == "aten.histc.default":
        return _counted(g, name, a, value)
    found = _selection(g, name, a, value)
    if found is not NotImplemented:
        return found
    if name == "aten.cat.default":
        return _joined(g, a)
    if name in _PRODUCTS:
        operands = a.get("self", value), a.get("mat2", a.get("other"))
        found = pairs.batched_product(g, *operands)
        if found is NotImplemented:
            found = weighted_sum(g, *operands)
        if found is NotImplemented and isinstance(value, Rows):
            found = pairs.shared_product(g, a, value, ordinary)
        return found
    if name in _REDUCTIONS or name in ("aten.softmax.int", _NORM):
        found = _over_slots(g, name, a, value, ordinary)
        if found is not NotImplemented:
            return found
    if not any(isinstance(v, Routed) for v in a.values()):
        return NotImplemented
    return import_elements(g, name, a, ordinary)


def _first(g: GraphBuilder, name: str, a: Mapping[str, Any], value: Ranked) -> Any:
    """The first k of all numbers in descending order."""
    whole = shape_of(value.scores)
    last = name == "aten.slice.Tensor" and a["dim"] % len(whole) == len(whole) - 1
    if not last or a["step"] != 1 or (a["start"] or 0) != 0:
        return NotImplemented
    count = min(whole[-1], whole[-1] if a["end"] is None else a["end"])
    return slots.chosen(g, value.scores, count)[1 if value.ids else 0]


def _joined(g: GraphBuilder, a: Mapping[str, Any]) -> Any:
    """Slots one behind the other."""
    parts = a["tensors"]
    if not all(isinstance(part, Slots | Ids) and part.lie == "split" and not part.rest for part in parts):
        return NotImplemented
    last = a["dim"] % len(g.shape) == len(g.shape) - 1
    found = (
        slots.joined(g, parts) if last and len({(p.lead, p.routing.experts) for p in parts}) == 1 else None
    )
    return NotImplemented if found is None else found


def _counted(g: GraphBuilder, name: str, a: Mapping[str, Any], value: Any) -> Any:
    """How many pairs experts have, and products of pairs that are sorted so."""
    if name == "aten.histc.default" and isinstance(value, Ids):
        every = (a["bins"], a["min"], a["max"]) == (value.routing.experts, 0, value.routing.experts - 1)
        return Counts(value.routing) if every else NotImplemented
    if name == "aten.cumsum.default" and isinstance(value, Counts) and not value.ends:
        return Counts(value.routing, ends=True)
    if name in ("aten._to_copy.default", "aten.to.dtype") and isinstance(value, Counts):
        return value
    if name in _GROUPED and isinstance(value, Rows) and isinstance(a["offs"], Counts):
        weight = g.ssa(a.get("weight", a.get("mat2")))
        fits = value.lie == "sorted" and a["offs"].ends and a["offs"].routing is value.routing
        if not fits or a.get("bias") is not None or shape_of(weight)[0] != value.routing.experts:
            return NotImplemented
        return pairs.grouped_product(g, value, weight)
    return NotImplemented


def _selection(g: GraphBuilder, name: str, a: Mapping[str, Any], value: Any) -> Any:
    """Operators that pick, put or compare by ids and orders."""
    index = a.get("index")
    match name:
        case "aten.gather.default" if isinstance(index, Ids) and not isinstance(value, Routed):
            index = index.split()
            table, fits = g.ssa(value), index.lie == "split" and not index.rest
            whole = (*index.lead, index.routing.experts)
            return slots.gathered(g, table, index) if fits and shape_of(table) == whole else NotImplemented
        case "aten.scatter.value" | "aten.scatter.src" | "aten.scatter_add.default":
            return _scattered(g, name, a, value, index)
        case "aten.index.Tensor" if all(isinstance(i, Routed | torch.Tensor) for i in a["indices"]):
            return pairs.indexed(g, value, a["indices"])
        case "aten.index_select.default" if isinstance(index, Routed) and a["dim"] == 0:
            return pairs.indexed(g, value, [index])
        case "aten.embedding.default" if isinstance(a["indices"], Routed):
            return pairs.indexed(g, a["weight"], [a["indices"]])
        case "aten.index_put.default" if len(a["indices"]) == 1 and isinstance(a["indices"][0], Routed):
            return pairs.put(g, value, a["indices"][0], a["values"], a["accumulate"])
        case "aten.index_add.default" if isinstance(index, Tokens) and (a["dim"], a["alpha"]) == (0, 1):
            return pairs.added(g, value, index, a["source"])
        case "aten.sort.default" | "aten.sort.stable" if not a["descending"]:
            found = pairs.sorted_by_expert(value) if isinstance(value, Ids) else None
            if isinstance(value, Order) and not value.rest:
                found = pairs.sorted_back(value)
            return NotImplemented if found is None else found
        case "aten.div.Tensor_mode" | "aten.floor_divide.default" if isinstance(value, Order):
            by = a["other"]
            floors = a.get("rounding_mode", "floor") in ("floor", "trunc")
            by = int(by) if isinstance(by, int | torch.Tensor) else 0
            fits = floors and by == value.routing.chosen
            return Tokens(value.routing, "sorted", value.lead, value.rest) if fits else NotImplemented
        case "aten.eq.Scalar" | "aten.eq.Tensor":
            ids, other = (value, a["other"]) if isinstance(value, Ids) else (a["other"], value)
            found = slots.one_hot(ids, other, g.shape) if isinstance(ids, Ids) else None
            return NotImplemented if found is None else found
        case "aten.where.self":
            return _where(a)
        case _:
            return NotImplemented


def _where(a: Mapping[str, Any]) -> Any:
    """A number where a slot has some expert, 0 elsewhere."""
    zero = number_of(a["other"]) == 0
    found = slots_of_expert(a["condition"], a["self"]) if zero else None
    return NotImplemented if found is None else found


def _scattered(g: GraphBuilder, name: str, a: Mapping[str, Any], value: Any, index: Any) -> Any:
    added = name == "aten.scatter_add.default"
    put = a.get("value", a.get("src"))
    if isinstance(value, Routed):
        return NotImplemented
    if isinstance(index, Across):
        return _scattered_across(g, name, a, index)
    if isinstance(index, Tokens) and added and a["dim"] == 0:
        return pairs.added(g, value, index, put)
    index, put = (v.split() if isinstance(v, Ids | Slots) else v for v in (index, put))
    if not isinstance(index, Ids) or index.lie != "split" or index.rest:
        return NotImplemented
    last = a["dim"] % len(g.shape) == len(g.shape) - 1
    number = number_of(put)
    if not last or g.shape != (*index.lead, index.routing.experts):
        return NotImplemented
    if number is None:
        if (
            not isinstance(put, Slots)
            or put.routing is not index.routing
            or put.lie != "split"
            or put.only is not None
        ):
            return NotImplemented
        return slots.scattered(g, value, put, index.routing, added)
    return slots.scattered(g, value, number, index.routing, added)


def _scattered_across(g: GraphBuilder, name: str, a: Mapping[str, Any], index: Across) -> Any:
    """The same along another axis than the last."""
    shape = g.shape
    rank, table = len(shape), a["self"]
    if a["dim"] % rank != index.dim:
        return NotImplemented
    order = _to_the_end(rank, index.dim)
    back = [order.index(d) for d in range(rank)]
    with g.standing_for(tuple(shape[d] for d in order)):
        if number_of(table) is None:
            table = permute(g, g.ssa(table), order)
        found = _scattered(g, name, {**a, "self": table, "dim": rank - 1}, table, index.ids)
        match found:
            case Marks():
                return Marks(permute(g, found.value, back))
            case SSAValue():
                return permute(g, found, back)
            case torch.Tensor():
                return found.reshape(shape)  # one number throughout
            case _:
                return NotImplemented


def _over_slots(g: GraphBuilder, name: str, a: Mapping[str, Any], value: Any, ordinary: Ordinary) -> Any:
    """Reductions over the axis of slots, and softmax along it."""
    if (
        not isinstance(value, Routed)
        or value.lie != "split"
        or isinstance(value, Ids | Tokens | Order | Inverse)
    ):
        return NotImplemented
    given = a["dim"] if isinstance(a["dim"], list) else [a["dim"]]
    if [d % len(value.shape) for d in given] != [value.axis]:
        return NotImplemented
    shape, kind = g.shape, name.split(".")[1]
    match value, kind:
        case Slots(only=None, dense=SSAValue()), "softmax":
            return slots.softmax(g, value)
        case Slots(only=None), "linalg_vector_norm":
            with g.standing_for((value.routing.tokens, 1)):
                norm = ordinary({**a, "self": slots.masked(g, value), "dim": [1], "keepdim": True})
            return norm if norm is NotImplemented else view(g, norm, shape)
        case Slots(), "sum":
            return view(g, slots.summed(g, value), shape)
        case Slots(only=None), "mean":
            return scaled(g, view(g, slots.summed(g, value), shape), 1.0 / value.routing.chosen)
        case Slots(only=None, dense=SSAValue()), "amax":
            return view(g, slots.largest(g, value), shape)
        case Slots(only=None, dense=SSAValue()), "max" if reads_first_alone(g):
            return [view(g, slots.largest(g, value), shape), None]
        case Slots(dense=None), "any":
            return view(g, slots.is_any(g, value), shape)
        case OneHot(), "sum" if value.rest == (value.routing.experts,):
            return view(g, pairs.one_hot_summed(value), shape)
        case OneHot(dense=None), "amax" | "any" if value.rest == (value.routing.experts,):
            mask = value.routing.mask
            return view(g, convert(g, mask, BOOLEAN) if kind == "any" else mask, shape)
        case Rows(), "sum":
            return view(g, summed_up(g, value), shape)
        case _:
            return NotImplemented
