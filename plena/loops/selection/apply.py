"""Carrying out choices on the loops they were made for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdsl.dialects.builtin import ModuleOp

from plena.dialects.loop import ForOp
from plena.dialects.loop.nests import loops_in
from plena.loops import expand, interchange, jam, unroll
from plena.loops.selection.changes import LoopChange, changes_of
from plena.loops.selection.choices import Choice


def apply_choices(module: ModuleOp, choices: Iterable[Choice]) -> None:
    """Transforms the loops of a module in place, inner ones first.

    The module is the one that the choices were made for or a copy of it: loops are found by their numbers.
    """
    apply_changes(module, changes_of(choices))


def apply_changes(module: ModuleOp, changes: Iterable[LoopChange]) -> None:
    """Transforms the loops of a module in place, in the given order; the numbers are those before any change."""
    loops = list(loops_in(module))
    for change in changes:
        _apply(change, loops)


def _apply(change: LoopChange, loops: Sequence[ForOp]) -> None:
    loop = loops[change.loop]
    if change.kind == "jam":
        _jam(change, loop)
        return
    if change.flat:
        _expand_inside(loop)
    if change.kind == "expand":
        expand(loop)
    elif change.kind == "unroll":
        unroll(loop, change.factor, tail=True)


def _jam(change: LoopChange, outer: ForOp) -> None:
    _expand_inside(next(loops_in(outer)))
    if change.interchange:
        outer = interchange(outer)
    _, jammed = jam(outer, change.factor)
    if change.inner_factor > 1:
        unroll(jammed, change.inner_factor, tail=True)


def _expand_inside(loop: ForOp) -> None:
    for inner in reversed(list(loops_in(loop))):
        expand(inner)
