"""Reductions, norms and softmax."""

from __future__ import annotations

from math import inf, prod
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import BoolAttr, Float32Type, FloatAttr, IntegerAttr, UnitAttr, f64, i64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of, shape_of
from plena.frontend.refusals import refusal_at
from plena.frontend.spellings.arithmetic import MOST_FACTORS, powered, scaled
from plena.frontend.spellings.conversions import convert
from plena.frontend.spellings.handlers import Arguments, Handler, ints, reads_first_alone

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _reduce(operation: type[aten.AtenOp]) -> Handler:
    """A reduction over the axes `dim`, all if it is absent or empty."""

    def handler(g: GraphBuilder, a: Arguments) -> SSAValue:
        return reduce(
            g, operation, convert(g, g.ssa(a["self"]), g.element), a.get("dim"), a.get("keepdim", False)
        )

    return handler


def reduce(
    g: GraphBuilder, operation: type[aten.AtenOp], value: SSAValue, dim: Any, keepdim: bool
) -> SSAValue:
    """`operation` over the axes `dim` of value."""
    shape = shape_of(value)
    axes = [dim] if isinstance(dim, int) else list(dim or range(len(shape)))
    axes = sorted(axis % len(shape) for axis in axes)
    reduced = [1 if i in axes else n for i, n in enumerate(shape) if keepdim or i not in axes]
    properties = {"dim": ints(axes), "keepdim": BoolAttr.from_bool(keepdim)}
    return g.build(operation, [value], properties, shape=reduced, element=element_type_of(value))


def _least(g: GraphBuilder, a: Arguments) -> Any:
    """amin, min, and min along an axis whose indices nobody reads, of real numbers: -max(-x)."""
    if not isinstance(g.element, Float32Type):
        return NotImplemented  # The least integer has no negative.
    several = isinstance(g.node.meta["val"], tuple)
    if several and not reads_first_alone(g):
        return NotImplemented
    x = g.ssa(a["self"])
    negated = g.build(aten.NegOp, [x], shape=shape_of(x), element=element_type_of(x))
    largest = reduce(g, aten.AmaxOp, negated, a.get("dim"), a.get("keepdim", False))
    least = g.build(aten.NegOp, [largest], shape=shape_of(largest), element=element_type_of(largest))
    return [least, None] if several else least


def _max_dim(g: GraphBuilder, a: Arguments) -> Any:
    """max along an axis whose indices nobody reads."""
    if not reads_first_alone(g):
        return NotImplemented
    return [reduce(g, aten.AmaxOp, g.ssa(a["self"]), a["dim"], a["keepdim"]), None]


def _variance_and_mean(g: GraphBuilder, a: Arguments, root: bool = False) -> list[SSAValue]:
    """Both results of var_mean and std_mean."""
    x = g.ssa(a["self"])
    return [_variance(g, a, root), reduce(g, aten.MeanOp, x, a.get("dim"), a.get("keepdim", False))]


def _variance(g: GraphBuilder, a: Arguments, root: bool = False) -> SSAValue:
    """mean((x - mean)^2) * n / (n - correction), the root of it for std."""
    x, dim, keepdim = g.ssa(a["self"]), a.get("dim"), a.get("keepdim", False)
    correction = a.get("correction", 1 if a.get("unbiased", True) else 0)
    correction = 1 if correction is None else correction
    mean = reduce(g, aten.MeanOp, x, dim, keepdim=True)
    centered = g.build(aten.SubOp, [x, mean], shape=shape_of(x))
    square = g.build(aten.MulOp, [centered, centered], shape=shape_of(x))
    variance = reduce(g, aten.MeanOp, square, dim, keepdim)
    count = prod(shape_of(x)) // prod(shape_of(mean))
    if count <= correction:
        raise refusal_at(
            g.node,
            f"the variance of {count} numbers with correction {correction} is not finite",
            "Reduce over more numbers, or set correction=0.",
        )
    variance = scaled(g, variance, count / (count - correction))
    return g.build(aten.SqrtOp, [variance]) if root else variance


def _vector_norm(g: GraphBuilder, a: Arguments) -> Any:
    """The Euclidean norm sqrt(sum(x^2)), the largest magnitude (infinity), or the root of the sum of their powers."""
    order = a.get("ord", a.get("p", 2))
    order = 2 if order is None else order
    if order != inf and not 1 <= order <= MOST_FACTORS:
        return NotImplemented
    x, along = g.ssa(a["self"]), (a.get("dim"), a.get("keepdim", False))
    if order % 2 != 0:  # Even powers have no sign.
        x = g.build(aten.AbsOp, [x], shape=shape_of(x))
    if order == inf:
        return reduce(g, aten.AmaxOp, x, *along)
    return powered(g, reduce(g, aten.SumOp, powered(g, x, float(order)), *along), 1 / order)


def _softmax(g: GraphBuilder, a: Arguments) -> SSAValue:
    dim = a["dim"] % len(g.shape)
    return g.build(aten.SoftmaxOp, [a["self"]], {"dim": IntegerAttr(dim, i64)})


def _safe_softmax(g: GraphBuilder, a: Arguments) -> SSAValue:
    dim = a["dim"] % len(g.shape)
    return g.build(aten.SoftmaxOp, [a["self"]], {"dim": IntegerAttr(dim, i64), "safe": UnitAttr()})


def _native_layer_norm(g: GraphBuilder, a: Arguments) -> Any:
    if any(user.args[1] != 0 and user in g.plan.needed for user in g.node.users):
        return NotImplemented
    x = g.ssa(a["input"])
    optional = [[] if a[name] is None else [a[name]] for name in ("weight", "bias")]
    properties = {"normalized_shape": ints(a["normalized_shape"]), "eps": FloatAttr(float(a["eps"]), f64)}
    return [
        g.build(aten.LayerNormOp, [x, *optional], properties, shape=shape_of(x), element=element_type_of(x))
    ]


SPELLINGS: dict[str, Handler] = {
    "aten.sum.dim_IntList": _reduce(aten.SumOp),
    "aten.sum.default": _reduce(aten.SumOp),
    "aten.mean.dim": _reduce(aten.MeanOp),
    "aten.mean.default": _reduce(aten.MeanOp),
    "aten.amax.default": _reduce(aten.AmaxOp),
    "aten.max.default": _reduce(aten.AmaxOp),
    "aten.max.dim": _max_dim,
    "aten.amin.default": _least,
    "aten.min.default": _least,
    "aten.min.dim": _least,
    "aten.var.correction": _variance,
    "aten.var.dim": _variance,
    "aten.var.default": _variance,
    "aten.std.correction": lambda g, a: _variance(g, a, root=True),
    "aten.std.dim": lambda g, a: _variance(g, a, root=True),
    **{f"aten.var_mean.{o}": _variance_and_mean for o in ("default", "dim", "correction")},
    **{
        f"aten.std_mean.{o}": lambda g, a: _variance_and_mean(g, a, root=True)
        for o in ("default", "dim", "correction")
    },
    "aten.linalg_vector_norm.default": _vector_norm,
    "aten.norm.ScalarOpt_dim": _vector_norm,
    "aten.softmax.int": _softmax,
    "aten._softmax.default": _softmax,
    "aten._safe_softmax.default": _safe_softmax,
    "aten.native_layer_norm.default": _native_layer_norm,
}  # fmt: skip
"""Handlers by overload."""
