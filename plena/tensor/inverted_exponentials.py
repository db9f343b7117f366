"""What undoes or inverts an exponential, without one: the machine's limits its argument to -88, and e^-88 is not 0."""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import Float32Type
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of
from plena.tensor.emission import Emitter
from plena.tensor.relative_biases import scaled


class InvertExponentials(RewritePattern):
    """1 / e^x is e^-x, 1 / sqrt(e^x) is e^(-x/2), y / e^x is y e^-x, and log(e^x) is x."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        if not isinstance(op, aten.ReciprocalOp | aten.RsqrtOp | aten.LogOp | aten.DivOp):
            return
        exponential = op.other.owner if isinstance(op, aten.DivOp) else op.input.owner
        if not isinstance(exponential, aten.ExpOp) or not isinstance(
            element_type_of(op.results[0]), Float32Type
        ):
            return
        e, x = Emitter(rewriter, op), exponential.input
        match op:
            case aten.LogOp():
                e.replace(x)
            case aten.DivOp():
                factor = _power(e, x, -1.0)
                product = aten.MulOp.build(operands=[op.input, factor], result_types=[op.result.type])
                e.replace(e.add(product))
            case aten.ReciprocalOp():
                e.replace(_power(e, x, -1.0))
            case aten.RsqrtOp():
                e.replace(_power(e, x, -0.5))


def _power(e: Emitter, x: SSAValue, factor: float) -> Any:
    """e^(factor x)."""
    return e.add(aten.ExpOp.build(operands=[scaled(e, x, factor)], result_types=[x.type]))


__all__ = ["InvertExponentials"]
