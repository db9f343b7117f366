"""Complex tensors as pairs of real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from xdsl.dialects.builtin import Float32Type, IntegerAttr, i64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.frontend.refusals import refusal_at
from plena.frontend.spellings import shapes
from plena.frontend.spellings.handlers import Arguments, Handler
from plena.frontend.spellings.shapes import slice_along, view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


@dataclass(frozen=True)
class ComplexPair:
    """A complex tensor by its parts, as rotary embeddings and Fourier transforms have them."""

    real: SSAValue
    imaginary: SSAValue


def _view_as_complex(g: GraphBuilder, a: Arguments) -> ComplexPair:
    value = g.ssa(a["self"])
    last, shape = len(shape_of(value)) - 1, shape_of(value)[:-1]
    element = element_type_of(value)
    parts = [slice_along(g, value, last, i, i + 1) for i in (0, 1)]
    real, imaginary = (g.build(aten.ViewOp, [part], shape=shape, element=element) for part in parts)
    return ComplexPair(real, imaginary)


def _complex(g: GraphBuilder, a: Arguments) -> ComplexPair:
    shape = g.shape
    return ComplexPair(*(shapes.expand(g, g.ssa(a[name]), shape) for name in ("real", "imag")))


def has_pairs(arguments: Mapping[str, Any]) -> bool:
    """Whether an operator is given a complex tensor that a program computes."""
    return any(isinstance(value, ComplexPair) for value in arguments.values())


def on_pairs(g: GraphBuilder, name: str, a: Arguments) -> Any:
    """The value of an operator that is given complex tensors.

    Raises:
        OperatorError: it has no spelling for them.
    """
    handler = _ON_PAIRS.get(name)
    if handler is not None:
        return handler(g, a)
    moved, pair = shapes.SPELLINGS.get(name), a.get("self")
    if moved is None or not isinstance(pair, ComplexPair):
        raise refusal_at(
            g.node,
            "it has no spelling for complex tensors",
            "Compute it of real and imaginary parts: torch.view_as_real(x) gives them.",
        )
    with g.standing_for(g.shape, element=Float32Type()):
        parts = [moved(g, {**a, "self": part}) for part in (pair.real, pair.imaginary)]
    return ComplexPair(*parts)


def _parts(g: GraphBuilder, value: Any) -> tuple[SSAValue, SSAValue | None]:
    """Real and imaginary part; a real number or tensor has none."""
    if isinstance(value, ComplexPair):
        return value.real, value.imaginary
    if isinstance(value, torch.Tensor) and value.is_complex():
        parts = [value.real.contiguous(), value.imag.contiguous()]
        for part in parts:
            g.name_constant(part)
        return g.ssa(parts[0]), g.ssa(parts[1])
    if isinstance(value, complex):
        return g.ssa(value.real), g.ssa(value.imag)
    return g.ssa(float(value) if isinstance(value, int) else value), None


def _build(
    g: GraphBuilder, operation: type[aten.AtenOp], lhs: SSAValue | None, rhs: SSAValue | None
) -> SSAValue | None:
    """Of two parts; a part that does not exist is 0."""
    if lhs is not None and rhs is not None:
        return g.build(operation, [lhs, rhs], shape=g.shape, element=Float32Type())
    if operation is aten.MulOp:
        return None
    if lhs is None and rhs is not None and operation is aten.SubOp:
        return g.build(aten.NegOp, [rhs], shape=shape_of(rhs), element=Float32Type())
    return lhs if rhs is None else rhs


def _paired(g: GraphBuilder, real: SSAValue | None, imaginary: SSAValue | None) -> ComplexPair:
    assert real is not None and imaginary is not None, "one of two operands is complex"
    return ComplexPair(*(shapes.expand(g, part, g.shape) for part in (real, imaginary)))


def _product(g: GraphBuilder, a: Arguments) -> ComplexPair:
    """(a + bi)(c + di) = (ac - bd) + (ad + bc)i."""
    x, y = (_parts(g, a[name]) for name in ("self", "other"))
    ac, ad, bc, bd = (_build(g, aten.MulOp, u, v) for u in x for v in y)
    return _paired(g, _build(g, aten.SubOp, ac, bd), _build(g, aten.AddOp, ad, bc))


def _sum(operation: type[aten.AtenOp]) -> Callable[[GraphBuilder, Arguments], Any]:
    """x + y or x - y."""

    def build(g: GraphBuilder, a: Arguments) -> Any:
        if a.get("alpha", 1) != 1:
            return NotImplemented
        x, y = (_parts(g, a[name]) for name in ("self", "other"))
        return _paired(g, *(_build(g, operation, u, v) for u, v in zip(x, y, strict=True)))

    return build


def _conjugate(g: GraphBuilder, a: Arguments) -> ComplexPair:
    pair = a["self"]
    shape = shape_of(pair.imaginary)
    return ComplexPair(pair.real, g.build(aten.NegOp, [pair.imaginary], shape=shape, element=Float32Type()))


def _magnitude(g: GraphBuilder, a: Arguments) -> SSAValue:
    squares = [g.build(aten.MulOp, [part, part]) for part in (a["self"].real, a["self"].imaginary)]
    return g.build(aten.SqrtOp, [g.build(aten.AddOp, squares)])


def _view_as_real(g: GraphBuilder, a: Arguments) -> Any:
    pair = a["self"]
    columns = [view(g, part, (*shape_of(part), 1)) for part in (pair.real, pair.imaginary)]
    return g.build(aten.CatOp, [columns], {"dim": IntegerAttr(len(g.shape) - 1, i64)})


_ON_PAIRS: dict[str, Handler] = {
    "aten.view_as_real.default": _view_as_real,
    "aten.real.default": lambda g, a: a["self"].real,
    "aten.imag.default": lambda g, a: a["self"].imaginary,
    "aten.abs.default": _magnitude,
    "aten._conj.default": _conjugate,
    "aten.conj_physical.default": _conjugate,
    **dict.fromkeys(("aten.mul.Tensor", "aten.mul.Scalar"), _product),
    **dict.fromkeys(("aten.add.Tensor", "aten.add.Scalar"), _sum(aten.AddOp)),
    **dict.fromkeys(("aten.sub.Tensor", "aten.sub.Scalar"), _sum(aten.SubOp)),
}  # fmt: skip
"""Handlers of operators that are given complex tensors, by overload; what only moves elements moves both parts."""

SPELLINGS: dict[str, Handler] = {
    "aten.view_as_complex.default": _view_as_complex,
    "aten.complex.default": _complex,
}  # fmt: skip
"""Handlers by overload."""
