"""`split-layers`: a loop over layers becomes several loops, one behind the other."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.plena.control import RepeatOp
from plena.errors import CompileError
from plena.integers import ceil_div


@dataclass(frozen=True)
class SplitLayers(ModulePass):
    """Makes `parts` loops of every repetition, as equal as can be; what one carries at its end the next one begins with.

    The weights of a loop's layers lie in one piece of HBM. Where no base address reaches all of it, those of some of
    the layers are shorter.

    Before::

        builtin.module {
          func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
            %0 = plena.repeat %x {times = 2 : i64, stacked = [[@a, @b]]} : (tensor<4x4xf32>) -> tensor<4x4xf32> {
            ^bb0(%1: tensor<4x4xf32>, %2: tensor<4x4xf32>):
              %3 = plena.linear %1, %2 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
              plena.yield %3 : tensor<4x4xf32>
            }
            func.return %0 : tensor<4x4xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
            %0 = plena.repeat %x {times = 1 : i64, stacked = [[@a]]} : (tensor<4x4xf32>) -> tensor<4x4xf32> {
            ^bb0(%1: tensor<4x4xf32>, %2: tensor<4x4xf32>):
              %3 = plena.linear %1, %2 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
              plena.yield %3 : tensor<4x4xf32>
            }
            %4 = plena.repeat %0 {times = 1 : i64, stacked = [[@b]]} : (tensor<4x4xf32>) -> tensor<4x4xf32> {
            ^bb0(%5: tensor<4x4xf32>, %6: tensor<4x4xf32>):
              %7 = plena.linear %5, %6 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
              plena.yield %7 : tensor<4x4xf32>
            }
            func.return %4 : tensor<4x4xf32>
          }
        }
    """

    name = "split-layers"
    parts: int = 2

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.parts < 1:
            raise CompileError(f"parts must be at least 1, got {self.parts}", self.name)
        for repeat in [o for o in op.walk() if isinstance(o, RepeatOp)]:
            _split(repeat, min(self.parts, repeat.iterations))


def _split(repeat: RepeatOp, parts: int) -> None:
    """Replaces a repetition by `parts` of them."""
    block = repeat.parent_block()
    assert block is not None
    carried = list(repeat.initial)
    start = 0
    for part in range(parts):
        times = ceil_div(repeat.iterations - start, parts - part)
        stacked = [list(column)[start : start + times] for column in repeat.stacked]
        piece = RepeatOp(times, carried, stacked, repeat.body.clone())
        piece.attributes.update(repeat.attributes)
        block.insert_op_before(piece, repeat)
        carried = list(piece.outputs)
        start += times
    for old, new in zip(repeat.outputs, carried, strict=True):
        old.replace_all_uses_with(new)
    repeat.detach()
    repeat.erase()
