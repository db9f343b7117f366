"""Carrying out choices on the loops they were made for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdsl.dialects.builtin import ModuleOp

from plena.dialects.loop import ForOp
from plena.dialects.loop.nests import loops_in
from plena.loops import expand, interchange, jam, unroll
from plena.loops.selection.choices import Choice


def apply_choices(module: ModuleOp, choices: Iterable[Choice]) -> None:
    """Transforms the loops of a module in place, inner ones first.

    The module is the one that the choices were made for or a copy of it: loops are found by their numbers.
    """
    loops = list(loops_in(module))
    for choice in choices:
        _apply(choice, loops)


def _apply(choice: Choice, loops: Sequence[ForOp]) -> None:
    loop = loops[choice.loop.number]
    if choice.kind == "jam":
        _jam(choice, loops)
        return
    if choice.flat:
        _expand_inside(loop)
    for child in choice.children:
        _apply(child, loops)
    if choice.kind == "expand":
        expand(loop)
    elif choice.kind == "unroll":
        unroll(loop, choice.factor, tail=True)


def _jam(choice: Choice, loops: Sequence[ForOp]) -> None:
    inner = choice.loop.inner
    assert inner is not None
    _expand_inside(loops[inner.number])
    outer = loops[choice.loop.number]
    if choice.interchange:
        outer = interchange(outer)
    _, jammed = jam(outer, choice.factor)
    if choice.inner_factor > 1:
        unroll(jammed, choice.inner_factor, tail=True)


def _expand_inside(loop: ForOp) -> None:
    for inner in reversed(list(loops_in(loop))):
        expand(inner)
