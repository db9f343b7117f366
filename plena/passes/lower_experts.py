"""`lower-experts`: plena.experts becomes products for all experts at once, or one body after the other."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from plena.dialects import aten, plena
from plena.dialects.plena.control import YieldOp
from plena.dialects.tensor_shapes import shape_of
from plena.kernels.expert_cost import is_cheaper_in_parts
from plena.machine.target import Target
from plena.tensor.aten_emission import Columns, Emission, with_location
from plena.tensor.expert_bodies import NotSideBySideError, SideBySide


@dataclass(frozen=True)
class LowerExperts(ModulePass):
    """Every expert for all tokens, each weight once.

    Where an expert is act(x @ A) @ B, times a weight, the experts are one wide layer: their first matrices below each
    other, then the second ones beside each other, and the sum over the experts is the contraction; what they compute
    between is multiplied by the weights, 0 where the mask is: as parts of rows that have a number each, or after a product
    with zeros and ones has repeated the numbers, whichever costs less. Other bodies stand there once for each expert.

    Before::

        builtin.module {
          func.func @main(%x: tensor<3x4xf32>, %m: tensor<3x2xf32>, %w: tensor<3x2xf32>) -> tensor<3x4xf32> {
            %a = aten.parameter @a : tensor<2x8x4xf32>
            %b = aten.parameter @b : tensor<2x4x8xf32>
            %0 = plena.experts %m : tensor<3x2xf32> rows(%x : tensor<3x4xf32>) columns(%w : tensor<3x2xf32>) stacked(%a, %b : tensor<2x8x4xf32>, tensor<2x4x8xf32>) -> tensor<3x4xf32> {
            ^bb0(%1: tensor<3x4xf32>, %2: tensor<3x1xf32>, %3: tensor<8x4xf32>, %4: tensor<4x8xf32>):
              %5 = aten.linear %1, %3 : (tensor<3x4xf32>, tensor<8x4xf32>) -> tensor<3x8xf32>
              %6 = aten.relu %5 : (tensor<3x8xf32>) -> tensor<3x8xf32>
              %7 = aten.linear %6, %4 : (tensor<3x8xf32>, tensor<4x8xf32>) -> tensor<3x4xf32>
              %8 = aten.mul %7, %2 : (tensor<3x4xf32>, tensor<3x1xf32>) -> tensor<3x4xf32>
              plena.yield %8 : tensor<3x4xf32>
            }
            func.return %0 : tensor<3x4xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%x: tensor<3x4xf32>, %m: tensor<3x2xf32>, %w: tensor<3x2xf32>) -> tensor<3x4xf32> {
            %a = aten.parameter @a : tensor<2x8x4xf32>
            %b = aten.parameter @b : tensor<2x4x8xf32>
            %0 = aten.mul %m, %w : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
            %1 = aten.permute %b {dims = array<i64: 1, 0, 2>} : (tensor<2x4x8xf32>) -> tensor<4x2x8xf32>
            %2 = aten.view %a : (tensor<2x8x4xf32>) -> tensor<16x4xf32>
            %3 = aten.linear %x, %2 : (tensor<3x4xf32>, tensor<16x4xf32>) -> tensor<3x16xf32>
            %4 = aten.relu %3 : (tensor<3x16xf32>) -> tensor<3x16xf32>
            %5 = plena.parameter #plena.view<#plena.concatenated<[#plena.full<1.000000e+00 : f64, array<i64: 1>>, #plena.full<0.000000e+00 : f64, array<i64: 2>>], 0 : i64>, [expand [2, 3], reshape [6], slice 0 0 4 1, reshape [2, 2, 1], expand [2, 2, 8], reshape [2, 16]]> : tensor<2x16xf32>
            %6 = aten.matmul %0, %5 : (tensor<3x2xf32>, tensor<2x16xf32>) -> tensor<3x16xf32>
            %7 = aten.mul %4, %6 : (tensor<3x16xf32>, tensor<3x16xf32>) -> tensor<3x16xf32>
            %8 = aten.view %1 : (tensor<4x2x8xf32>) -> tensor<4x16xf32>
            %9 = aten.linear %7, %8 : (tensor<3x16xf32>, tensor<4x16xf32>) -> tensor<3x4xf32>
            func.return %9 : tensor<3x4xf32>
          }
        }
    """

    name = "lower-experts"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = Target.from_module(op)
        for experts in [found for found in op.walk() if isinstance(found, plena.ExpertsOp)]:
            _lower(experts, target)


def _lower(op: plena.ExpertsOp, target: Target) -> None:
    emission = Emission(Builder(InsertPoint.before(op)))
    with_location(emission, op)
    before = op.prev_op
    tokens, experts = shape_of(op.mask)

    def in_parts(columns: int) -> bool:
        return is_cheaper_in_parts(tokens, experts, columns, target)

    try:
        total = SideBySide(op, emission, in_parts).summed(op.yielded, op.mask)
    except NotSideBySideError:
        _drop_between(before, op)
        total = _one_by_one(op, emission)
    op.result.replace_all_uses_with(emission.view(total, shape_of(op.result)))
    op.detach()
    op.erase()


def _drop_between(before: Operation | None, op: Operation) -> None:
    """Erases what was built in vain."""
    while (last := op.prev_op) is not None and last is not before:
        last.detach()
        last.erase(safe_erase=False)


def _one_by_one(op: plena.ExpertsOp, emission: Emission) -> SSAValue:
    """The sum of the bodies' results where the mask is 1."""
    total: SSAValue | None = None
    for expert in range(op.experts):
        one = Columns(expert, 1, 1)
        with_location(emission, op)
        own = [
            *op.rows,
            *(emission.columns(weights, 1, one) for weights in op.columns),
            *(emission.view(emission.columns(p, 0, one), shape_of(p)[1:]) for p in op.stacked),
        ]
        mapping: dict[SSAValue, SSAValue] = dict(zip(op.body.block.args, own, strict=True))
        for inner in op.body.block.ops:
            if not isinstance(inner, YieldOp):
                emission.builder.insert(inner.clone(mapping))
        value = mapping[op.yielded]
        weighted = emission.binary(aten.MulOp, value, emission.columns(op.mask, 1, one))
        total = weighted if total is None else emission.binary(aten.AddOp, total, weighted)
    assert total is not None
    return total
