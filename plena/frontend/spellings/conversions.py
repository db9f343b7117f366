"""Conversions between element types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.ir import Attribute, SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.frontend.spellings.handlers import Arguments, Handler

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _to(g: GraphBuilder, a: Arguments) -> SSAValue:
    """Between floating-point types nothing happens: the tensor level computes with real numbers."""
    return convert(g, g.ssa(a["self"]), g.element)


def convert(g: GraphBuilder, value: SSAValue, element: Attribute) -> SSAValue:
    """`value` with another kind of element."""
    if element_type_of(value) == element:
        return value
    return g.build(aten.ToOp, [value], shape=shape_of(value), element=element)


SPELLINGS: dict[str, Handler] = {
    **dict.fromkeys(
        [
            "aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten.to.other", "aten._to_copy.default",
            "aten.type_as.default",
        ],
        _to,
    ),
}  # fmt: skip
"""Handlers by overload."""
