"""`split-projections`: a part of a linear layer's features is a linear layer with a part of its weight."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.passes.fold_staging import expression_of
from plena.tensor.emission import Emitter
from plena.tensor.rewriting import rewrite_once


class SplitProjection(RewritePattern):
    """A slice of the features of a linear whose readers are all such slices."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.SliceOp, rewriter: PatternRewriter) -> None:
        linear = op.input.owner
        if not isinstance(linear, plena.LinearOp) or expression_of(linear.weight) is None:
            return
        slices = [use.operation for use in linear.result.uses]
        if not all(isinstance(s, plena.SliceOp) and _takes_features(s) for s in slices):
            return
        emitter = Emitter(rewriter, op)
        emitter.location |= {k: v for k, v in linear.attributes.items() if k.startswith("plena.")}
        columns = shape_of(linear.weight)[1]
        offset, size = op.offsets.get_values()[1], op.sizes.get_values()[1]
        stride, groups = op.strides.get_values()[1], op.groups.get_values()[1]
        weight = emitter.add(
            plena.SliceOp(linear.weight, (offset, 0), (size, columns), (stride, 1), (groups, 1))
        )
        bias = None
        if linear.bias is not None:
            column = emitter.reshape(linear.bias, (shape_of(linear.weight)[0], 1))
            part = plena.SliceOp(column, (offset, 0), (size, 1), (stride, 1), (groups, 1))
            bias = emitter.reshape(emitter.add(part), (groups * size,))
        emitter.replace(emitter.add(plena.LinearOp(linear.input, weight, bias)))


def _takes_features(op: plena.SliceOp) -> bool:
    """Whether a slice keeps all rows."""
    rows = shape_of(op.input)[0]
    return (op.groups.get_values()[0], op.offsets.get_values()[0], op.sizes.get_values()[0]) == (1, 0, rows)


@dataclass(frozen=True)
class SplitProjections(ModulePass):
    """Cuts fused projections (one weight for query, key and value, or gate and up) apart where they are
    sliced.

    Before::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>) -> tensor<4x6xf32> {
            %0 = plena.parameter @w : tensor<12x8xf32>
            %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<12x8xf32>) -> tensor<4x12xf32>
            %2 = plena.slice %1 {offsets = array<i64: 0, 6>, sizes = array<i64: 4, 6>} : (tensor<4x12xf32>) -> tensor<4x6xf32>
            func.return %2 : tensor<4x6xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<4x8xf32>) -> tensor<4x6xf32> {
            %0 = plena.parameter @w : tensor<12x8xf32>
            %1 = plena.slice %0 {offsets = array<i64: 6, 0>, sizes = array<i64: 6, 8>} : (tensor<12x8xf32>) -> tensor<6x8xf32>
            %2 = plena.linear %x, %1 : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x6xf32>
            func.return %2 : tensor<4x6xf32>
          }
        }
    """

    name = "split-projections"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite_once(op, SplitProjection())
        from xdsl.transforms.dead_code_elimination import dce

        dce(op)
