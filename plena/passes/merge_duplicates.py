"""`merge-duplicates`: common subexpressions, wherever in the model they come from."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import copysign

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import FloatAttr, ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass

from plena.dialects.aten import AtenOp
from plena.dialects.plena import FullAttr, PlenaOp


@dataclass(frozen=True)
class MergeDuplicates(ModulePass):
    """Keeps the first of several equal ops; unlike `cse` it does not compare where in the model they come
    from.

    Before::

        builtin.module {
          func.func @main(%x: tensor<2x4x8xf32>) -> tensor<8x8xf32> {
            %0 = plena.reshape %x {plena.node = "a"} : (tensor<2x4x8xf32>) -> tensor<8x8xf32>
            %1 = plena.reshape %x {plena.node = "b"} : (tensor<2x4x8xf32>) -> tensor<8x8xf32>
            %2 = plena.mul %0, %1 : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
            func.return %2 : tensor<8x8xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<2x4x8xf32>) -> tensor<8x8xf32> {
            %0 = plena.reshape %x {plena.node = "a"} : (tensor<2x4x8xf32>) -> tensor<8x8xf32>
            %1 = plena.mul %0, %0 : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
            func.return %1 : tensor<8x8xf32>
          }
        }
    """

    name = "merge-duplicates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.ops:
            if isinstance(function, func.FuncOp):
                for block in function.body.blocks:
                    _merge(block)


def _merge(block: Block) -> None:
    first: dict[Hashable, Operation] = {}
    for op in list(block.ops):
        if not isinstance(op, AtenOp | PlenaOp) or op.regions:
            continue
        key = (op.name, op.operands, tuple(sorted(op.properties.items())), _minus_zeros(op), op.result_types)
        kept = first.setdefault(key, op)
        if kept is not op:
            for old, new in zip(op.results, kept.results, strict=True):
                old.replace_all_uses_with(new)
            op.detach()
            op.erase()


def _minus_zeros(op: Operation) -> tuple[bool, ...]:
    """Which numbers of an op are minus zero: attributes with either zero are equal."""
    numbers = [value.value if isinstance(value, FullAttr) else value for value in op.properties.values()]
    return tuple(
        number.value.data == 0 and copysign(1.0, number.value.data) < 0
        for number in numbers
        if isinstance(number, FloatAttr)
    )
