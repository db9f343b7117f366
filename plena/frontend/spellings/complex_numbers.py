"""Complex tensors as pairs of real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import IntegerAttr, i64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.frontend.refusals import refusal_at
from plena.frontend.spellings.handlers import Arguments, Handler
from plena.frontend.spellings.shapes import slice_along, view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


@dataclass(frozen=True)
class ComplexPair:
    """A complex tensor by its parts, as some models write rotary embeddings."""

    real: SSAValue
    imaginary: SSAValue


def _view_as_complex(g: GraphBuilder, a: Arguments) -> ComplexPair:
    value = g.ssa(a["self"])
    last, shape = len(shape_of(value)) - 1, shape_of(value)[:-1]
    element = element_type_of(value)
    parts = [slice_along(g, value, last, i, i + 1) for i in (0, 1)]
    real, imaginary = (g.build(aten.ViewOp, [part], shape=shape, element=element) for part in parts)
    return ComplexPair(real, imaginary)


def _parts(g: GraphBuilder, value: Any) -> ComplexPair:
    if isinstance(value, ComplexPair):
        return value
    if not isinstance(value, torch.Tensor) or not value.is_complex():
        raise refusal_at(
            g.node,
            "a complex tensor is multiplied by what is no complex tensor",
            "Multiply real and imaginary parts: torch.view_as_real(x) gives them.",
        )
    parts = [value.real.contiguous(), value.imag.contiguous()]
    for part in parts:
        g.name_constant(part)
    return ComplexPair(*(g.ssa(part) for part in parts))


def complex_product(g: GraphBuilder, a: Arguments) -> Any:
    """(a + bi)(c + di) = (ac - bd) + (ad + bc)i."""
    x, y = (_parts(g, a[name]) for name in ("self", "other"))

    def build(operation: type[aten.AtenOp], lhs: SSAValue, rhs: SSAValue) -> SSAValue:
        return g.build(operation, [lhs, rhs], shape=g.shape, element=element_type_of(lhs))

    products = [build(aten.MulOp, u, v) for u in (x.real, x.imaginary) for v in (y.real, y.imaginary)]
    ac, ad, bc, bd = products
    return ComplexPair(build(aten.SubOp, ac, bd), build(aten.AddOp, ad, bc))


def _view_as_real(g: GraphBuilder, a: Arguments) -> Any:
    pair = a["self"]
    if not isinstance(pair, ComplexPair):
        return NotImplemented
    columns = [view(g, part, (*shape_of(part), 1)) for part in (pair.real, pair.imaginary)]
    return g.build(aten.CatOp, [columns], {"dim": IntegerAttr(len(g.shape) - 1, i64)})


SPELLINGS: dict[str, Handler] = {
    "aten.view_as_complex.default": _view_as_complex,
    "aten.view_as_real.default": _view_as_real,
}  # fmt: skip
"""Handlers by overload."""
