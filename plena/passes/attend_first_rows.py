"""`attend-first-rows`: attention over the first rows of a cache reads them where they are."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from plena.dialects import plena
from plena.dialects.plena.base import integer
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.rewriting import rewrite


@dataclass(frozen=True)
class AttendFirstRows(ModulePass):
    """Takes slices of states into the attention that reads them: the first rows of every sample of a longer cache.

    A slice of a state would be brought into vector SRAM and stored again; attention has its keys in HBM anyway.
    Programs that attend to different numbers of keys can so share one cache.

    Before::

        builtin.module {
          func.func @main(%q: tensor<2x8xf32>) -> tensor<2x8xf32> {
            %0 = plena.state <@keys> : tensor<16x8xf32>
            %1 = plena.state <@values> : tensor<16x8xf32>
            %2 = plena.slice %0 {groups = array<i64: 2, 1>, offsets = array<i64: 0, 0>, sizes = array<i64: 4, 8>} : (tensor<16x8xf32>) -> tensor<8x8xf32>
            %3 = plena.slice %1 {groups = array<i64: 2, 1>, offsets = array<i64: 0, 0>, sizes = array<i64: 4, 8>} : (tensor<16x8xf32>) -> tensor<8x8xf32>
            %4 = plena.attention %q, %2, %3 : tensor<2x8xf32>, tensor<8x8xf32>, tensor<8x8xf32> {batch = 2 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64} -> tensor<2x8xf32>
            func.return %4 : tensor<2x8xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%q: tensor<2x8xf32>) -> tensor<2x8xf32> {
            %0 = plena.state <@keys> : tensor<16x8xf32>
            %1 = plena.state <@values> : tensor<16x8xf32>
            %2 = plena.attention %q, %0, %1 : tensor<2x8xf32>, tensor<16x8xf32>, tensor<16x8xf32> {batch = 2 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64, first_keys = 4 : i64} -> tensor<2x8xf32>
            func.return %2 : tensor<2x8xf32>
          }
        }
    """

    name = "attend-first-rows"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite(op, [_IntoAttention()])


class _IntoAttention(RewritePattern):
    """Keys and values that are slices of the same rows."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.AttentionOp, rewriter: PatternRewriter) -> None:
        batch = op.batch.value.data
        key, value = _whole(op.key, batch), _whole(op.value, batch)
        if (
            key is None
            or value is None
            or op.first_keys is not None
            or shape_of(key)[0] != shape_of(value)[0]
        ):
            return
        slices = {v.owner for v in (op.key, op.value) if isinstance(v.owner, plena.SliceOp)}
        keys = op.key_length
        op.operands[1], op.operands[2] = key, value
        op.first_keys = integer(keys)
        rewriter.notify_op_modified(op)
        for part in slices:
            if not part.result.uses:
                rewriter.erase(part)


def _whole(value: SSAValue, batch: int) -> SSAValue | None:
    """The state, or a sample of one, of which a value is the first rows of every sample."""
    part = value.owner
    if not isinstance(part, plena.SliceOp) or not isinstance(
        part.input.owner, plena.StateOp | plena.WriteRowsOp | plena.PickSampleOp
    ):
        return None
    settings = (part.groups, part.offsets, part.sizes, part.strides)
    groups, offsets, sizes, strides = (tuple(a.get_values()) for a in settings)
    first = groups == (batch, 1) and offsets == (0, 0) and strides == (1, 1)
    return part.input if first and sizes[1] == shape_of(part.input)[1] else None


__all__ = ["AttendFirstRows"]
