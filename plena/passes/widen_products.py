"""`widen-products`: products of computed matrices read and write heads where they lie, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.transforms.dead_code_elimination import dce

from plena.dialects import plena
from plena.dialects.tensor_shapes import shape_of
from plena.tensor.emission import Emitter
from plena.tensor.layout_maps import LayoutMap
from plena.tensor.rewriting import rewrite_once
from plena.tensor.tracing import trace


@dataclass(frozen=True)
class Operand:
    """An operand as a value [batch*rows, heads*columns], or transposed if `turned`."""

    base: SSAValue
    heads: int
    shape: tuple[int, int]
    turned: bool


class WidenOperands(RewritePattern):
    """Heads that are moved below each other for a product are read where they were, transposed ones as they were.

    Both operands must have the same number of heads then, or the right one a divisor.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.MatmulOp, rewriter: PatternRewriter) -> None:
        if op.wide or op.heads.value.data != 1 or op.rhs_heads is not None:
            return
        total, transposed = op.batch.value.data, bool(op.transpose_rhs.value.data)
        m, k, n = op.sizes
        right = (n, k) if transposed else (k, n)
        best: tuple[int, int, Operand | None, Operand | None] | None = None
        for heads in (h for h in range(1, total + 1) if total % h == 0):
            batch = total // heads
            lhs = next((x for x in _operands(op.lhs, batch, heads, (m, k), [heads]) if not x.turned), None)
            rhs = next(iter(_operands(op.rhs, batch, heads, right, _divisors(heads))), None)
            found = (lhs is not None) + (rhs is not None)
            if found and (best is None or found > best[0]):
                best = (found, heads, lhs, rhs)
        if best is None:
            return
        _, heads, lhs, rhs = best
        emitter = Emitter(rewriter, op)
        wide = [name for name, x in (("lhs", lhs), ("rhs", rhs)) if x is not None and x.heads * heads > 1]
        product = plena.MatmulOp(
            op.lhs if lhs is None else emitter.reshape(lhs.base, lhs.shape),
            op.rhs if rhs is None else emitter.reshape(rhs.base, rhs.shape),
            total // heads,
            transposed != (rhs is not None and rhs.turned),
            heads=heads,
            rhs_heads=heads if rhs is None else rhs.heads,
            wide=wide,
        )
        emitter.replace(emitter.add(product))


def _operands(
    value: SSAValue, batch: int, heads: int, size: tuple[int, int], counts: list[int]
) -> Iterator[Operand]:
    """The operand [batch*heads*rows, columns] as heads side by side, of so many heads each repeated for a group."""
    traced = trace(value)
    if traced.base == value or len(shape_of(traced.base)) < 2:
        return
    simple = traced.layout.simplified()
    for turned in (False, True):
        rows, columns = reversed(size) if turned else size
        for count in counts:
            group = heads // count
            seen = LayoutMap.of((batch, rows, count, columns)).permuted(
                (0, 2, 3, 1) if turned else (0, 2, 1, 3)
            )
            if group > 1:
                kept = LayoutMap(seen.factors, (*seen.axes[:2], (), *seen.axes[2:]))
                seen = kept.expanded((batch, count, group, *size))
            if seen.simplified() == simple and (turned or count * group > 1):
                yield Operand(traced.base, count, (batch * rows, count * columns), turned)


def _divisors(number: int) -> list[int]:
    return [d for d in range(number, 0, -1) if number % d == 0]


class WidenResult(RewritePattern):
    """Heads that are moved side by side behind a product are written there."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: plena.RearrangeOp, rewriter: PatternRewriter) -> None:
        product = op.input.owner
        if not isinstance(product, plena.MatmulOp) or product.wide_result is not None:
            return
        if not op.input.has_one_use():
            return
        m, _, n = product.sizes
        total = product.batch.value.data * product.heads.value.data
        fixed = bool(product.wide) or product.rhs_heads is not None
        for heads in [product.heads.value.data] if fixed else _divisors(total):
            batch = total // heads
            seen = LayoutMap.of((batch, heads, m, n)).permuted((0, 2, 1, 3)).simplified()
            if heads > 1 and (seen.factors, seen.order) == (op.factors.get_values(), op.order.get_values()):
                emitter = Emitter(rewriter, op)
                wide = plena.MatmulOp(
                    product.lhs,
                    product.rhs,
                    batch,
                    bool(product.transpose_rhs.value.data),
                    heads=heads,
                    rhs_heads=product.head_counts[1] if fixed else heads,
                    wide=(*product.wide, "result"),
                )
                wide.attributes.update(product.attributes)
                emitter.replace(emitter.reshape(emitter.add(wide), shape_of(op.result)))
                return


@dataclass(frozen=True)
class WidenProducts(ModulePass):
    """Absorbs into products of computed matrices how their heads are moved, and transpositions of right operands.

    Before::

        builtin.module {
          func.func @main(%q: tensor<16x64xf32>, %k: tensor<16x64xf32>) -> tensor<64x16xf32> {
            %0 = plena.rearrange %q {factors = array<i64: 16, 4, 16>, order = array<i64: 1, 0, 2>} : (tensor<16x64xf32>) -> tensor<64x16xf32>
            %1 = plena.rearrange %k {factors = array<i64: 16, 64>, order = array<i64: 1, 0>} : (tensor<16x64xf32>) -> tensor<64x16xf32>
            %2 = plena.matmul %0, %1 {batch = 4 : i64} : (tensor<64x16xf32>, tensor<64x16xf32>) -> tensor<64x16xf32>
            func.return %2 : tensor<64x16xf32>
          }
        }

    After::

        builtin.module {
          func.func @main(%q: tensor<16x64xf32>, %k: tensor<16x64xf32>) -> tensor<64x16xf32> {
            %0 = plena.matmul %q, %k {batch = 1 : i64, heads = 4 : i64, transpose_rhs = true, wide_lhs, wide_rhs} : (tensor<16x64xf32>, tensor<16x64xf32>) -> tensor<64x16xf32>
            func.return %0 : tensor<64x16xf32>
          }
        }
    """

    name = "widen-products"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        rewrite_once(op, WidenOperands())
        rewrite_once(op, WidenResult())
        dce(op)
