"""`fuse-gates`: activations that a model writes out, and their products with an up projection."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose, pi, sqrt
from typing import cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)

from plena.dialects import aten, plena
from plena.dialects.aten import full_value
from plena.dialects.plena import ActivationKind
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import Emitter
from plena.tensor.rewriting import rewrite

Factors = tuple[float, list[SSAValue]]


def _factors(value: SSAValue) -> Factors:
    """A product as one number and the rest, quotients by numbers included."""
    op = value.owner
    number = full_value(value)
    if number is not None:
        return number, []
    if isinstance(op, aten.MulOp):
        (a, xs), (b, ys) = _factors(op.input), _factors(op.other)
        return a * b, xs + ys
    if isinstance(op, aten.DivOp):
        divisor = full_value(op.other)
        if divisor:
            a, xs = _factors(op.input)
            return a / divisor, xs
    if isinstance(op, aten.NegOp):
        a, xs = _factors(op.input)
        return -a, xs
    return 1.0, [value]


def _one_plus(value: SSAValue) -> SSAValue | None:
    """y of 1 + y."""
    op = value.owner
    if isinstance(op, aten.AddOp):
        for x, number in ((op.input, op.other), (op.other, op.input)):
            if full_value(number) == 1.0:
                return x
    return None


def _scaled(value: SSAValue, x: SSAValue) -> float | None:
    """c if the value is c * x."""
    factor, rest = _factors(value)
    return factor if rest == [x] else None


def _is_cubic(value: SSAValue, x: SSAValue) -> bool:
    """Whether the value is sqrt(2/pi) * (x + 0.044715 x^3), multiplied out or not."""
    factor, rest = _factors(value)
    if len(rest) == 2 and x in rest:
        # x * (1 + 0.044715 x^2) times the constant
        inner = _one_plus(rest[1] if rest[0] == x else rest[0])
        square = (None, []) if inner is None else _factors(inner)
        return _near(factor, sqrt(2 / pi)) and _near(square[0], 0.044715) and square[1] == [x, x]
    if len(rest) != 1 or not isinstance(rest[0].owner, aten.AddOp):
        return False
    op = rest[0].owner
    for linear, cube in ((op.input, op.other), (op.other, op.input)):
        c, xs = _factors(cube)
        if linear == x and _near(c, 0.044715) and xs == [x, x, x]:
            return _near(factor, sqrt(2 / pi))
    return False


def _near(a: float | None, b: float) -> bool:
    return a is not None and isclose(a, b, rel_tol=1e-3)


def _written_kind(x: SSAValue, factor: float, other: SSAValue) -> ActivationKind | None:
    """The activation that factor * x * other is, other being a function of x."""
    op = other.owner
    if isinstance(op, aten.SigmoidOp) and factor == 1.0:
        scale = _scaled(op.input, x)
        return "silu" if scale == 1.0 else "gelu_quick" if _near(scale, 1.702) else None
    inner = _one_plus(other)
    if inner is None or factor != 0.5:
        return None
    if isinstance(inner.owner, aten.ErfOp):
        return "gelu_erf" if _near(_scaled(inner.owner.input, x), sqrt(0.5)) else None
    if isinstance(inner.owner, aten.TanhOp):
        return "gelu_tanh" if _is_cubic(inner.owner.input, x) else None
    return None


class FuseActivation(RewritePattern):
    """x * sigmoid(x), 0.5 * x * (1 + erf(x / sqrt 2)) and their relatives."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.MulOp, rewriter: PatternRewriter) -> None:
        factor, rest = _factors(op.result)
        if len(rest) != 2:
            return
        for x, other in (rest, rest[::-1]):
            kind = _written_kind(x, factor, other)
            if kind is not None and shape_of(x) == shape_of(op.result):
                emitter = Emitter(rewriter, op)
                emitter.replace(emitter.add(plena.ActivationOp(kind, emitter.flat(x))))
                return


class FuseGate(RewritePattern):
    """activation(gate) * up."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.MulOp, rewriter: PatternRewriter) -> None:
        for activated, up in ((op.input, op.other), (op.other, op.input)):
            found = _activation(activated)
            if found is None or not activated.has_one_use() or shape_of(up) != shape_of(op.result):
                continue
            kind, gate = found
            if full_value(up) is not None or shape_of(activated) != shape_of(up) or up == activated:
                continue
            emitter = Emitter(rewriter, op)
            emitter.replace(emitter.add(plena.GateOp(kind, emitter.flat(gate), emitter.flat(up))))
            return


def _activation(value: SSAValue) -> tuple[ActivationKind, SSAValue] | None:
    """The activation that a value is, and of what."""
    op = value.owner
    simple: dict[type[aten.UnaryOp], ActivationKind] = {
        aten.SiluOp: "silu",
        aten.SigmoidOp: "sigmoid",
        aten.ReluOp: "relu",
        aten.TanhOp: "tanh",
    }
    match op:
        case aten.GeluOp():
            return ("gelu_tanh" if op.approximate.data == "tanh" else "gelu_erf"), op.input
        case aten.SiluOp() | aten.SigmoidOp() | aten.ReluOp() | aten.TanhOp():
            return simple[type(op)], op.input
        case plena.ReshapeOp() if op.input.has_one_use() and isinstance(op.input.owner, plena.ActivationOp):
            return _activation(op.input)
        case plena.ActivationOp() if op.slope is None:
            kind = cast(ActivationKind, op.kind.data)
            return kind, op.input
        case _:
            return None


@dataclass(frozen=True)
class FuseGates(ModulePass):
    """Replaces activation(gate) * up by `plena.gate` and activations written out by `plena.activation`.

    Before::

        builtin.module {
          func.func @main(%g: tensor<4x8xf32>, %u: tensor<4x8xf32>) -> tensor<4x8xf32> {
            %0 = aten.silu %g : (tensor<4x8xf32>) -> tensor<4x8xf32>
            %1 = aten.mul %0, %u : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
            func.return %1 : tensor<4x8xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%g: tensor<4x8xf32>, %u: tensor<4x8xf32>) -> tensor<4x8xf32> {
            %0 = plena.gate "silu" %g, %u : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
            func.return %0 : tensor<4x8xf32>
          }
        }
    """

    name = "fuse-gates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        patterns: list[RewritePattern] = [FuseActivation(), FuseGate()]
        rewrite(op, patterns)
