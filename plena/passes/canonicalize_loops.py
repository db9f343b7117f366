"""`canonicalize-loops`: one form for every loop nest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.gc_pause import without_collection
from plena.loops.cloning import LoopScope, Scope, Substitution, clone
from plena.machine.constants import LARGEST_TRIP_COUNT


@dataclass(frozen=True)
class CanonicalizeLoops(ModulePass):
    """Inlines loops of one trip, drops empty ones, and leaves one `loop.affine` of loop indices per address and block.

    A loop of nothing but another loop becomes one with it if addresses go on where the other one leaves them.

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
        if isinstance(op, ForOp):
            _rebuild_nest(_nest(op), scope, substitution)
        else:
            clone((op,), scope, substitution)


def _rebuild_nest(nest: list[ForOp], scope: Scope, substitution: Substitution) -> None:
    """Appends loops that count as one."""
    for loop in nest:
        substitution.indices[loop.index] = Linear(0)
    counting = _counting(nest)
    inner = scope
    if counting is not None:
        inner = scope.loop(prod(loop.trips for loop in nest), counting.attributes)
        inner.index.name_hint = counting.index.name_hint
        substitution.indices[counting.index] = Linear.index(inner.index)
    for loop in nest[:-1]:
        clone((op for op in loop.operations if isinstance(op, AffineOp)), inner, substitution)
    _rebuild(nest[-1].operations, inner, substitution)
    if isinstance(inner, LoopScope) and counting is not None and not _is_empty(inner):
        inner.close()


def _nest(loop: ForOp) -> list[ForOp]:
    """Loops that count as one, outermost first: each but the last holds nothing but the next, and every address in them
    advances in an iteration of one as far as in all iterations of the next."""
    nest = [loop]
    while True:
        held = [op for op in nest[-1].operations if not isinstance(op, AffineOp)]
        inner = held[0] if len(held) == 1 else None
        if not isinstance(inner, ForOp) or not _continues(_counting(nest), inner):
            return nest
        if prod(op.trips for op in nest) * inner.trips > LARGEST_TRIP_COUNT:
            return nest
        nest.append(inner)


def _counting(nest: list[ForOp]) -> ForOp | None:
    """The loop whose index counts the iterations of all: the last one of more than one trip."""
    return next((loop for loop in reversed(nest) if loop.trips > 1), None)


def _continues(outer: ForOp | None, inner: ForOp) -> bool:
    if outer is None or inner.trips == 1:
        return True
    known = Substitution()
    addresses = (
        known.expression(value)
        for op in inner.walk()
        if not isinstance(op, AffineOp)
        for value in op.operands
    )
    return all(a.coefficient(outer.index) == inner.trips * a.coefficient(inner.index) for a in addresses)


def _is_empty(loop: LoopScope) -> bool:
    return all(isinstance(op, AffineOp) for op in loop.operations)


__all__ = ["CanonicalizeLoops", "canonicalize"]
