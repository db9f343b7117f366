"""`scale-before-products`: a number that all results of a product are multiplied by multiplies its operand instead."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import location_of
from plena.tensor.rewriting import rewrite_once

ELEMENTWISE = (plena.GateOp, plena.ActivationOp, plena.MulOp, plena.AddOp, plena.SubOp)
"""What a factor behind it costs no row's read and write of its own."""


class ScaleOperandPattern(RewritePattern):
    """number * (x @ W^T) is (number * x) @ W^T.

    One number for all rows: if it is NaN, all that the product makes is.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.MulOp, rewriter: PatternRewriter) -> None:
        linear, number = op.lhs.owner, _repeated_number(op.rhs)
        if number is None or not isinstance(linear, plena.LinearOp) or linear.bias is not None:
            return
        x = linear.input
        features, columns = shape_of(x)[1], shape_of(op.result)[1]
        is_less = features < columns or (features == columns and isinstance(x.owner, ELEMENTWISE))
        if not is_less or not x.has_one_use() or not linear.result.has_one_use():
            return
        factor = plena.ExpandOp(number, [features])
        scaled = plena.MulOp(x, factor.result)
        product = plena.LinearOp(scaled.result, linear.weight, None)
        for new in (factor, scaled):
            new.attributes.update(location_of(op))
        product.attributes.update(linear.attributes)
        rewriter.replace(op, [factor, scaled, product])
        rewriter.erase(linear)


def _repeated_number(value: SSAValue) -> SSAValue | None:
    """The number [1] that a row repeats; None of other rows."""
    expand = value.owner
    if not isinstance(expand, plena.ExpandOp) or len(shape_of(value)) > 1:
        return None
    return expand.input if shape_of(expand.input) == (1,) else None


@dataclass(frozen=True)
class ScaleBeforeProducts(ModulePass):
    """A factor of all that a linear layer without bias makes is a factor of what it reads, where that has fewer columns
    or has just been computed by element: the weight of an expert, behind its second matrix.

    Before::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> tensor<4x16xf32> {
            %0 = plena.parameter @a : tensor<16x8xf32>
            %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
            %2 = plena.expand %w : (tensor<1xf32>) -> tensor<16xf32>
            %3 = plena.mul %1, %2 : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
            func.return %3 : tensor<4x16xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> tensor<4x16xf32> {
            %0 = plena.parameter @a : tensor<16x8xf32>
            %1 = plena.expand %w : (tensor<1xf32>) -> tensor<8xf32>
            %2 = plena.mul %x, %1 : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
            %3 = plena.linear %2, %0 : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
            func.return %3 : tensor<4x16xf32>
          }
        }
    """

    name = "scale-before-products"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite_once(op, ScaleOperandPattern())
        from xdsl.transforms.dead_code_elimination import dce

        dce(op)
