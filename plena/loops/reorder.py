"""Interchange, unroll-and-jam, fusion: transformations that change the order of instructions.

They only rewrite; whether the new order computes the same is asked of plena.loops.dependence first.
"""

from __future__ import annotations

from plena.dialects.loop import AffineOp, ForOp, Linear
from plena.dialects.loop.nests import inner_of_perfect_nest, require_affine
from plena.errors import CompileError
from plena.loops.cloning import LoopScope, Scope, Substitution, clone, replace


def perfect_inner(outer: ForOp) -> ForOp:
    """The loop directly inside a perfect nest.

    Raises:
        CompileError: the body is not just one loop, or the loop is in the register form.
    """
    require_affine(outer)
    inner = inner_of_perfect_nest(outer)
    if inner is None:
        raise CompileError("the loop is not the outer loop of a perfect nest: its body must be one loop")
    require_affine(inner)
    return inner


def _address_arithmetic(outer: ForOp, substitution: Substitution) -> None:
    for op in outer.operations:
        if isinstance(op, AffineOp):
            substitution.indices[op.results[0]] = substitution.affine(op)


def interchange(outer: ForOp) -> ForOp:
    """Swaps the two loops of a perfect nest; returns the new outer loop."""
    inner = perfect_inner(outer)
    scope = Scope()
    new_outer = scope.loop(inner.trips, inner.attributes)
    new_inner = new_outer.loop(outer.trips, outer.attributes)
    new_outer.index.name_hint, new_inner.index.name_hint = inner.index.name_hint, outer.index.name_hint
    substitution = Substitution(
        {outer.index: Linear.index(new_inner.index), inner.index: Linear.index(new_outer.index)}
    )
    _address_arithmetic(outer, substitution)
    clone(inner.operations, new_inner, substitution)
    new_inner.close()
    result = new_outer.close()
    replace(outer, scope.operations)
    return result


def _jammed(outer: ForOp, inner: ForOp, scope: Scope, positions: list[Linear]) -> ForOp:
    """One pass over the inner loop for several iterations of the outer one at once."""
    both = scope.loop(inner.trips, inner.attributes)
    both.index.name_hint = inner.index.name_hint
    for position in positions:
        substitution = Substitution({outer.index: position, inner.index: Linear.index(both.index)})
        _address_arithmetic(outer, substitution)
        clone(inner.operations, both, substitution)
    return both.close()


def jam(outer: ForOp, factor: int) -> tuple[ForOp | None, ForOp]:
    """Unrolls the outer loop of a perfect nest by `factor` and merges the copies of the inner loop into one.

    Outer iterations left over follow as a nest of their own. Returns the outer loop (None when it would run once)
    and the jammed inner loop.
    """
    inner = perfect_inner(outer)
    scope = Scope()
    factor = min(factor, outer.trips)
    trips, rest = divmod(outer.trips, factor)
    new_outer: ForOp | None = None
    if trips == 1:
        new_inner = _jammed(outer, inner, scope, [Linear(copy) for copy in range(factor)])
    else:
        around = _outer_scope(outer, scope, trips)
        new_inner = _jammed(
            outer, inner, around, [Linear.of(copy, [(around.index, factor)]) for copy in range(factor)]
        )
        new_outer = around.close()
    done = trips * factor
    if rest == 1:
        _jammed(outer, inner, scope, [Linear(done)])
    elif rest:
        around = _outer_scope(outer, scope, rest)
        _jammed(outer, inner, around, [Linear.of(done, [(around.index, 1)])])
        around.close()
    replace(outer, scope.operations)
    return new_outer, new_inner


def _outer_scope(outer: ForOp, scope: Scope, trips: int) -> LoopScope:
    around = scope.loop(trips, outer.attributes)
    around.index.name_hint = outer.index.name_hint
    return around


def fuse(first: ForOp, second: ForOp) -> ForOp:
    """Merges two loops of equal trip count into one that runs both bodies; it stands where the second one stood.

    Only address arithmetic may stand between them.

    Raises:
        CompileError: the trip counts differ.
    """
    require_affine(first)
    require_affine(second)
    if first.trips != second.trips:
        raise CompileError(f"loops of {first.trips} and {second.trips} trips cannot be fused")
    scope = Scope()
    both = scope.loop(first.trips, {**second.attributes, **first.attributes})
    both.index.name_hint = first.index.name_hint
    for loop in (first, second):
        clone(loop.operations, both, Substitution({loop.index: Linear.index(both.index)}))
    result = both.close()
    replace(second, scope.operations)
    replace(first, ())
    return result


__all__ = ["fuse", "interchange", "jam", "perfect_inner"]
