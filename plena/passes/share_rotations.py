"""`share-rotations`: tensors that the same tables rotate are rotated together."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.passes.share_projections import joint_location


@dataclass(frozen=True)
class ShareRotations(ModulePass):
    """Joins rotary embeddings with the same tables and heads of the same size into one `plena.rotaries`.

    It stands where the last of them stood if nothing uses the others' results before, else where the first stood if
    the inputs of all are known there.

    Before::

        builtin.module {
          func.func @main(%q: tensor<4x8xf32>, %k: tensor<4x4xf32>, %c: tensor<4x4xf32>, %s: tensor<4x4xf32>) -> (tensor<4x8xf32>, tensor<4x4xf32>) {
            %0 = plena.rotary "half" %q, %c, %s {heads = 2 : i64} : (tensor<4x8xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
            %1 = plena.rotary "half" %k, %c, %s {heads = 1 : i64} : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
            func.return %0, %1 : tensor<4x8xf32>, tensor<4x4xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%q: tensor<4x8xf32>, %k: tensor<4x4xf32>, %c: tensor<4x4xf32>, %s: tensor<4x4xf32>) -> (tensor<4x8xf32>, tensor<4x4xf32>) {
            %0, %1 = plena.rotaries "half"(%q, %k : tensor<4x8xf32>, tensor<4x4xf32>) tables(%c, %s : tensor<4x4xf32>, tensor<4x4xf32>) {heads = array<i64: 2, 1>} -> tensor<4x8xf32>, tensor<4x4xf32>
            func.return %0, %1 : tensor<4x8xf32>, tensor<4x4xf32>
          }
        }
    """

    name = "share-rotations"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            if isinstance(function, func.FuncOp):
                for block in function.body.blocks:
                    _share(block)


def _share(block: Block) -> None:
    groups: dict[tuple[SSAValue, SSAValue, str, int], list[plena.RotaryOp]] = defaultdict(list)
    for op in list(block.ops):
        if not isinstance(op, plena.RotaryOp):
            continue
        size = shape_of(op.input)[1] // op.heads.value.data
        group = groups[op.cos, op.sin, op.style.data, size]
        if group and (op.input in [o.input for o in group] or _place([*group, op]) is None):
            _join(group)
            group.clear()
        group.append(op)
    for group in groups.values():
        _join(group)


def _place(rotaries: list[plena.RotaryOp]) -> plena.RotaryOp | None:
    """The one at whose place all may stand."""
    first, last = rotaries[0], rotaries[-1]
    block = first.parent_block()
    assert block is not None
    users = (block.find_ancestor_op_in_block(u.operation) for op in rotaries[:-1] for u in op.result.uses)
    if all(user is not None and last.is_before_in_block(user) for user in users):
        return last
    inputs = (op.input.owner for op in rotaries[1:])
    if all(not isinstance(i, Operation) or i.is_before_in_block(first) for i in inputs):
        return first
    return None


def _join(rotaries: list[plena.RotaryOp]) -> None:
    place = _place(rotaries)
    if len(rotaries) == 1 or place is None:
        return
    first, block = rotaries[0], place.parent_block()
    assert block is not None
    style: plena.RotaryStyle = "half" if first.style.data == "half" else "interleaved"
    joined = plena.RotariesOp(
        [op.input for op in rotaries],
        first.cos,
        first.sin,
        [op.heads.value.data for op in rotaries],
        style,
    )
    joined.attributes.update(joint_location(rotaries))
    block.insert_op_before(joined, place)
    for op, output in zip(rotaries, joined.outputs, strict=True):
        op.result.replace_all_uses_with(output)
        op.detach()
        op.erase()


__all__ = ["ShareRotations"]
