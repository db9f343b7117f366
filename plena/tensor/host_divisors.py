"""Division by what the host computes: it computes the reciprocal, and refuses numbers that have none."""

from __future__ import annotations

from xdsl.dialects.builtin import Float32Type
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from plena.dialects import aten
from plena.dialects.tensor_shapes import element_type_of
from plena.host.values import build
from plena.host.values.graph import HostValue
from plena.tensor.emission import Emitter
from plena.tensor.host_values import HostValues, host_op


class MultiplyByReciprocal(RewritePattern):
    """x / y is x * (1 / y): the machine rounds once less, and what y makes infinite is known before it runs."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: aten.DivOp, rewriter: PatternRewriter) -> None:
        values = HostValues()
        divisor = values.of(op.other)
        if divisor is None or not divisor.inputs or values.of(op.input) is not None:
            return
        block = op.parent_block()
        if block is None or not isinstance(element_type_of(op.result), Float32Type):
            return
        inverse = build.unary("reciprocal", divisor, "float32")
        if not _is_positive(divisor):
            inverse = HostValue.of("finite", (inverse,), "float32", inverse.shape)
        e = Emitter(rewriter, op)
        factor = e.add(host_op(inverse, block.args))
        e.replace(e.add(aten.MulOp.build(operands=[op.input, factor], result_types=[op.result.type])))


def _is_positive(value: HostValue) -> bool:
    """Whether a value provably has no zeros, infinities or NaN: it is at least some positive number."""
    root = value.root
    match root.operation:
        case "full":
            return float(str(root.named["value"])) > 0
        case "maximum":
            return any(_is_positive(value.operand(n)) for n in (0, 1))
        case "cast" if root.dtype != "bool":
            return _is_positive(value.operand(0))
        case "reshape" | "permute" | "expand" | "slice" | "sqrt":
            return _is_positive(value.operand(0))
        case _:
            return False


__all__ = ["MultiplyByReciprocal"]
