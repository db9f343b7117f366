"""Operators that are made of logarithms."""

from __future__ import annotations

from math import log, log1p
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import Float32Type, FloatAttr, f64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.spellings.arithmetic import scaled
from plena.frontend.spellings.handlers import Arguments, Handler
from plena.frontend.spellings.reductions import reduce
from plena.frontend.spellings.shapes import view
from plena.tensor.infinities import LARGEST

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _log_to(base: float) -> Handler:
    """The logarithm to another base."""

    def handler(g: GraphBuilder, a: Arguments) -> SSAValue:
        return scaled(g, g.build(aten.LogOp, [a["self"]]), 1.0 / log(base))

    return handler


ROUNDING = 2.0**-9
"""Of a bf16 number: what is smaller beside it is lost."""


def _softplus(g: GraphBuilder, a: Arguments) -> Any:
    """softplus(beta x) / beta; above the threshold it is x, which is the same number where that is large enough."""
    beta, threshold = float(a["beta"]), float(a["threshold"])
    if beta <= 0 or threshold <= 0 or log1p(2.718281828459045**-threshold) > ROUNDING * threshold:
        return NotImplemented
    x = g.ssa(a["self"])
    return scaled(g, g.build(aten.SoftplusOp, [scaled(g, x, beta)]), 1.0 / beta)


def _log_sigmoid(g: GraphBuilder, a: Arguments) -> SSAValue:
    """-softplus(-x)."""
    x = g.ssa(a["self"])
    return g.build(aten.NegOp, [g.build(aten.SoftplusOp, [g.build(aten.NegOp, [x])])])


def _log_softmax(g: GraphBuilder, a: Arguments) -> Any:
    """x - max - log(sum(e^(x - max)))."""
    if not isinstance(g.element, Float32Type):
        return NotImplemented
    x = g.ssa(a["self"])
    dim = [a["dim"]]
    below, total = _exponentials(g, x, reduce(g, aten.AmaxOp, x, dim, keepdim=True), dim)
    return g.build(aten.SubOp, [below, total], shape=shape_of(x))


def _logsumexp(g: GraphBuilder, a: Arguments) -> SSAValue:
    """max + log(sum(e^(x - max))), which is infinite where the maximum is: what is subtracted never is."""
    x = g.ssa(a["self"])
    largest = reduce(g, aten.AmaxOp, x, a["dim"], keepdim=True)
    bounds = {"min": FloatAttr(-LARGEST, f64), "max": FloatAttr(LARGEST, f64)}
    finite = g.build(aten.ClampOp, [largest], bounds, shape=shape_of(largest))
    _, total = _exponentials(g, x, finite, a["dim"])
    result = g.build(aten.AddOp, [largest, total], shape=shape_of(total))
    return view(g, result, g.shape)


def _exponentials(g: GraphBuilder, x: SSAValue, largest: SSAValue, dim: Any) -> tuple[SSAValue, SSAValue]:
    """x - max and log(sum(e^(x - max))) over axes that are kept."""
    below = g.build(aten.SubOp, [x, largest], shape=shape_of(x))
    exponentials = g.build(aten.ExpOp, [below], shape=shape_of(x))
    total = reduce(g, aten.SumOp, exponentials, dim, keepdim=True)
    return below, g.build(aten.LogOp, [total], shape=shape_of(total))


SPELLINGS: dict[str, Handler] = {
    "aten.log2.default": _log_to(2.0),
    "aten.log10.default": _log_to(10.0),
    "aten.softplus.default": _softplus,
    "aten.log_sigmoid.default": _log_sigmoid,
    "aten.log_softmax.int": _log_softmax,
    "aten._log_softmax.default": _log_softmax,
    "aten.logsumexp.default": _logsumexp,
}  # fmt: skip
"""Handlers by overload."""
