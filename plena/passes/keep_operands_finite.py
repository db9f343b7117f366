"""`keep-operands-finite`: what products store is finite where it is divided by a norm, and NaN is added behind them;
what is finite is not made so."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.transforms.dead_code_elimination import dce

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import Emitter
from plena.tensor.infinities import LARGEST, is_finite, makes_infinity
from plena.tensor.ranges import MARGIN
from plena.tensor.rewriting import rewrite_once
from plena.tensor.same_values import same_value


class DivideByNorms(RewritePattern):
    """a @ (x / n)^T for a norm n of the rows of x.

    A norm is 0, for a row of zeros, or far above the clamp, as a square that is not 0 has a root of at least 2^-67.
    So the row is NaN or what it is without the clamp, and what is added is NaN or 0.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.MatmulOp, rewriter: PatternRewriter) -> None:
        division = op.rhs.owner
        together = op.batch.value.data * op.heads.value.data == 1 and not op.wide and op.rhs_heads is None
        if not together or not op.transpose_rhs.value.data or not isinstance(division, plena.DivOp):
            return
        norm = _column(division.rhs)
        if not makes_infinity(division) or not _is_norm(norm, division.lhs):
            return
        e = Emitter(rewriter, op)
        divisor = e.add(plena.ClampOp(norm, MARGIN, None))
        finite = e.add(plena.DivOp(division.lhs, divisor))
        product = e.add(plena.MatmulOp(op.lhs, finite, 1, True))
        undefined = e.add(plena.DivOp(e.add(plena.MulScalarOp(norm, 0.0)), norm))
        e.replace(e.add(plena.AddOp(product, e.reshape(undefined, (shape_of(norm)[0],)))))


class LeaveFinite(RewritePattern):
    """A clamp to all finite numbers, as of the maximum that a logsumexp takes off, does nothing to finite ones."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.ClampOp, rewriter: PatternRewriter) -> None:
        bounds = [bound and bound.value.data for bound in (op.min, op.max)]
        if bounds == [-LARGEST, LARGEST] and is_finite(op.input):
            Emitter(rewriter, op).replace(op.input)


def _column(divisor: SSAValue) -> SSAValue:
    """The norms [N, 1]; the one of a single row may have been repeated for it."""
    while isinstance(divisor.owner, plena.ExpandOp | plena.ReshapeOp):
        source = divisor.owner.input
        if shape_of(source) not in ((1,), (1, 1)):
            break
        divisor = source
    return divisor


def _is_norm(norm: SSAValue, x: SSAValue) -> bool:
    """Whether a column is the square root of the sum of the squares of each row of x."""
    root = norm.owner
    total = root.input.owner if isinstance(root, plena.ActivationOp) and root.kind.data == "sqrt" else None
    if not isinstance(total, plena.ReduceOp) or total.kind.data != "sum" or total.axis.data != "features":
        return False
    square = total.input.owner
    if total.groups.value.data != 1 or not isinstance(square, plena.MulOp):
        return False
    return same_value(square.lhs, x) and same_value(square.rhs, x)


@dataclass(frozen=True)
class KeepOperandsFinite(ModulePass):
    """Keeps NaN out of right operands that are divided by their norms, which have none in the format they are stored in.

    Similarities are such products, of texts with images each of length 1. A row of zeros makes NaN of its column of
    the result, as in PyTorch. Clamps to all finite numbers of what is finite go: what is computed from it is known to
    be finite more often then.

    Before::

        builtin.module {
          func.func @main(%a: tensor<2x64xf32>, %b: tensor<3x64xf32>) -> tensor<2x3xf32> {
            %0 = plena.mul %b, %b : (tensor<3x64xf32>, tensor<3x64xf32>) -> tensor<3x64xf32>
            %1 = plena.reduce "sum" over "features" %0 : (tensor<3x64xf32>) -> tensor<3x1xf32>
            %2 = plena.activation "sqrt" %1 : (tensor<3x1xf32>) -> tensor<3x1xf32>
            %3 = plena.div %b, %2 : (tensor<3x64xf32>, tensor<3x1xf32>) -> tensor<3x64xf32>
            %4 = plena.matmul %a, %3 {batch = 1 : i64, transpose_rhs = true} : (tensor<2x64xf32>, tensor<3x64xf32>) -> tensor<2x3xf32>
            func.return %4 : tensor<2x3xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%a: tensor<2x64xf32>, %b: tensor<3x64xf32>) -> tensor<2x3xf32> {
            %0 = plena.mul %b, %b : (tensor<3x64xf32>, tensor<3x64xf32>) -> tensor<3x64xf32>
            %1 = plena.reduce "sum" over "features" %0 : (tensor<3x64xf32>) -> tensor<3x1xf32>
            %2 = plena.activation "sqrt" %1 : (tensor<3x1xf32>) -> tensor<3x1xf32>
            %3 = plena.clamp %2 {min = 7.8886090522101181e-31 : f64} : (tensor<3x1xf32>) -> tensor<3x1xf32>
            %4 = plena.div %b, %3 : (tensor<3x64xf32>, tensor<3x1xf32>) -> tensor<3x64xf32>
            %5 = plena.matmul %a, %4 {batch = 1 : i64, transpose_rhs = true} : (tensor<2x64xf32>, tensor<3x64xf32>) -> tensor<2x3xf32>
            %6 = plena.mul_scalar %2, 0.000000e+00 : f64 : (tensor<3x1xf32>) -> tensor<3x1xf32>
            %7 = plena.div %6, %2 : (tensor<3x1xf32>, tensor<3x1xf32>) -> tensor<3x1xf32>
            %8 = plena.reshape %7 : (tensor<3x1xf32>) -> tensor<3xf32>
            %9 = plena.add %5, %8 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
            func.return %9 : tensor<2x3xf32>
          }
        }
    """

    name = "keep-operands-finite"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite_once(op, LeaveFinite())
        rewrite_once(op, DivideByNorms())
        dce(op)
