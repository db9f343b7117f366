"""`widen-rotary`: a rotation of a part of every head, rejoined with the rest, leaves the rest where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.transforms.dead_code_elimination import dce

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import Emitter
from plena.tensor.rewriting import rewrite_once


@dataclass(frozen=True)
class HeadPart:
    """Features [start, stop) of each of `heads` heads of `input`."""

    input: SSAValue
    heads: int
    start: int
    stop: int


def _head_part(value: SSAValue) -> HeadPart | None:
    op = value.owner
    if not isinstance(op, plena.SliceOp):
        return None
    (row_groups, heads), (row, start) = op.groups.get_values(), op.offsets.get_values()
    (rows, size), strides = op.sizes.get_values(), op.strides.get_values()
    if row_groups != 1 or row != 0 or rows != shape_of(op.input)[0] or strides != (1, 1):
        return None
    return HeadPart(op.input, heads, start, start + size)


class WidenRotary(RewritePattern):
    """concat(rotary(first features of each head), their rest)."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.ConcatOp, rewriter: PatternRewriter) -> None:
        if op.axis.data != "features" or len(op.inputs) != 2:
            return
        rotary, rest = op.inputs[0].owner, _head_part(op.inputs[1])
        if not isinstance(rotary, plena.RotaryOp) or rest is None:
            return
        first = _head_part(rotary.input)
        heads = rotary.heads.value.data
        if first is None or first.input != rest.input or op.groups.value.data != heads:
            return
        head_dim = shape_of(first.input)[1] // heads
        bounds = (first.heads, first.start, first.stop, rest.heads, rest.start, rest.stop)
        if bounds != (heads, 0, rest.start, heads, first.stop, head_dim):
            return
        emitter = Emitter(rewriter, op)
        style = cast(plena.RotaryStyle, rotary.style.data)
        emitter.replace(emitter.add(plena.RotaryOp(first.input, rotary.cos, rotary.sin, heads, style)))


@dataclass(frozen=True)
class WidenRotaryEmbedding(ModulePass):
    """Joins partial rotary embeddings: tables narrower than a head rotate its first features only.

    Before::

        builtin.module {
          func.func @main(%x: tensor<4x16xf32>, %c: tensor<4x2xf32>, %s: tensor<4x2xf32>) -> tensor<4x16xf32> {
            %0 = plena.slice %x {groups = array<i64: 1, 2>, offsets = array<i64: 0, 0>, sizes = array<i64: 4, 2>} : (tensor<4x16xf32>) -> tensor<4x4xf32>
            %1 = plena.slice %x {groups = array<i64: 1, 2>, offsets = array<i64: 0, 2>, sizes = array<i64: 4, 6>} : (tensor<4x16xf32>) -> tensor<4x12xf32>
            %2 = plena.rotary "half" %0, %c, %s {heads = 2 : i64} : (tensor<4x4xf32>, tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x4xf32>
            %3 = plena.concat "features" %2, %1 {groups = 2 : i64} : (tensor<4x4xf32>, tensor<4x12xf32>) -> tensor<4x16xf32>
            func.return %3 : tensor<4x16xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<4x16xf32>, %c: tensor<4x2xf32>, %s: tensor<4x2xf32>) -> tensor<4x16xf32> {
            %0 = plena.rotary "half" %x, %c, %s {heads = 2 : i64} : (tensor<4x16xf32>, tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x16xf32>
            func.return %0 : tensor<4x16xf32>
          }
        }
    """

    name = "widen-rotary"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite_once(op, WidenRotary())
        dce(op)
