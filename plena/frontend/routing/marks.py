"""Integers and truths that hang on the chosen experts, as tensors of the model: programs have real numbers for them.

What is computed with them stays exact: plena.tensor.ranges knows which numbers are whole and small, which 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import Float32Type, FloatAttr, f64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import is_boolean, shape_of
from plena.frontend.routing.thresholds import FAR_BELOW
from plena.frontend.routing.values import Marks, number_of
from plena.frontend.spellings.conversions import convert
from plena.frontend.spellings.handlers import BOOLEAN
from plena.tensor.ranges import range_of
from plena.tensor.staged_tests import Test, on_bits

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder

_KEEPING = frozenset(
    f"aten.{name}"
    for name in (
        *("alias.default", "clone.default", "detach.default", "contiguous.default", "_to_copy.default"),
        *("lift_fresh_copy.default", "to.dtype", "type_as.default", "view.default", "reshape.default"),
        *("_unsafe_view.default", "unsqueeze.default", "squeeze.default", "squeeze.dim", "squeeze.dims"),
        *("flatten.using_ints", "unflatten.int", "permute.default", "transpose.int", "t.default"),
        *("expand.default", "slice.Tensor", "select.int", "narrow.default", "split.Tensor", "chunk.default"),
        *("split_with_sizes.default", "unbind.int"),
    )
)
"""Operators that keep numbers."""

_COMPUTING = frozenset(
    f"aten.{name}"
    for name in (
        *("add.Tensor", "sub.Tensor", "rsub.Scalar", "rsub.Tensor", "mul.Tensor", "neg.default"),
        "sum.dim_IntList",
    )
)
"""Operators that make integers of integers."""

_REAL = Float32Type()

_AND = ("logical_and", "bitwise_and", "__and__")
_OR = ("logical_or", "bitwise_or", "__or__")
_XOR = ("logical_xor", "bitwise_xor", "__xor__")

_NOT = ("logical_not", "bitwise_not")
_PREDICATES = ("eq", "ne", "lt", "le", "gt", "ge")


def import_marks(
    g: GraphBuilder, name: str, a: Mapping[str, Any], ordinary: Callable[[Mapping[str, Any]], Any]
) -> Any:
    """The value of the current node of which some operands may be marks; NotImplemented if nothing is known of them.

    Args:
        ordinary: imports the node with other arguments, as if no expert were chosen.
    """
    if not any(isinstance(value, Marks) for value in a.values()):
        return ordinary(a)
    kind = name.split(".")[1]
    if kind in ("where", "masked_fill"):
        return _choice(g, a)
    if kind in _AND + _OR + _XOR and g.element == BOOLEAN:
        return _both(g, a, kind)
    if kind in _NOT and g.element == BOOLEAN:
        return Marks(complement(g, _number(g, a["self"])))
    if kind in _PREDICATES:
        return _compared(g, kind, a)
    if kind == "scaled_dot_product_attention" and isinstance(a["attn_mask"], Marks):
        return import_marks(g, name, {**a, "attn_mask": hidden(g, a["attn_mask"].value)}, ordinary)
    if g.element == _REAL:
        return ordinary({key: value.value if isinstance(value, Marks) else value for key, value in a.items()})
    if name not in _KEEPING | _COMPUTING:
        return NotImplemented
    plain = {key: _operand(g, value) for key, value in a.items()}
    if any(value is NotImplemented for value in plain.values()):
        return NotImplemented
    with g.standing_for(g.shape, element=_REAL):
        found = ordinary(plain)
    every = found if isinstance(found, list | tuple) else [found]
    if not all(range_of(value).whole for value in every):
        return NotImplemented
    marks = [Marks(value) for value in every]
    if g.element == BOOLEAN and not all(range_of(mark.value).is_bits for mark in marks):
        return _compared(g, "ne", {"self": marks[0], "other": 0}) if len(marks) == 1 else NotImplemented
    return marks if isinstance(found, list | tuple) else marks[0]


def _operand(g: GraphBuilder, value: Any) -> Any:
    """What stands beside marks: numbers, and truths as numbers; of other integers nothing is known."""
    if isinstance(value, Marks):
        return value.value
    if isinstance(value, SSAValue | torch.Tensor):
        return _number(g, value) if is_boolean(g.ssa(value)) else NotImplemented
    return value


def _choice(g: GraphBuilder, a: Mapping[str, Any]) -> Any:
    """where and masked_fill: marks decide, and are no side."""
    decides = a.get("condition", a.get("mask"))
    if not isinstance(decides, Marks) or sum(isinstance(value, Marks) for value in a.values()) > 1:
        return NotImplemented
    mask = _truth(g, decides)
    if "mask" in a:
        mask = _negated(g, mask)
    return g.build(aten.WhereOp, [mask, a["self"], a["value"] if "mask" in a else a["other"]])


def _both(g: GraphBuilder, a: Mapping[str, Any], kind: str) -> Marks:
    """Marks and other truths: 1 where both are, or one of them is."""
    one, other = (_number(g, a[name]) for name in ("self", "other"))
    if kind in _AND:
        return Marks(_product(g, one, other))
    rests = complement(g, one), complement(g, other)
    if kind in _XOR:
        one, other = _product(g, one, rests[1]), _product(g, rests[0], other)
        rests = complement(g, one), complement(g, other)
    return Marks(complement(g, _product(g, *rests)))


def _product(g: GraphBuilder, one: SSAValue, other: SSAValue) -> SSAValue:
    return g.build(aten.MulOp, [one, other], shape=g.shape, element=_REAL)


def complement(g: GraphBuilder, mask: SSAValue) -> SSAValue:
    """1 where a mask is 0, and 0 where it is 1."""
    return g.build(aten.SubOp, [1.0, mask], shape=shape_of(mask), element=_REAL)


def hidden(g: GraphBuilder, mask: SSAValue) -> SSAValue:
    """What is added to scores: 0 where a mask is 1, far below any where it is 0."""
    far = g.build(aten.MulOp, [mask, FAR_BELOW], shape=shape_of(mask), element=_REAL)
    return g.build(aten.SubOp, [far, FAR_BELOW], shape=shape_of(mask), element=_REAL)


def _truth(g: GraphBuilder, value: Any) -> SSAValue:
    """A mark or a truth as booleans."""
    return convert(g, value.value if isinstance(value, Marks) else g.ssa(value), BOOLEAN)


def _negated(g: GraphBuilder, truth: SSAValue) -> SSAValue:
    return g.build(aten.LogicalNotOp, [truth], shape=shape_of(truth), element=BOOLEAN)


def _number(g: GraphBuilder, value: Any) -> SSAValue:
    """A truth as 0 or 1."""
    if isinstance(value, Marks):
        return value.value
    return convert(g, _truth(g, value), _REAL)


def _compared(g: GraphBuilder, kind: str, a: Mapping[str, Any]) -> Any:
    """Marks and an integer: the part between 0 and 1 of their difference."""
    marks, number = a.get("self"), number_of(a.get("other"))
    if not isinstance(marks, Marks) or number is None or not number.is_integer():
        return NotImplemented
    if range_of(marks.value).is_bits:
        truths = on_bits(Test(kind, number))
        if truths in ((False, True), (True, False)):
            return marks if truths[1] else Marks(complement(g, marks.value))
        return Marks(g.ssa(torch.full(shape_of(marks.value), float(truths[0]))))
    if kind in ("eq", "le", "ge"):
        opposite = {"eq": "ne", "le": "gt", "ge": "lt"}[kind]
        return Marks(complement(g, _compared(g, opposite, a).value))
    shape = shape_of(marks.value)
    sides = [number, marks.value] if kind == "lt" else [marks.value, number]
    apart = g.build(aten.SubOp, sides, shape=shape, element=_REAL)
    if kind == "ne":
        apart = g.build(aten.AbsOp, [apart], shape=shape, element=_REAL)
    bounds = {"min": FloatAttr(0.0, f64), "max": FloatAttr(1.0, f64)}
    found = g.build(aten.ClampOp, [apart], bounds, shape=shape, element=_REAL)
    return Marks(found) if range_of(found).is_bits else NotImplemented
