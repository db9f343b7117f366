"""`canonicalize-loops`: one form for every loop nest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.gc_pause import without_collection
from plena.loops.cloning import LoopScope, Scope, Substitution, clone


@dataclass(frozen=True)
class CanonicalizeLoops(ModulePass):
    """Inlines loops of one trip, drops empty ones, and leaves one `loop.affine` of loop indices per address and block.

    Before::

        builtin.module {
          loop.for %i = 0 to 8 {
            %a = loop.affine 0 + 64 * %i
            loop.for %k = 0 to 1 {
              %b = loop.affine 4096 + 1 * %a + 64 * %k
              %c = loop.affine 4096 + 64 * %i
              %unused = loop.affine 7
              plena_isa.v_exp_v dst(%b) a(%c)
            }
          }
        }

    After::

        builtin.module {
          loop.for %i = 0 to 8 {
            %0 = loop.affine 4096 + 64 * %i
            plena_isa.v_exp_v dst(%0) a(%0)
          }
        }
    """

    name = "canonicalize-loops"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        canonicalize(op)


def canonicalize(module: ModuleOp) -> None:
    """Rebuilds the body of a module in canonical form (see the pass)."""
    block = module.body.block
    scope = Scope()
    with without_collection():
        _rebuild(block.ops, scope, Substitution())
        for old in reversed(list(block.ops)):
            block.detach_op(old)
            old.erase(safe_erase=False)
        block.add_ops(scope.operations)


def _rebuild(operations: Iterable[Operation], scope: Scope, substitution: Substitution) -> None:
    for op in operations:
        if not isinstance(op, ForOp):
            clone((op,), scope, substitution)
        elif op.trips == 1:
            substitution.indices[op.index] = Linear(0)
            _rebuild(op.operations, scope, substitution)
        else:
            inner = scope.loop(op.trips, op.attributes)
            inner.index.name_hint = op.index.name_hint
            substitution.indices[op.index] = Linear.index(inner.index)
            _rebuild(op.operations, inner, substitution)
            if not _is_empty(inner):
                inner.close()


def _is_empty(loop: LoopScope) -> bool:
    return all(isinstance(op, AffineOp) for op in loop.operations)


__all__ = ["CanonicalizeLoops", "canonicalize"]
