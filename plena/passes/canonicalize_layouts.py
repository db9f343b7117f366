"""`canonicalize-layouts`: chains of reshapes and rearrangements become one op each, or none."""

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
from plena.tensor.emission import Emitter
from plena.tensor.layout_maps import LayoutMap
from plena.tensor.rewriting import rewrite
from plena.tensor.tracing import trace


class ComposeLayouts(RewritePattern):
    """layout(layout(x)) is one layout of x, and one that changes nothing is x."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.ReshapeOp | plena.RearrangeOp, rewriter: PatternRewriter) -> None:
        traced = trace(op.result)
        if traced.layout.repeats or traced.base == op.result:
            return
        simple = traced.layout.simplified()
        if traced.base == op.input and not _changes(op, simple):
            return
        emitter = Emitter(rewriter, op)
        emitter.replace(emitter.view(traced.base, traced.layout, shape_of(op.result)))


def _changes(op: plena.ReshapeOp | plena.RearrangeOp, simple: LayoutMap) -> bool:
    """Whether an op on its own is not in canonical form."""
    if isinstance(op, plena.ReshapeOp):
        return shape_of(op.input) == shape_of(op.result)
    return (
        simple.is_reshape
        or op.factors.get_values() != simple.factors
        or op.order.get_values() != simple.order
    )


@dataclass(frozen=True)
class CanonicalizeLayouts(ModulePass):
    """Composes layout ops.

    Before::

        builtin.module {
          func.func @main(%x: tensor<8x64xf32>) -> tensor<8x64xf32> {
            %0 = plena.reshape %x : (tensor<8x64xf32>) -> tensor<2x4x4x16xf32>
            %1 = plena.rearrange %0 {factors = array<i64: 2, 4, 4, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<2x4x4x16xf32>) -> tensor<2x4x4x16xf32>
            %2 = plena.reshape %1 : (tensor<2x4x4x16xf32>) -> tensor<32x16xf32>
            %3 = plena.rearrange %2 {factors = array<i64: 2, 4, 4, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<32x16xf32>) -> tensor<8x64xf32>
            func.return %3 : tensor<8x64xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<8x64xf32>) -> tensor<8x64xf32> {
            func.return %x : tensor<8x64xf32>
          }
        }
    """

    name = "canonicalize-layouts"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite(op, [ComposeLayouts()])
