"""Zeros and ones that say which expert a token chose, as tensors of the model: torch has integers or truths, programs
real numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import Float32Type
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.routing.thresholds import FAR_BELOW
from plena.frontend.routing.values import Marks, number_of
from plena.frontend.spellings.conversions import convert
from plena.frontend.spellings.handlers import BOOLEAN

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
        *("split_with_sizes.default", "unbind.int", "mul.Tensor"),
    )
)
"""Operators that make zeros and ones of zeros and ones."""

_REAL = Float32Type()

_AND = ("logical_and", "bitwise_and", "__and__")
_OR = ("logical_or", "bitwise_or", "__or__")

_TRUE = {"eq": 1, "ne": 0, "gt": 0, "ge": 1}
_FALSE = {"eq": 0, "ne": 1, "lt": 1, "le": 0}
"""Comparisons with a number that say that a mark is 1, or that it is 0."""


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
    if kind in _AND + _OR and g.element == BOOLEAN:
        return _both(g, a, kind in _OR)
    if kind == "scaled_dot_product_attention" and isinstance(a["attn_mask"], Marks):
        return import_marks(g, name, {**a, "attn_mask": _allowed(g, a["attn_mask"])}, ordinary)
    if (same := _comparison(g, kind, a)) is not None:
        return same
    plain = {key: value.value if isinstance(value, Marks) else value for key, value in a.items()}
    if g.element == _REAL:
        return ordinary(plain)
    if name not in _KEEPING or any(isinstance(value, SSAValue) for value in a.values()):
        return NotImplemented
    with g.standing_for(g.shape, element=_REAL):
        found = ordinary(plain)
    return [Marks(value) for value in found] if isinstance(found, list | tuple) else Marks(found)


def _choice(g: GraphBuilder, a: Mapping[str, Any]) -> Any:
    """where and masked_fill: marks decide, and are no side."""
    decides = a.get("condition", a.get("mask"))
    if not isinstance(decides, Marks) or sum(isinstance(value, Marks) for value in a.values()) > 1:
        return NotImplemented
    mask = _truth(g, decides)
    if "mask" in a:
        mask = _negated(g, mask)
    return g.build(aten.WhereOp, [mask, a["self"], a["value"] if "mask" in a else a["other"]])


def _both(g: GraphBuilder, a: Mapping[str, Any], either: bool) -> Any:
    """Marks and other truths: 1 where both are, or one of them is."""
    one, other = (_number(g, a[name]) for name in ("self", "other"))
    truths = [_truth(g, a[name]) for name in ("self", "other")]
    if either:
        truths = [_negated(g, truth) for truth in truths]
    both = g.build(aten.LogicalAndOp, truths, element=BOOLEAN)
    with g.standing_for(g.shape, element=_REAL):
        product = g.build(aten.MulOp, [one, other])
        if not either:
            return Marks(product, both)
        total = g.build(aten.SubOp, [g.build(aten.AddOp, [one, other]), product])
    return Marks(total, _negated(g, both))


def _truth(g: GraphBuilder, value: Any) -> SSAValue:
    """A mark or a truth as booleans."""
    if isinstance(value, Marks):
        return convert(g, value.value, BOOLEAN) if value.truth is None else value.truth
    return convert(g, g.ssa(value), BOOLEAN)


def _negated(g: GraphBuilder, truth: SSAValue) -> SSAValue:
    return g.build(aten.LogicalNotOp, [truth], shape=shape_of(truth), element=BOOLEAN)


def _number(g: GraphBuilder, value: Any) -> SSAValue:
    """A truth as 0 or 1."""
    if isinstance(value, Marks):
        return value.value
    return convert(g, _truth(g, value), _REAL)


def _allowed(g: GraphBuilder, marks: Marks) -> SSAValue:
    """What is added to scores: 0 where a mark is 1, far below any where it is 0."""
    size = shape_of(marks.value)
    far = g.build(aten.MulOp, [marks.value, FAR_BELOW], shape=size, element=_REAL)
    return g.build(aten.SubOp, [far, FAR_BELOW], shape=size, element=_REAL)


def _comparison(g: GraphBuilder, kind: str, a: Mapping[str, Any]) -> Marks | None:
    """What says for each mark that it is 1, or that it is 0."""
    marks, number = a.get("self"), number_of(a.get("other"))
    if not isinstance(marks, Marks):
        return None
    if number is not None and _TRUE.get(kind) == number:
        return marks
    if kind in ("logical_not", "bitwise_not") or (number is not None and _FALSE.get(kind) == number):
        size = shape_of(marks.value)
        rest = g.build(aten.SubOp, [1.0, marks.value], shape=size, element=_REAL)
        return Marks(rest, _negated(g, _truth(g, marks)))
    return None
