"""`collect-experts`: sums over all experts that a model writes out become plena.experts."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from plena.dialects.plena import RouteOp
from plena.tensor.expert_sums import SumsOverExperts


@dataclass(frozen=True)
class CollectExperts(ModulePass):
    """Loops over all experts, and tensors with an axis of experts, whose results are weighted and added up.

    A sum is one over the experts if it has a term for each of them, which is 0 where the expert is not chosen because a
    column of numbers that are 0 there is a factor of it, and if all terms are computed alike, row by row, of parameters that
    differ. Parameters are put one behind the other where they are not. What else is added up is added to the result.

    Before::

        builtin.module {
          func.func @main(%x: tensor<3x4xf32>, %s: tensor<3x2xf32>) -> tensor<3x4xf32> {
            %a = aten.parameter @a : tensor<4x4xf32>
            %b = aten.parameter @b : tensor<4x4xf32>
            %0 = plena.route %s {k = 1 : i64} : (tensor<3x2xf32>) -> tensor<3x2xf32>
            %1 = aten.mul %0, %s : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
            %2 = aten.slice %1 {dim = 1 : i64, start = 0 : i64, end = 1 : i64, step = 1 : i64} : (tensor<3x2xf32>) -> tensor<3x1xf32>
            %3 = aten.linear %x, %a : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
            %4 = aten.mul %3, %2 : (tensor<3x4xf32>, tensor<3x1xf32>) -> tensor<3x4xf32>
            %5 = aten.slice %1 {dim = 1 : i64, start = 1 : i64, end = 2 : i64, step = 1 : i64} : (tensor<3x2xf32>) -> tensor<3x1xf32>
            %6 = aten.linear %x, %b : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
            %7 = aten.mul %6, %5 : (tensor<3x4xf32>, tensor<3x1xf32>) -> tensor<3x4xf32>
            %8 = aten.add %x, %4 : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
            %9 = aten.add %8, %7 : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
            func.return %9 : tensor<3x4xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<3x4xf32>, %s: tensor<3x2xf32>) -> tensor<3x4xf32> {
            %a = aten.parameter @a : tensor<4x4xf32>
            %b = aten.parameter @b : tensor<4x4xf32>
            %0 = plena.route %s {k = 1 : i64} : (tensor<3x2xf32>) -> tensor<3x2xf32>
            %1 = aten.mul %0, %s : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
            %2 = aten.view %a : (tensor<4x4xf32>) -> tensor<1x4x4xf32>
            %3 = aten.view %b : (tensor<4x4xf32>) -> tensor<1x4x4xf32>
            %4 = aten.cat %2, %3 {dim = 0 : i64} : (tensor<1x4x4xf32>, tensor<1x4x4xf32>) -> tensor<2x4x4xf32>
            %5 = plena.experts %0 : tensor<3x2xf32> rows(%x : tensor<3x4xf32>) columns(%1 : tensor<3x2xf32>) stacked(%4 : tensor<2x4x4xf32>) -> tensor<3x4xf32> {
            ^bb0(%6: tensor<3x4xf32>, %7: tensor<3x1xf32>, %8: tensor<4x4xf32>):
              %9 = aten.linear %6, %8 : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
              %10 = aten.mul %9, %7 : (tensor<3x4xf32>, tensor<3x1xf32>) -> tensor<3x4xf32>
              plena.yield %10 : tensor<3x4xf32>
            }
            %11 = aten.add %x, %5 : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
            func.return %11 : tensor<3x4xf32>
          }
        }
    """

    name = "collect-experts"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for route in [found for found in op.walk() if isinstance(found, RouteOp)]:
            SumsOverExperts(route).replace()
