"""Unrolling, full expansion, peeling and strip-mining: transformations that keep the order of instructions."""

from __future__ import annotations

from plena.dialects.loop import ForOp, Linear
from plena.dialects.loop.nests import require_affine
from plena.loops.cloning import Scope, Substitution, clone, replace


def copies(loop: ForOp, scope: Scope, start: int, stop: int) -> None:
    """Appends the iterations `start` to `stop - 1` of a loop to a scope as straight code."""
    body = loop.operations
    for iteration in range(start, stop):
        clone(body, scope, Substitution({loop.index: Linear(iteration)}))


def section(loop: ForOp, scope: Scope, start: int, trips: int, factor: int = 1) -> ForOp | None:
    """Appends a loop of `trips` iterations, each `factor` iterations of `loop`, beginning at iteration `start`.

    No loop op for one trip, nothing for none. Returns the loop op.
    """
    if trips <= 0:
        return None
    if trips == 1:
        copies(loop, scope, start, start + factor)
        return None
    inner = scope.loop(trips, loop.attributes)
    inner.index.name_hint = loop.index.name_hint
    body = loop.operations
    for copy in range(factor):
        clone(body, inner, Substitution({loop.index: Linear.of(start + copy, [(inner.index, factor)])}))
    return inner.close()


def unroll(loop: ForOp, factor: int, *, tail: bool = False) -> ForOp | None:
    """Replaces a loop by one whose body is `factor` iterations.

    Iterations left over follow as a second loop, or as straight code with `tail`. A loop that would run once
    disappears. Returns the main loop, None when it disappeared.

    Raises:
        CompileError: the loop is in the register form.
    """
    require_affine(loop)
    scope = Scope()
    trips, rest = divmod(loop.trips, factor)
    main = section(loop, scope, 0, trips, factor)
    done = trips * factor
    if tail:
        copies(loop, scope, done, done + rest)
    else:
        section(loop, scope, done, rest)
    replace(loop, scope.operations)
    return main


def expand(loop: ForOp) -> None:
    """Replaces a loop by all of its iterations as straight code."""
    unroll(loop, loop.trips)


def peel(loop: ForOp, *, first: int = 0, last: int = 0) -> ForOp | None:
    """Takes the `first` and the `last` iterations out of a loop; returns what is left of the loop."""
    require_affine(loop)
    scope = Scope()
    first = min(first, loop.trips)
    end = max(first, loop.trips - last)
    copies(loop, scope, 0, first)
    main = section(loop, scope, first, end - first)
    copies(loop, scope, end, loop.trips)
    replace(loop, scope.operations)
    return main


def strip_mine(loop: ForOp, factor: int) -> tuple[ForOp | None, ForOp | None]:
    """Splits a loop into an outer one and an inner one of `factor` trips, and a loop for the iterations left over.

    Returns the outer and the inner loop; either is None when it would run once.
    """
    require_affine(loop)
    scope = Scope()
    trips, rest = divmod(loop.trips, factor)
    outer: ForOp | None = None
    inner: ForOp | None = None
    if trips <= 1 or factor == 1:
        single = section(loop, scope, 0, trips * factor)
        outer, inner = (single, None) if factor == 1 else (None, single)
    else:
        outer_scope = scope.loop(trips, loop.attributes)
        outer_scope.index.name_hint = loop.index.name_hint
        inner_scope = outer_scope.loop(factor, loop.attributes)
        position = Linear.of(0, [(outer_scope.index, factor), (inner_scope.index, 1)])
        clone(loop.operations, inner_scope, Substitution({loop.index: position}))
        inner = inner_scope.close()
        outer = outer_scope.close()
    section(loop, scope, trips * factor, rest)
    replace(loop, scope.operations)
    return outer, inner
