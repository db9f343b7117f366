"""`fold-norm-gain`: the gain of a norm moves into the weights of the linear layers that read it."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.passes.fold_staging import expression_of
from plena.tensor.emission import location_of
from plena.tensor.rewriting import rewrite_once


class FoldNormGainPattern(RewritePattern):
    """(x * gain + bias) @ W^T + b is x @ (W * gain)^T + (W @ bias + b)."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.RmsNormOp | plena.LayerNormOp, rewriter: PatternRewriter) -> None:
        shift = op.bias if isinstance(op, plena.LayerNormOp) else None
        operands = [expression_of(value) for value in (op.gain, shift) if value is not None]
        readers = [use.operation for use in op.result.uses]
        if not operands or None in operands or op.groups.value.data != 1:
            return
        linears = [reader for reader in readers if isinstance(reader, plena.LinearOp) and _is_staged(reader)]
        reads_once = all(linear.input == op.result for linear in linears)
        if len(linears) != len(readers) or not readers or not reads_once:
            return
        gain = None if op.gain is None else expression_of(op.gain)
        bias = None if shift is None else expression_of(shift)
        for linear in linears:
            self._fold(rewriter, linear, gain, bias)
        eps = op.eps.value.data
        plain = (
            plena.RmsNormOp(op.input, None, eps)
            if isinstance(op, plena.RmsNormOp)
            else plena.LayerNormOp(op.input, None, None, eps)
        )
        plain.attributes.update(op.attributes)
        rewriter.replace(op, plain)

    def _fold(
        self,
        rewriter: PatternRewriter,
        linear: plena.LinearOp,
        gain: Attribute | None,
        bias: Attribute | None,
    ) -> None:
        weight = expression_of(linear.weight)
        assert weight is not None
        rows, columns = shape_of(linear.weight)
        scaled = linear.weight
        new_bias = linear.bias
        location = location_of(linear)
        point = InsertPoint.before(linear)
        if gain is not None:
            parameter = plena.ParameterOp(
                plena.ProductAttr(weight, gain), (rows, columns), attributes=location
            )
            rewriter.insert(parameter, point)
            scaled = parameter.result
        if bias is not None:
            expression: Attribute = plena.MatvecAttr(weight, bias)
            own = None if linear.bias is None else expression_of(linear.bias)
            if own is not None:
                expression = plena.SumAttr(expression, own)
            shifted = plena.ParameterOp(expression, (rows,), attributes=location)
            rewriter.insert(shifted, point)
            new_bias = shifted.result
        replacement = plena.LinearOp(linear.input, scaled, new_bias)
        replacement.attributes.update(linear.attributes)
        rewriter.replace(linear, replacement)


def _is_staged(linear: plena.LinearOp) -> bool:
    return all(expression_of(operand) is not None for operand in linear.operands[1:])


@dataclass(frozen=True)
class FoldNormGain(ModulePass):
    """Folds gain and bias of a norm into its readers where all of them are linear layers.

    Nothing is computed here: the weights' staging expressions say it.

    Before::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>) -> tensor<4x6xf32> {
            %0 = plena.parameter @g : tensor<8xf32>
            %1 = plena.rms_norm %x, gain = %0 {eps = 1.000000e-05 : f64} : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
            %2 = plena.parameter @w : tensor<6x8xf32>
            %3 = plena.linear %1, %2 : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x6xf32>
            func.return %3 : tensor<4x6xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>) -> tensor<4x6xf32> {
            %0 = plena.rms_norm %x {eps = 1.000000e-05 : f64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
            %1 = plena.parameter #plena.product<@w, @g> : tensor<6x8xf32>
            %2 = plena.linear %0, %1 : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x6xf32>
            func.return %2 : tensor<4x6xf32>
          }
        }
    """

    name = "fold-norm-gain"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite_once(op, FoldNormGainPattern())
        from xdsl.transforms.dead_code_elimination import dce

        dce(op)
