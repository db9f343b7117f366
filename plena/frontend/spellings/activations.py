"""Activations that are put together from ops of the dialect, and bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import FloatAttr, f64
from xdsl.ir import SSAValue

from plena.dialects import aten
from plena.dialects.tensor_shapes import shape_of
from plena.frontend.spellings.arithmetic import scaled
from plena.frontend.spellings.handlers import Arguments, Handler
from plena.frontend.spellings.shapes import view

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder


def _clamp(low: str | float | None, high: str | float | None) -> Handler:
    """Clamping to bounds that are arguments (by name) or numbers."""

    def handler(g: GraphBuilder, a: Arguments) -> Any:
        bounds = {
            "min": a.get(low) if isinstance(low, str) else low,
            "max": a.get(high) if isinstance(high, str) else high,
        }
        if not all(bound is None or isinstance(bound, int | float) for bound in bounds.values()):
            return NotImplemented
        properties = {k: FloatAttr(float(b), f64) for k, b in bounds.items() if b is not None}
        return g.build(aten.ClampOp, [a["self"]], properties)

    return handler


def _hard(g: GraphBuilder, a: Arguments, times_input: bool) -> SSAValue:
    """hardsigmoid clamp(x + 3, 0, 6) / 6, times x for hardswish."""
    x = g.ssa(a["self"])
    bounds = {"min": FloatAttr(0.0, f64), "max": FloatAttr(6.0, f64)}
    clamped = g.build(aten.ClampOp, [g.build(aten.AddOp, [x, 3.0])], bounds)
    part = g.build(aten.MulOp, [clamped, 1.0 / 6.0])
    return g.build(aten.MulOp, [x, part]) if times_input else part


def _elu(g: GraphBuilder, a: Arguments) -> SSAValue:
    return elu(g, a["self"], float(a["alpha"]), float(a["scale"]), float(a["input_scale"]))


def elu(g: GraphBuilder, x: Any, alpha: float, scale: float = 1.0, input_scale: float = 1.0) -> SSAValue:
    """scale * x, and scale * alpha * (e^(input_scale * x) - 1) where x is negative: the scales taken out of the op."""
    x = scaled(g, g.ssa(x), input_scale)
    curve = g.build(aten.EluOp, [x], {"alpha": FloatAttr(alpha * input_scale, f64)})
    return scaled(g, curve, scale / input_scale)


SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
"""The constants of aten.selu (Klambauer et al., Self-Normalizing Neural Networks)."""


def _prelu(g: GraphBuilder, a: Arguments) -> SSAValue:
    """max(x, 0) + weight * min(x, 0), a weight for all or one for each channel, axis 1."""
    x, weight = g.ssa(a["self"]), g.ssa(a["weight"])
    rank = len(shape_of(x))
    if rank > 1:
        weight = view(g, weight, [1, *shape_of(weight), *[1] * (rank - 2)])
    positive = g.build(aten.ReluOp, [x])
    negative = g.build(aten.SubOp, [x, positive])
    return g.build(aten.AddOp, [positive, g.build(aten.MulOp, [negative, weight])])


def _clamp_to_tensors(g: GraphBuilder, a: Arguments) -> SSAValue:
    """clamp between tensors."""
    value = g.ssa(a["self"])
    for bound, operation in ((a["min"], aten.MaximumOp), (a["max"], aten.MinimumOp)):
        value = value if bound is None else g.build(operation, [value, bound])
    return value


SPELLINGS: dict[str, Handler] = {
    "aten.clamp.default": _clamp("min", "max"),
    "aten.clamp_min.default": _clamp("min", None),
    "aten.clamp_max.default": _clamp(None, "max"),
    "aten.clamp.Tensor": _clamp_to_tensors,
    "aten.hardtanh.default": _clamp("min_val", "max_val"),
    "aten.relu6.default": _clamp(0.0, 6.0),
    "aten.hardsigmoid.default": lambda g, a: _hard(g, a, times_input=False),
    "aten.hardswish.default": lambda g, a: _hard(g, a, times_input=True),
    "aten.elu.default": _elu,
    "aten.selu.default": lambda g, a: elu(g, a["self"], SELU_ALPHA, SELU_SCALE),
    "aten.celu.default": lambda g, a: elu(g, a["self"], float(a["alpha"]), input_scale=1.0 / float(a["alpha"])),
    "aten.prelu.default": _prelu,
}  # fmt: skip
"""Handlers by overload."""
